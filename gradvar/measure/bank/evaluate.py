"""Evaluating estimators from a recording: partition -> coefficients -> block sums -> moments."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool

from gradvar.core.checks import one_of
from gradvar.core.devices import map_threads
from gradvar.core.estimator import Estimator, Objective, as_estimator, check_group_size
from gradvar.core.moments import Moments
from gradvar.measure.bank.block_sums import block_sums, mean_gradients, sketch_errors
from gradvar.measure.bank.coefficients import row_coefficients
from gradvar.measure.bank.comparison import Evaluation, Setting
from gradvar.measure.bank.data import Recording, Rollouts
from gradvar.measure.bank.partition import Partition, draw_partition
from gradvar.measure.separability import is_separable
from gradvar.stats.figures import FIGURES, effective_blocks, figures, leave_one_out, pivots

Independent = Literal["auto", "prompts", "rollouts"]
"""What the error bars are about: a sample of prompts, or the rollouts of given prompts."""

_MIN_PROMPTS = 8  # batches' worth of prompts from which "auto" takes prompts
_MIN_SLICES = 3  # with one left out, products across slices must be left
_MAX_SLICES = 32
_PAIRS = 8  # pairs of prompts on which it is found out if an estimator couples them


def evaluate(
    recording: Recording,
    estimators: Sequence[Estimator | Objective] | Mapping[str, Estimator | Objective],
    group_sizes: Sequence[int],
    *,
    prompts: int = 1,
    replicates: int = 512,
    independent: Independent = "auto",
    slices: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Moments of every estimator at every group size, from the recorded rollouts alone.

    The arguments are those of ``ScoreBank.evaluate``.

    Args:
        recording: Rollouts, rows and scores.
        estimators: A sequence (keyed by their names), or a mapping from labels.
        group_sizes: Rollouts of each prompt in a batch.
        prompts: How many prompts a batch has.
        replicates: At least how many batches are formed.
        independent: What the error bars are about.
        slices: Disjoint slices of the rollouts.
        seed: Of the random deals.
    """
    named = _labelled(estimators)
    for estimator in named.values():
        _check_needs(recording, estimator)
        for group_size in group_sizes:
            check_group_size(estimator, int(group_size))
    size, rollouts, _ = recording.rollouts.shape
    independent = _resolve(independent, recording, prompts)
    couples = dict.fromkeys(named, False)
    if independent == "prompts" and prompts > 1:
        smallest = min(map(int, group_sizes))
        couples = dict(zip(named, _couples(tuple(named.values()), recording.rollouts, smallest), strict=True))
    results = _Results()

    def measure(group_size: int) -> None:
        rng = np.random.default_rng((seed, group_size))
        shape = recording.rollouts.shape
        if independent == "rollouts":
            number = slices or max(2, min(_MAX_SLICES, rollouts // group_size))
            if number < _MIN_SLICES:
                results.without_errors.append(group_size)
            partition = draw_partition(rng, shape, group_size, size, replicates, number)
            _measure(recording, named, partition, size, results)
            return
        # An estimator that does not couple prompts is measured on batches of one: there are more of them.
        for batch_prompts, is_coupled in ((1, False), (prompts, True)):
            chosen = {n: e for n, e in named.items() if couples[n] == is_coupled}
            if chosen:
                partition = draw_partition(rng, shape, group_size, batch_prompts, replicates)
                _measure(recording, chosen, partition, prompts, results)

    map_threads(measure, map(int, group_sizes))
    if results.without_errors:
        largest = max(results.without_errors)
        warnings.warn(
            f"group_sizes: {largest} with {rollouts} rollouts of each prompt and slices={slices or 'None'} leaves "
            f"fewer than {_MIN_SLICES} independent slices, so there are no standard errors; record "
            f"{_MIN_SLICES * largest} rollouts, or take smaller groups",
            stacklevel=3,
        )
    order = [(name, int(g)) for name in named for g in group_sizes]
    return Evaluation(
        {s: results.moments[s] for s in order},
        {s: results.parts[s] for s in order},
        independent,
        results.residual,
        results.sketch_error,
        size,
    )


@dataclass
class _Results:
    """What the threads of an evaluation fill in, each for its own settings."""

    moments: dict[Setting, Moments] = field(default_factory=dict)
    parts: dict[Setting, dict[str, np.ndarray]] = field(default_factory=dict)
    residual: dict[Setting, float] = field(default_factory=dict)
    sketch_error: dict[Setting, float] = field(default_factory=dict)
    without_errors: list[int] = field(default_factory=list)


def _measure(
    recording: Recording,
    named: Mapping[str, Estimator],
    partition: Partition,
    prompts: int,
    results: _Results,
) -> None:
    """All figures of some estimators under one partition; ``prompts``: of the batch that they are quoted for."""
    coefficients, residual = row_coefficients(recording, named, partition)
    sums = block_sums(recording, coefficients, partition)
    with np.errstate(divide="ignore", invalid="ignore"):  # a cosine without a signal is NaN
        values, errors = figures(sums)
        parts, effective = leave_one_out(sums), effective_blocks(sums)
        shapes = pivots(values, parts, effective)
    sketch = sketch_errors(recording, coefficients, partition)
    mean, mean_se = mean_gradients(recording, coefficients, partition)
    scale = prompts // partition.prompts  # a mean over independent prompts
    factor = {"trace_cov": 1 / scale, "between": 1 / scale, "within": 1 / scale, "snr": float(scale)}
    for index, (name, estimator) in enumerate(named.items()):
        setting = (name, partition.group_size)
        results.residual[setting] = float(residual[index])
        results.sketch_error[setting] = float(sketch[index])
        results.parts[setting] = {n: parts[n][index] * factor.get(n, 1.0) for n in FIGURES}
        scaled: Any = {n: float(values[n][index]) * factor.get(n, 1.0) for n in FIGURES}
        results.moments[setting] = Moments(
            estimator=name or estimator.name,
            group_size=partition.group_size,
            prompts=prompts,
            mean=mean[index],
            mean_se=mean_se[index],
            se={n: float(errors[n][index]) * factor.get(n, 1.0) for n in FIGURES},
            true_gradient=recording.scores.true_gradient,
            dof=sums.count.shape[-1] - 1,
            replicates=partition.replicates,
            effective={n: float(effective[n][index]) for n in FIGURES},
            pivots={n: shapes[n][index].scaled(factor.get(n, 1.0)).numbers() for n in FIGURES},
            **scaled,
        )


def _labelled(
    estimators: Sequence[Estimator | Objective] | Mapping[str, Estimator | Objective],
) -> dict[str, Estimator]:
    if isinstance(estimators, Mapping):
        named = {label: as_estimator(e) for label, e in estimators.items()}
    else:
        listed = [as_estimator(e) for e in estimators]
        named = {e.name: e for e in listed}
        if len(named) < len(listed):
            raise ValueError("estimators: two have the same name; give a mapping {label: estimator}")
    if not named:
        raise ValueError("estimators: none given; give at least one")
    return named


def _check_needs(recording: Recording, estimator: Estimator) -> None:
    recorded = {*recording.rollouts.arrays(), "logp_sampler"}
    if missing := [n for n in estimator.needs if n not in recorded]:
        raise ValueError(
            f"estimators: {estimator.name} needs {', '.join(missing)}, which the bank did not record; "
            f"record with estimators=[...] that include it"
        )


def _couples(
    estimators: tuple[Estimator, ...], rollouts: Rollouts, group_size: int
) -> Bool[np.ndarray, " estimator"]:
    """Return, for each estimator, if it couples the prompts of a batch, on random pairs of prompts."""
    size, count, _ = rollouts.shape
    if size < 2:
        return np.zeros(len(estimators), bool)
    rng = np.random.default_rng(group_size)
    pairs = np.stack([rng.choice(size, 2, replace=False) for _ in range(_PAIRS)])  # [pair, 2]
    picks = np.stack([rng.choice(count, group_size, replace=False) for _ in range(2 * _PAIRS)])
    picks = picks.reshape(_PAIRS, 2, group_size)
    arrays = rollouts.objective_arrays().items()
    fields = {name: x[pairs] if x.ndim == 1 else x[pairs[..., None], picks] for name, x in arrays}
    return ~is_separable(estimators, fields)


def _resolve(independent: Independent, recording: Recording, prompts: int) -> Literal["prompts", "rollouts"]:
    batches = recording.rollouts.shape[0] // prompts
    if independent == "auto":
        return "prompts" if recording.drawn and batches >= _MIN_PROMPTS else "rollouts"
    if one_of("independent", independent, get_args(Independent)) == "prompts" and batches < 2:
        raise ValueError(
            f"independent: prompts, and the bank's {recording.rollouts.shape[0]} make fewer than 2 batches of "
            f"{prompts}; record more, or give independent='rollouts'"
        )
    return independent
