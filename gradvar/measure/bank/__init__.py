"""The score bank: record rollouts once, evaluate any estimator."""
