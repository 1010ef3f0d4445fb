"""Rollouts for the banks of PyTorch models, and banks of them from all arguments in one list."""

import numpy as np

import gradvar.torch

STOP = 6
PROMPT_MASK = np.array([[0, 1, 1], [1, 1, 1], [0, 0, 1]], bool)
LAYOUT = ("prompt_mask", "mask", "stop", "group")
FIELDS = ("logp_old", "logp_sampler", "logp_ref", "values", "greedy_rewards", "baseline")
SETTINGS = ("temperature", "chunk", "way", "memory", "seed")


def split(given, names):
    """Take some of the arguments out."""
    return {name: given.pop(name) for name in names if name in given}


def record_torch(model, prompts, completions, rewards, **given):
    """Record from all arguments in one list."""
    rollouts = gradvar.torch.as_rollouts(prompts, completions, **split(given, LAYOUT))
    fields, settings = split(given, FIELDS), gradvar.torch.TorchSettings(**split(given, SETTINGS))
    return gradvar.torch.record(model, rollouts, rewards, fields, settings=settings, **given)


def logprobs_torch(model, prompts, completions, **given):
    """Log-probabilities from all arguments in one list."""
    rollouts = gradvar.torch.as_rollouts(prompts, completions, **split(given, LAYOUT))
    return gradvar.torch.logprobs(model, rollouts, **given)


def off_policy():
    """Three prompts, two of them padded; six rollouts of up to four tokens, off policy."""
    rng = np.random.default_rng(0)
    prompts, completions = rng.integers(0, 7, (3, 3)), rng.integers(0, 7, (3, 6, 4))
    stops = completions == STOP
    mask = np.cumsum(stops, -1) - stops == 0
    assert (mask.sum(-1) < 4).any()
    return {
        "prompts": prompts, "completions": completions, "rewards": rng.random((3, 6)).round(1),
        "prompt_mask": PROMPT_MASK, "mask": mask, "logp_old": -2 + 0.1 * rng.normal(size=completions.shape),
    }  # fmt: skip
