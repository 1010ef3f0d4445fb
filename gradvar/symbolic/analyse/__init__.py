"""A user's own objective: which laws it obeys, and in which regions."""
