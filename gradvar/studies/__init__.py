"""Studies: estimators measured over policies, group sizes and staleness."""
