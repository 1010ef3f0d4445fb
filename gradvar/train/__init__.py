"""Training: warm starts, and policies some steps further on."""
