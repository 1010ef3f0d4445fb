"""gradvar: what a group-relative policy-gradient estimator estimates, how noisy it is, and whether claims about it hold."""
