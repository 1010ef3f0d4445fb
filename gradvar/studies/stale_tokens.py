"""How far a stale policy's ratios are from one, and how many tokens an estimator drops for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, token_weights
from gradvar.stats.clusters import Clusters
from gradvar.stats.intervals import Interval
from gradvar.studies.problems import Problem
from gradvar.train.rollouts import Engine, draw

NEAR = (0.8, 1.2)
"""Ratios between these are near one: GRPO's clip range."""
_PROMPTS, _GROUP = 32, 8
_SERVED = {"logp_ref", "logp_sampler"}


@dataclass(frozen=True)
class StaleTokens:
    """Of a policy and the one that drew, on rollouts of 32 prompts, 8 each.

    ``outside``: the share of tokens whose ratio is not near one. ``dropped``: by estimator, of the tokens that have a
    weight on policy, the share whose weight is zero here.
    """

    place: str
    steps: int
    outside: Interval
    dropped: Mapping[str, Interval]

    def sentence(self) -> str:
        """Both shares in words, estimators of one share together."""
        low, high = NEAR
        text = (
            f"{self.steps} optimiser step{'s' * (self.steps > 1)} stale: {self.outside.percent()} of tokens have a "
            f"ratio outside {low:g} to {high:g}"
        )
        shares: dict[str, list[str]] = {}
        for name, share in self.dropped.items():
            shares.setdefault(_percent(share) if share.value else "none", []).append(name)
        parts = [f"{share} with {', '.join(names)}" for share, names in shares.items()]
        return f"{text}; clipped to a weight of zero: {'; '.join(parts)}." if parts else f"{text}."


def stale_tokens(problem: Problem, steps: int, estimators: Sequence[Estimator], seed: int) -> StaleTokens:
    """Draw rollouts as the measurement does, and look at their ratios and token weights.

    Args:
        problem: The policy on its task, with the engine that draws.
        steps: Optimiser steps between the proximal policy and the current one.
        estimators: Those that need a critic or a baseline are left out.
        seed: Of the draws.

    Returns:
        The shares, with intervals over prompts.
    """
    policy, old = problem.policy, problem.params(0)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), steps))
    engine = Engine(problem.sampler, old)
    rollouts, _ = draw(policy, problem.task, engine, (keys[0], keys[1]), 0, _PROMPTS, _GROUP)
    logp_old = policy.logprobs(old, rollouts.prompts, rollouts.completions)  # [prompt, group, time]
    logp = policy.logprobs(problem.params(steps), rollouts.prompts, rollouts.completions)
    batch = Batch(
        rollouts.rewards,
        logp_old,
        rollouts.mask,
        logp_ref=logp_old,
        logp_sampler=engine.logprobs(policy, rollouts.prompts, rollouts.completions),
    )
    mask = np.asarray(rollouts.mask)
    prompt = np.broadcast_to(np.arange(_PROMPTS)[:, None, None], mask.shape)
    ratio = np.exp(np.asarray(logp - logp_old, np.float64))
    far = (ratio < NEAR[0]) | (ratio > NEAR[1])
    dropped = {}
    for estimator in estimators:
        if not set(estimator.needs) <= _SERVED or estimator.min_group > _GROUP:
            continue
        fresh, stale = (np.asarray(token_weights(estimator, x, batch)) for x in (logp_old, logp))
        counted = mask & (fresh != 0)
        dropped[estimator.name] = Clusters(prompt[counted]).share((stale[counted] == 0).astype(float))
    return StaleTokens(problem.title, steps, Clusters(prompt[mask]).share(far[mask].astype(float)), dropped)


def _percent(share: Interval) -> str:
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"
