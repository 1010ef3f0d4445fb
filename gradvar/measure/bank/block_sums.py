"""The third step of evaluating: from the rows' coefficients to the sums over blocks that figures are made of.

Blocks are what is independent: sets of prompts, or slices of the rollouts. A combination's inner products are quadratic
forms with the inner products of the rows; this is the only place where estimators meet scores.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gradvar.measure.bank.coefficients import Coefficients, row_coefficients
from gradvar.measure.bank.data import Recording
from gradvar.measure.bank.partition import Partition
from gradvar.measure.bank.scores import SketchedScores, WholeScores
from gradvar.measure.direct_plan import REFERENCE, WEIGHTED_REFERENCE
from gradvar.stats.figures import BlockSums
from gradvar.stats.products import BlockProducts

_LARGE_SET = 1024  # rows of a set of prompts from which cutting out each batch's part of the Gram matrix pays
_GATHER = 600  # multiplications in whose time one number is cut out of a Gram matrix, on CPUs
_SKETCH_BATCHES = 16  # batches of a deal from which the error of a sketch is estimated


def block_sums(recording: Recording, coefficients: Coefficients, partition: Partition) -> BlockSums:
    """Sum over blocks: sets of prompts, or slices of rollouts where the partition has several."""
    rollouts, rows, scores = recording.rollouts, recording.rows, recording.scores
    estimators, deals, dealt, _ = coefficients.shape
    sets, batches, slices = partition.prompt_sets, partition.batches, partition.slices
    groups = partition.row_groups(rollouts.shape[1], rows.rollout)  # [deal, prompt, row]
    squares, together = batch_squares(
        coefficients.reshape(estimators, deals, sets, -1),
        groups.reshape(deals, sets, -1),
        scores.set_gram(partition.prompts)[:sets],
        batches,
        together=slices == 1,
    )  # [estimator, deal, set, batch], [estimator, deal, set]
    is_known = scores.truth is not None
    if slices == 1:
        totals = _totals(coefficients, groups, 1, batches)[:, 0]  # [estimator, prompt, row]
        count = np.full(sets, float(deals * batches))
        gram = scores.set_products(totals, totals, partition.prompts)  # [estimator, set]
        # products of different batches of the same prompts, averaged over deals and pairs of batches
        number = batches * (batches - 1)
        shared = (together - squares.sum(-1)).mean(1) / number  # [estimator, set]
        joint = (squares.sum(-1) ** 2 - (squares**2).sum(-1)).mean(1) / number
        if scores.truth is not None:
            aligned = np.einsum("eqm,qm->eq", totals, scores.truth[:dealt])
            aligned = aligned.reshape(estimators, sets, partition.prompts).sum(-1)
            truth: Any = _squared_truth(scores.true_gradient)
        else:
            reference = _reference(recording, partition)[0] * (count[0] / partition.prompts)
            aligned = scores.set_products(totals, reference, partition.prompts)
            truth = BlockProducts.stacked(
                [scores.set_products(reference, reference, partition.prompts)] * estimators
            )
        shared, joint = shared * count / 2, joint * count / 2
        return BlockSums(count, gram, squares.sum((1, 3)), shared, aligned, truth, is_known, joint=joint)
    per_slice = batches // slices
    totals = _totals(coefficients, groups, slices, per_slice)  # [estimator, slice, prompt, row]
    count = np.full(slices, float(deals * per_slice))
    if scores.truth is not None:
        aligned = np.einsum("ekqm,qm->ek", totals, scores.truth[:dealt])
        truth = _squared_truth(scores.true_gradient)
    else:
        reference = _reference(recording, partition) * (count[0] / partition.prompts)
        aligned = scores.products(totals, reference)
        truth = np.broadcast_to(scores.products(reference, reference), aligned.shape)
    squares = squares.reshape(estimators, deals, slices, per_slice).sum((1, 3))  # [estimator, slice]
    pieces = _prompt_norms(totals, scores.set_gram(1)[:dealt])
    return BlockSums(count, scores.products(totals, totals), squares, None, aligned, truth, is_known, pieces)


def mean_gradients(
    recording: Recording, coefficients: Coefficients, partition: Partition
) -> tuple[Float[np.ndarray, "estimator param"], Float[np.ndarray, "estimator param"]]:
    """Mean gradients and their standard errors where whole scores are kept; of no parameters elsewhere."""
    if not isinstance(recording.scores, WholeScores):
        return np.zeros((coefficients.shape[0], 0)), np.zeros((coefficients.shape[0], 0))
    totals = coefficients.sum(1, dtype=np.float64) / (partition.deals * partition.batches)
    means, errors = [], []
    for combination in totals:  # an estimator's, for memory
        by_prompt = recording.scores.images(combination)  # [prompt, param]
        sets = by_prompt.reshape(partition.prompt_sets, partition.prompts, -1).sum(1)
        if partition.slices > 1:
            means.append(by_prompt.sum(0))
            errors.append(np.full(by_prompt.shape[1], np.nan))
        else:
            means.append(sets.mean(0))
            errors.append(sets.std(0, ddof=1) / np.sqrt(len(sets)))
    return np.stack(means), np.stack(errors)


def sketch_errors(
    recording: Recording, coefficients: Coefficients, partition: Partition
) -> Float[np.ndarray, " estimator"]:
    """The relative standard error that the way scores are kept adds to the mean of ||ghat||^2; 0 where it is exact."""
    if not isinstance(recording.scores, SketchedScores):
        return np.zeros(len(coefficients))
    groups = partition.row_groups(recording.rollouts.shape[1], recording.rows.rollout)[0]  # [prompt, row]
    first = np.where(groups >= 0, coefficients[:, 0], 0.0)
    numbers = np.arange(min(partition.batches, _SKETCH_BATCHES))
    members = groups == numbers[:, None, None]  # [batch, prompt, row]
    return recording.scores.relative_error(first, members, partition.prompt_sets)


def batch_squares(
    coefficients: Float[np.ndarray, "estimator deal set row"],
    groups: Int[np.ndarray, "deal set row"],
    gram: Float[np.ndarray, "set row row"],
    batches: int,
    together: bool = True,
) -> tuple[Float[np.ndarray, "estimator deal set batch"], Float[np.ndarray, "estimator deal set"]]:
    """||ghat||^2 of every batch, and ||sum of all ghat of a deal||^2, for every set of prompts.

    Args:
        coefficients: Of the rows.
        groups: The number of the batch that each row belongs to, -1 for none.
        gram: Inner products of the rows of a set.
        batches: How many batches a deal has.
        together: False if the second result is not needed; it may then be zero.
    """
    if groups.shape[-1] > _LARGE_SET:
        return large_quadratics(coefficients, groups, gram, batches, together=together)
    squares, sums = quadratics(coefficients, jnp.asarray(groups), jnp.asarray(gram), jnp.arange(batches))
    return np.asarray(squares, np.float64), np.asarray(sums, np.float64)


@jax.jit
def quadratics(
    coefficients: Float[Array, "estimator deal set row"],
    groups: Int[Array, "deal set row"],
    gram: Float[Array, "set row row"],
    numbers: Int[Array, " batch"],
) -> tuple[Float[Array, "estimator deal set batch"], Float[Array, "estimator deal set"]]:
    """``batch_squares`` by multiplications with zeros, as one compiled program.

    Args:
        coefficients: Of the rows.
        groups: The number of the batch that each row belongs to, -1 for none.
        gram: Inner products of the rows of a set.
        numbers: arange(batches).
    """
    member = groups[:, :, None, :] == numbers[:, None]  # [deal, set, batch, row]

    def one_estimator(c: Float[Array, "deal set row"]) -> tuple[Array, Array]:
        by_batch = jnp.where(member, c[:, :, None, :], 0.0)
        along = jnp.einsum("manx,axy->many", by_batch, gram)
        squares = jnp.sum(along * by_batch, axis=-1)
        # Everything in a deal is the sum of its batches, so its Gram row is the sum of theirs.
        return squares, jnp.sum(along.sum(2) * by_batch.sum(2), axis=-1)

    return jax.lax.map(one_estimator, coefficients)


def large_quadratics(
    coefficients: Float[np.ndarray, "estimator deal set row"],
    groups: Int[np.ndarray, "deal set row"],
    gram: Float[np.ndarray, "set row row"],
    batches: int,
    together: bool = True,
) -> tuple[Float[np.ndarray, "estimator deal set batch"], Float[np.ndarray, "estimator deal set"]]:
    """``batch_squares`` for sets of thousands of rows: each batch meets only its rows' part of the Gram matrix.

    A set's rows are shared out among n batches, so this takes n times fewer multiplications, and the part that is cut
    out serves all estimators; where there are few batches, cutting out takes longer than multiplying with zeros.

    Args:
        coefficients: Of the rows.
        groups: The number of the batch that each row belongs to, -1 for none.
        gram: Inner products of the rows of a set.
        batches: How many batches a deal has.
        together: False leaves the second result at zero.
    """
    squares = np.zeros((*coefficients.shape[:3], batches))
    sums = np.zeros(coefficients.shape[:3])
    is_used = np.any(coefficients != 0, axis=0)  # [deal, set, row]
    dense = len(coefficients) * batches**2 <= _GATHER
    for deal, number in np.ndindex(coefficients.shape[1:3]):
        c, products, group = coefficients[:, deal, number], gram[number], groups[deal, number]
        used = is_used[deal, number]
        if dense:
            by_batch = np.concatenate([np.where(group == batch, c, 0.0) for batch in range(batches)])
            forms = np.einsum("er,er->e", by_batch @ products, by_batch)
            squares[:, deal, number] = forms.reshape(batches, -1).T
        for batch in range(0 if dense else batches):
            rows = np.flatnonzero((group == batch) & used)
            part = c[:, rows]
            form = np.einsum("er,er->e", part @ products[np.ix_(rows, rows)], part)
            squares[:, deal, number, batch] = form
        if together:
            rows = np.flatnonzero((group >= 0) & used)
            part = c[:, rows]
            sums[:, deal, number] = np.einsum("er,er->e", part @ products[np.ix_(rows, rows)], part)
    return squares, sums


def _reference(recording: Recording, partition: Partition) -> Float[np.ndarray, "slice prompt row"]:
    """Row combinations of an unbiased estimate of every prompt's gradient, from each slice of the rollouts."""
    dealt, width = partition.dealt_prompts, recording.rollouts.shape[1] // partition.slices
    estimator = REFERENCE if recording.rollouts.on_policy else WEIGHTED_REFERENCE
    combinations = []
    for k in range(partition.slices):
        order = np.broadcast_to(np.arange(k * width, (k + 1) * width, dtype=np.int32), (1, dealt, width))
        one_group = Partition(width, 1, order)  # all rollouts of the slice in one group
        coefficients, _ = row_coefficients(recording, {"reference": estimator}, one_group)
        combinations.append(coefficients[0, 0])
    return np.stack(combinations).astype(np.float64)


def _totals(
    coefficients: Coefficients, groups: Int[np.ndarray, "deal prompt row"], slices: int, per_slice: int
) -> Float[np.ndarray, "estimator slice prompt row"]:
    """Coefficients summed over deals, for the batches of each slice; a deal at a time, for memory."""
    totals = np.zeros((len(coefficients), slices, *coefficients.shape[2:]))
    for deal, members in enumerate(groups):
        for k in range(slices):
            in_slice = (members >= k * per_slice) & (members < (k + 1) * per_slice)
            totals[:, k] += np.where(in_slice, coefficients[:, deal], 0.0)
    return totals


def _prompt_norms(
    totals: Float[np.ndarray, "estimator slice prompt row"], gram: Float[np.ndarray, "prompt row row"]
) -> Float[np.ndarray, "estimator piece"]:
    """The norm of each prompt's part of each slice: a slice of many prompts is a sum of many."""
    along = np.einsum("ekqm,qmn->ekqn", totals, gram, optimize=True)
    squares = (along * totals).sum(-1)  # [estimator, slice, prompt]
    return np.sqrt(np.maximum(squares, 0.0)).reshape(len(totals), -1)


def _squared_truth(gradient: Float[np.ndarray, " param"] | None) -> float:
    assert gradient is not None  # known with the rows' products with it
    return float(gradient @ gradient)
