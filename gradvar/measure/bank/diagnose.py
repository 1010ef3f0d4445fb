"""Where the variance comes from: prompts or rollouts, layers, token positions, and what each setting contributes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from gradvar.core.estimator import Estimator, Objective, as_estimator
from gradvar.measure.bank.bank import ScoreBank
from gradvar.measure.bank.block_sums import batch_squares
from gradvar.measure.bank.coefficients import row_coefficients
from gradvar.measure.bank.comparison import Comparison
from gradvar.measure.bank.data import Recording
from gradvar.measure.bank.evaluate import evaluate
from gradvar.measure.bank.partition import draw_partition
from gradvar.measure.bank.score import whole_scores
from gradvar.measure.bank.scores import Scores, SketchedScores, WholeScores
from gradvar.stats.intervals import Interval

_NAME = "estimator"  # label of the one that is asked about


@dataclass(frozen=True)
class NoiseScale:
    """tr Cov over ||E g||^2, in units of prompts and of rollouts (the simple noise scale of 1812.06162).

    It is how many prompts a batch needs before noise equals signal. ``prompts``: from the differences between prompts
    alone, however many rollouts each gets; ``rollouts``: from the rollouts alone, in rollouts; ``total``: both, in
    prompts of this group size.
    """

    prompts: Interval
    rollouts: Interval
    total: Interval


def noise_scale(
    bank: ScoreBank, estimator: Estimator | Objective, group_size: int, *, replicates: int = 512
) -> NoiseScale:
    """The gradient noise scale split into prompt noise and rollout noise, with paired intervals.

    Args:
        bank: What is evaluated.
        estimator: Whose noise.
        group_size: Rollouts of each prompt in a batch.
        replicates: At least how many batches are formed.
    """
    answer = bank.evaluate({_NAME: estimator}, [group_size], replicates=replicates, independent="prompts")
    setting = (_NAME, group_size)
    return NoiseScale(
        answer.quotient(setting, "between", "signal"),
        answer.quotient(setting, "within", "signal", factor=group_size),
        answer.quotient(setting, "trace_cov", "signal"),
    )


def variance_by_layer(
    bank: ScoreBank,
    layers: Mapping[str, slice],
    estimator: Estimator | Objective,
    group_size: int,
    *,
    replicates: int = 512,
) -> dict[str, float]:
    """The share of tr Cov in each layer; needs whole scores.

    Shares of layers that cover all parameters sum to 1, because tr Cov is a sum over parameters.

    Args:
        bank: What is evaluated.
        layers: Slices of the flat parameters, by name.
        estimator: Whose variance.
        group_size: Rollouts of each prompt in a batch.
        replicates: At least how many batches are formed.
    """
    recording, scores = bank.recording, bank.recording.scores
    if not isinstance(scores, WholeScores):
        raise ValueError(
            f"scores: a bank of '{bank.info.get('map')}' keeps no parameters apart; record with scores=Whole()"
        )

    def variance(part: slice) -> float:
        truth = None if scores.true_gradient is None else scores.true_gradient[part]
        layer = whole_scores(scores.vectors[..., part], truth)
        return _variance(recording, layer, estimator, group_size, replicates)

    total = variance(slice(None))
    return {name: variance(part) / total for name, part in layers.items()}


def variance_by_position(
    bank: ScoreBank,
    edges: Sequence[int],
    estimator: Estimator | Objective,
    group_size: int,
    *,
    replicates: int = 512,
) -> dict[tuple[int, int], float]:
    """tr Cov of the part of the gradient that tokens at positions [a, b) make, over all of it.

    It needs ``PerToken`` scores. Parts are correlated, so the shares need not sum to 1: below 1 together means that
    positions add to each other.

    Args:
        bank: What is evaluated.
        edges: Positions that bound the parts.
        estimator: Whose variance.
        group_size: Rollouts of each prompt in a batch.
        replicates: At least how many batches are formed.
    """
    recording, scores = bank.recording, bank.recording.scores
    if not isinstance(scores, SketchedScores) or scores.label != "sketch tokens":
        raise ValueError(
            f"scores: a bank of '{bank.info.get('map')}' keeps no tokens apart; record with scores=PerToken(...)"
        )
    total = _variance(recording, scores, estimator, group_size, replicates)
    position = recording.rows.basis_index  # every token is its own basis vector
    shares = {}
    for a, b in pairwise(edges):
        inside = (position >= a) & (position < b)  # [prompt, row]
        part = replace(scores, vectors=scores.vectors * inside[..., None])
        shares[a, b] = _variance(recording, part, estimator, group_size, replicates) / total
    return shares


def contribution(
    bank: ScoreBank,
    full: Estimator | Objective,
    without: Estimator | Objective,
    group_size: int,
    *,
    prompts: int = 1,
    replicates: int = 512,
) -> dict[str, Comparison]:
    """Compare bias and variance with and without a setting (a clip, a length normalisation), on the same rollouts.

    Figures are scale-free where a constant factor would mislead.

    Args:
        bank: What is evaluated.
        full: An estimator with the setting.
        without: The same one with it switched off.
        group_size: Rollouts of each prompt in a batch.
        prompts: Prompts of a batch.
        replicates: At least how many batches are formed.
    """
    pair = {"with": full, "without": without}
    answer = bank.evaluate(pair, [group_size], prompts=prompts, replicates=replicates)
    figures = ("trace_cov", "bias_factor", "cosine", "snr_per_rollout")
    return {f: answer.compare(("with", group_size), ("without", group_size), f) for f in figures}


def effective_groups(
    bank: ScoreBank, estimator: Estimator | Objective, group_size: int, *, replicates: int = 512
) -> float:
    """The effective share of groups that carry the gradient, (mean ||g||^2)^2 / mean ||g||^4.

    It is 1 where all groups weigh the same, 0.1 where a tenth of them do all the work.

    Args:
        bank: What is evaluated.
        estimator: Whose gradients.
        group_size: Rollouts of each prompt in a batch.
        replicates: At least how many batches are formed.
    """
    recording, shape = bank.recording, bank.rollouts.shape
    partition = draw_partition(np.random.default_rng(0), shape, group_size, 1, replicates)
    coefficients, _ = row_coefficients(recording, {_NAME: as_estimator(estimator)}, partition)
    groups = partition.row_groups(shape[1], recording.rows.rollout)
    gram = recording.scores.set_gram(1)
    squares, _ = batch_squares(coefficients, groups, gram, partition.batches, together=False)
    return float(squares.mean() ** 2 / (squares**2).mean())


def _variance(
    recording: Recording, scores: Scores, estimator: Estimator | Objective, group_size: int, replicates: int
) -> float:
    """tr Cov with other scores in place of the recorded ones."""
    changed = replace(recording, scores=scores)
    answer = evaluate(changed, {_NAME: estimator}, [group_size], replicates=replicates)
    return answer[_NAME, group_size].trace_cov
