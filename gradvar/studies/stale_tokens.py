"""How far a stale policy's ratios are from one, and how many tokens an estimator drops for that."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, token_weights
from gradvar.core.programs import quick_jit
from gradvar.core.protocols import Policy, Task
from gradvar.stats.clusters import Clusters
from gradvar.stats.intervals import Interval, student_half_width
from gradvar.stats.text import estimate_text
from gradvar.studies.problems import Problem
from gradvar.train.rollouts import Engine, Keys, draw

NEAR = (0.8, 1.2)
"""Ratios between these are near one: GRPO's clip range."""
_PROMPTS, _GROUP = 32, 8
_SERVED = {"logp_ref", "logp_sampler"}


@dataclass(frozen=True)
class StaleTokens:
    """Of a policy and the one that drew, on rollouts of 32 prompts, 8 each.

    ``divergence``: the size of the steps, KL(proximal || current) in nats per token, estimated by the mean of
    r - 1 - log r over ratios r; None where an engine of its own drew the tokens. ``outside``: the share of tokens whose
    ratio is not near one. ``dropped``: by estimator, of the tokens that have a weight on policy, the share whose weight
    is zero here.
    """

    place: str
    steps: int
    divergence: Interval | None
    outside: Interval
    dropped: Mapping[str, Interval]

    def sentence(self) -> str:
        """Both shares in words, estimators of one share together."""
        low, high = NEAR
        size = f", KL {estimate_text(self.divergence)} nats per token" if self.divergence else ""
        text = (
            f"{self.steps} optimiser step{'s' * (self.steps > 1)} stale{size}: {self.outside.percent()} of tokens have "
            f"a ratio outside {low:g} to {high:g}"
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
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), steps))
    engine = Engine(problem.sampler, problem.params(0))
    batch, logps = _draw(problem.policy, problem.task, engine, problem.params(steps), (keys[0], keys[1]))
    weighed = tuple(e for e in estimators if set(e.needs) <= _SERVED and e.min_group <= _GROUP)
    mask = np.asarray(batch.mask)
    prompt = np.broadcast_to(np.arange(_PROMPTS)[:, None, None], mask.shape)
    ratio = np.exp(np.asarray(logps[1] - logps[0], np.float64))
    far = (ratio < NEAR[0]) | (ratio > NEAR[1])
    dropped = {}
    for estimator, weights in zip(weighed, _weigh(weighed, logps, batch), strict=True):
        fresh, stale = np.asarray(weights)
        counted = mask & (fresh != 0)
        if counted.any():  # else no group has two rewards, and nothing was there to drop
            dropped[estimator.name] = Clusters(prompt[counted]).share((stale[counted] == 0).astype(float))
    tokens = Clusters(prompt[mask])
    divergence = _mean(tokens, (ratio - 1 - np.log(ratio))[mask]) if problem.sampler is None else None
    return StaleTokens(problem.title, steps, divergence, tokens.share(far[mask].astype(float)), dropped)


def _mean(tokens: Clusters, values: Float[np.ndarray, " token"]) -> Interval:
    """A mean over tokens, with its interval over prompts."""
    _, mean, variance, prompts, effective = (float(x[0]) for x in tokens.ratio(values, np.ones(len(values))))
    se = variance**0.5
    half = float(student_half_width(se, prompts - 1))
    return Interval(mean, max(mean - half, 0.0), mean + half, se, prompts - 1, effective)


@quick_jit
def _draw(
    policy: Policy, task: Task, engine: Engine, current: PyTree, keys: Keys
) -> tuple[Batch, Float[Array, "policy prompt group time"]]:
    """A batch that the engine drew, and the log-probabilities of the proximal policy and the current one."""
    rollouts, _ = draw(policy, task, engine, keys, 0, _PROMPTS, _GROUP)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), engine.params, current)
    # one after the other: the forward pass is compiled once
    logps = jax.lax.map(lambda params: policy.logprobs(params, rollouts.prompts, rollouts.completions), both)
    reported = (
        logps[0]
        if engine.sampler is None
        else engine.logprobs(policy, rollouts.prompts, rollouts.completions)
    )
    batch = Batch(rollouts.rewards, logps[0], rollouts.mask, logp_ref=logps[0], logp_sampler=reported)
    return batch, logps


@quick_jit
def _weigh(
    estimators: tuple[Estimator, ...], logps: Float[Array, "policy prompt group time"], batch: Batch
) -> list[Float[Array, "policy prompt group time"]]:
    """Token weights of every estimator at each policy's log-probabilities."""
    return [jax.vmap(functools.partial(token_weights, e), (0, None))(logps, batch) for e in estimators]


def _percent(share: Interval) -> str:
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"
