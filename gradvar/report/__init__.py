"""Results for people: tables, figures, files with provenance."""
