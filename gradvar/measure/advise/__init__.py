"""Advice from measurements: group size, estimator, allocation."""
