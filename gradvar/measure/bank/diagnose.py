"""Where the variance comes from: prompts or rollouts, layers, token positions, and what each setting
contributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gradvar.core.estimator import Estimator, Objective
from gradvar.measure.bank.bank import ScoreBank, Scores
from gradvar.measure.bank.evaluate import Comparison, Estimate


@dataclass(frozen=True)
class NoiseScale:
    """tr Cov over ||E g||^2 in units of prompts and of rollouts (the simple noise scale of 1812.06162): how
    many prompts a batch needs before noise equals signal. ``prompts``: from the spread between prompts
    alone, however many rollouts each gets; ``rollouts``: from the rollouts alone, in rollouts; ``total``:
    both, in prompts of this group size."""

    prompts: Estimate
    rollouts: Estimate
    total: Estimate


def noise_scale(
    bank: ScoreBank, estimator: Estimator | Objective, group_size: int, *, replicates: int = 512
) -> NoiseScale:
    """The gradient noise scale split into prompt noise and rollout noise, with paired intervals."""
    found = bank.evaluate({"it": estimator}, [group_size], replicates=replicates, over="prompts")
    setting = ("it", group_size)
    return NoiseScale(
        found.quotient(setting, "between", "signal"),
        found.quotient(setting, "within", "signal", factor=group_size),
        found.quotient(setting, "trace_cov", "signal"),
    )


def variance_by_layer(
    bank: ScoreBank,
    layers: Mapping[str, slice],
    estimator: Estimator | Objective,
    group_size: int,
    *,
    replicates: int = 512,
) -> dict[str, float]:
    """The share of tr Cov in each layer; ``layers`` name slices of the flat parameters. Needs whole scores.

    Shares of layers that cover all parameters sum to 1, because tr Cov is a sum over parameters.
    """
    if bank.info.get("map") != "identity":
        raise ValueError(
            f"map: '{bank.info.get('map')}' keeps no parameters apart; record with map='identity'"
        )
    assert bank.scores.vectors is not None
    found = {}
    for name, part in {"": slice(None), **layers}.items():
        truth = bank.scores.true_gradient
        vectors = bank.scores.vectors[..., part]
        known = {} if truth is None else {"truth": vectors @ truth[part], "true_gradient": truth[part]}
        one = dataclasses.replace(bank, scores=Scores(vectors=vectors, **known))
        found[name] = one.evaluate({"it": estimator}, [group_size], replicates=replicates)[
            "it", group_size
        ].trace_cov
    whole = found.pop("")
    return {name: value / whole for name, value in found.items()}


def variance_by_position(
    bank: ScoreBank,
    edges: Sequence[int],
    estimator: Estimator | Objective,
    group_size: int,
    *,
    replicates: int = 512,
) -> dict[tuple[int, int], float]:
    """tr Cov of the part of the gradient that tokens at positions [a, b) make, over the whole's; needs
    map='tokens'.

    Parts are correlated, so the shares need not sum to 1: below 1 together means that positions add to each
    other."""
    if bank.info.get("map") != "sketch tokens":
        raise ValueError(f"map: '{bank.info.get('map')}' keeps no tokens apart; record with map='tokens'")
    assert bank.scores.vectors is not None
    whole = bank.evaluate({"it": estimator}, [group_size], replicates=replicates)["it", group_size].trace_cov
    found = {}
    position = bank.rows.slot  # every token is its own basis vector, so a row's slot is its position
    for a, b in pairwise(edges):
        inside = (position >= a) & (position < b)
        one = dataclasses.replace(bank, scores=Scores(vectors=bank.scores.vectors * inside[..., None]))
        part = one.evaluate({"it": estimator}, [group_size], replicates=replicates)[
            "it", group_size
        ].trace_cov
        found[a, b] = part / whole
    return found


def contribution(
    bank: ScoreBank, whole: Estimator | Objective, without: Estimator | Objective, group_size: int, *, prompts: int = 1,
    replicates: int = 512,
) -> dict[str, Comparison]:  # fmt: skip
    """What a setting (a clip, a length normalisation) does to bias and variance: an estimator against the
    same one with it switched off, on the same rollouts; scale-free figures where a constant factor would
    mislead."""
    found = bank.evaluate(
        {"with": whole, "without": without}, [group_size], prompts=prompts, replicates=replicates
    )
    figures = ("trace_cov", "bias_factor", "cosine", "snr_per_rollout")
    return {f: found.compare(("with", group_size), ("without", group_size), f) for f in figures}


def effective_groups(
    bank: ScoreBank, estimator: Estimator | Objective, group_size: int, *, replicates: int = 512
) -> float:
    """The effective share of groups that carry the gradient, (mean ||g||^2)^2 / mean ||g||^4: 1 where all
    groups weigh the same, 0.1 where a tenth of them do all the work."""
    from gradvar.core.estimator import as_estimator
    from gradvar.measure.bank.partition import design, quadratics

    plan = design(np.random.default_rng(0), bank.pool, group_size, 1, replicates)
    coefs, _ = bank.coefficients({"it": as_estimator(estimator)}, plan)
    members = np.take_along_axis(
        plan.groups(bank.pool.shape[1]), np.broadcast_to(bank.rows.rollout, coefs.shape[1:]), 2
    )
    squares, _ = quadratics(coefs, members, bank.scores.set_gram(1), np.arange(plan.batches))
    squares = np.asarray(squares, np.float64)
    return float(squares.mean() ** 2 / (squares**2).mean())
