"""The named estimators: one file per paper, each opening with its citation and equation."""
