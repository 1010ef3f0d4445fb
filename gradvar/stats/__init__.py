"""Statistics without a word of estimators: intervals, block sums, the bootstrap. NumPy and SciPy only."""
