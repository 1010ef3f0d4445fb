"""An advantage function as trainers write it, for `gradvar check examples/trainer.py:advantages`."""


def advantages(rewards):
    """GRPO's, [prompt, group] to [prompt, group]."""
    return (rewards - rewards.mean(axis=1, keepdims=True)) / (rewards.std(axis=1, keepdims=True) + 1e-6)


def without_epsilon(rewards):
    """The same, as it was before its first group of equal rewards."""
    return (rewards - rewards.mean(axis=1, keepdims=True)) / rewards.std(axis=1, keepdims=True)
