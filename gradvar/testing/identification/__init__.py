"""Which named estimator a function is, with which settings, and where it differs."""
