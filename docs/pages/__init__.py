"""The pages that are made rather than written: MkDocs gets them from ``docs/hooks.py``."""
