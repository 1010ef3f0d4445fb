"""Claims of the literature and our own: what they state, and how they are checked."""
