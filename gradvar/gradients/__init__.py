"""Derivatives of a policy's log-probabilities, rollout by rollout."""
