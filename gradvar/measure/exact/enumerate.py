"""``exact``: moments by enumeration, along two independent routes.

``groups`` visits all K^G ordered groups of every prompt. ``multisets`` visits each unordered group once, with its
multinomial weight; it is valid only where the objective does not care about the order of the rollouts, which is checked
on the estimator at hand. Estimators that couple the prompts of a batch (a batch-wide standard deviation, a token mean
over the batch) are enumerated over whole batches; the others, one prompt at a time.

Only the token weights are compiled, once for an estimator and a group size; all sums are NumPy's.
"""

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from gradvar.core.checks import at_least, one_of
from gradvar.core.estimator import Estimator, Objective, as_estimator, check_group_size
from gradvar.core.moments import Moments
from gradvar.core.precision import double_precision
from gradvar.core.protocols import FinitePolicy, FiniteTask, Sampler
from gradvar.measure.exact.tables import ExactTables, exact_tables
from gradvar.measure.separability import Fields, batch_weights, close, is_separable

Route = Literal["auto", "groups", "multisets"]

LARGEST_ENUMERATION = 4_000_000
_CHUNK = 512  # batches that are weighed at a time; every chunk is filled up, so that one program serves all
_FACTORS = 512  # from 1/2 to 1 whose product is far from underflow
_TRIALS = 64  # random batches on which symmetry and separability are decided


class TooLarge(ValueError):
    """There are more batches than enumeration is meant for."""


def exact(
    estimator: Estimator | Objective,
    policy: FinitePolicy | None = None,
    params: PyTree = None,
    task: FiniteTask | None = None,
    group_size: int | None = None,
    *,
    prompts: int | Int[Array, " prompt"] = 1,
    old_params: PyTree | None = None,
    ref_params: PyTree | None = None,
    sampler: Sampler | PyTree | None = None,
    route: Route = "auto",
    tables: ExactTables | None = None,
) -> Moments:
    """Compute the moments of an estimator's gradient with respect to ``params``, in float64, with no sampling error.

    Args:
        estimator: one of the catalogue, or an objective ``(logp, batch)``.
        policy: one that lists its completions, such as ``Bandit`` or ``Tabular``.
        params: the parameters that are differentiated.
        task: one that lists its prompts.
        group_size: rollouts of one prompt.
        prompts: how many prompts a batch has, drawn independently and uniformly from ``task.all_prompts()``; or their
            row numbers, for one fixed batch (its between-prompt part is then zero, and grad J is the mean over these
            prompts).
        old_params: the trainer's proximal policy, of the ratios; by default ``params``: on policy.
        ref_params: the reference policy's parameters; by default ``old_params``.
        sampler: what draws the rollouts: a ``Sampler``, such as ``gv.policies.top_p(0.95)``, or parameters; by default
            ``old_params``.
        route: ``auto`` takes multisets where the estimator is symmetric in the rollouts, and all ordered groups
            elsewhere.
        tables: what ``exact_tables`` made of policy, parameters and task, to share between calls; it takes their place.

    Raises:
        ValueError: where the group size does not fit the estimator; its subclass ``TooLarge`` where there are too many
            batches to enumerate.
    """
    estimator = as_estimator(estimator)
    size = check_group_size(estimator, group_size)
    if tables is None:
        tables = exact_tables(policy, params, task, old_params, ref_params, sampler)  # type: ignore[arg-type]
    elif not all(x is None for x in (old_params, ref_params, sampler)):
        raise ValueError(
            "tables: made for their parameters; give old_params, ref_params and sampler to exact_tables"
        )
    with double_precision():
        listing = _list_batches(estimator, tables, size, prompts, route)
        return _moments(estimator, tables, size, listing)


@dataclass(frozen=True)
class _Listing:
    """What is enumerated: every one of ``picks`` (with its number of ``ways``) for every case of prompts in ``rows``.

    The ways are ``ways`` times two to the ``exponents``: the orders of a group of 171 are beyond the largest float.

    ``prompts``: of a batch; ``fixed``: their row numbers, where they are not drawn. ``separate``: one prompt stands for
    the batch.
    """

    rows: Int[np.ndarray, "case prompt"]
    picks: Int[np.ndarray, "pick prompt group"]
    ways: Float[np.ndarray, " pick"]
    exponents: Int[np.ndarray, " pick"]
    prompts: int
    fixed: Int[np.ndarray, " prompt"] | None
    separate: bool


def _list_batches(
    estimator: Estimator,
    tables: ExactTables,
    group_size: int,
    prompts: int | Int[Array, " prompt"],
    route: Route,
) -> _Listing:
    num_listed, num_completions = tables.probs.shape
    fixed = None if isinstance(prompts, int | np.integer) else np.asarray(prompts, int)
    size = int(prompts) if fixed is None else len(fixed)
    at_least("prompts", size, 1)
    missing = np.array([]) if fixed is None else fixed[(fixed < 0) | (fixed >= num_listed)]
    if missing.size:
        raise ValueError(f"prompts: row {missing[0]} of a task that lists {num_listed} prompts; count from 0")
    one_of("route", route, get_args(Route))

    def require_small(symmetric: bool, separate: bool, words: str) -> None:
        per_batch = 1 if separate else size
        count = (
            math.comb(num_completions + group_size - 1, group_size)
            if symmetric
            else num_completions**group_size
        )
        cases = num_listed**per_batch if fixed is None else size // per_batch
        # Python's whole numbers: the product may be astronomical, and nothing has been listed yet.
        if (total := count**per_batch * cases) > LARGEST_ENUMERATION:
            raise TooLarge(
                f"group_size: {group_size} makes 10^{math.log10(total):.1f} {words} to enumerate, "
                f"over {LARGEST_ENUMERATION:.0e}; take a smaller group, fewer prompts or completions, or "
                "measure.direct"
            )

    # The fewest batches that any estimator needs; to know more, programs have to be compiled.
    require_small(route != "groups", True, "batches or more")
    separate = size == 1 or splits_by_prompt(estimator, tables, size, group_size)
    symmetric = route != "groups" and is_symmetric(estimator, tables, group_size, trials=_TRIALS * size)
    if route == "multisets" and not symmetric:
        raise ValueError(
            f"route: multisets, but {estimator.name} depends on the order of the rollouts; use groups"
        )
    require_small(symmetric, separate, "batches")
    per_batch = 1 if separate else size
    if fixed is not None:
        rows = fixed.reshape(-1, per_batch)
    else:
        rows = np.array(list(itertools.product(range(num_listed), repeat=per_batch)))
    picks, ways, exponents = (_multisets if symmetric else _groups)(num_completions, group_size)
    if per_batch > 1:  # all batches of so many groups, [pick ** prompt, prompt, group]
        index = np.indices((len(picks),) * per_batch).reshape(per_batch, -1).T
        picks, ways, exponents = picks[index, 0], ways[index].prod(-1), exponents[index].sum(-1)
    return _Listing(rows, picks, ways, exponents, size, fixed, separate)


def _moments(estimator: Estimator, tables: ExactTables, group_size: int, listing: _Listing) -> Moments:
    means, seconds = _enumerate(estimator, tables, listing)
    squares = (means**2).sum(-1)  # [case]
    mean = means.mean(0)
    # A batch of separate prompts is a mean of independent ones: both parts of the variance fall with their number.
    averaged = listing.prompts if listing.separate else 1
    within = max(float((seconds - squares).mean()) / averaged, 0.0)
    between, gradients = 0.0, np.asarray(tables.gradients)
    if listing.fixed is None:
        between = max(float(squares.mean() - mean @ mean) / averaged, 0.0)
    else:
        gradients = gradients[listing.fixed]
    truth = gradients.mean(0)
    signal, true_signal, aligned = float(mean @ mean), float(truth @ truth), float(mean @ truth)
    figures: dict[str, Any] = {
        "trace_cov": between + within,
        "between": between,
        "within": within,
        "signal": signal,
        "snr": _ratio(signal, between + within),
        "true_signal": true_signal,
        "bias_factor": _ratio(aligned, true_signal),
        "cosine": _ratio(aligned, math.sqrt(signal * true_signal)),
    }
    return Moments(
        estimator=estimator.name,
        group_size=group_size,
        prompts=listing.prompts,
        mean=mean,
        mean_se=np.zeros_like(mean),
        se=dict.fromkeys(figures, 0.0),
        true_gradient=truth,
        **figures,
    )


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def _enumerate(
    estimator: Estimator, tables: ExactTables, listing: _Listing
) -> tuple[Float[np.ndarray, "case param"], Float[np.ndarray, " case"]]:
    """E[ghat] and E||ghat||^2 for every case of prompts, summed over all batches of picks."""
    probs, scores = np.asarray(tables.probs), np.asarray(tables.scores)
    rows, picks = listing.rows, listing.picks
    means, seconds = np.zeros((len(rows), scores.shape[-1])), np.zeros(len(rows))
    for start in range(0, len(rows) * len(picks), _CHUNK):
        number = np.arange(start, min(start + _CHUNK, len(rows) * len(picks)))
        case, pick = np.divmod(number, len(picks))
        weights = _weigh((estimator,), tables.fields(rows[case], picks[pick]))[:, 0]
        by_completion = _by_completion(weights, picks[pick], scores.shape[1])
        together, exponents = scaled_product(
            probs[rows[case][:, :, None], picks[pick]].reshape(len(case), -1)
        )
        chances = np.ldexp(together * listing.ways[pick], exponents + listing.exponents[pick])
        for index in np.unique(case):
            of_case = case == index
            # [batch, prompt * completion * time] @ [prompt * completion * time, param]
            gradients = by_completion[of_case] @ scores[rows[index]].reshape(-1, scores.shape[-1])
            means[index] += chances[of_case] @ gradients
            seconds[index] += chances[of_case] @ (gradients**2).sum(-1)
    return means, seconds


def _by_completion(
    weights: Float[np.ndarray, "batch prompt group time"],
    picks: Int[np.ndarray, "batch prompt group"],
    num_completions: int,
) -> Float[np.ndarray, "batch weight"]:
    """Add up the weights of rollouts with the same completion: [batch, prompt * completion * time]."""
    batches, prompts, group, time = weights.shape
    total = np.zeros((batches, prompts, num_completions, time))
    batch, prompt = np.ogrid[:batches, :prompts]
    for member in range(group):  # one rollout of each group at a time: no completion comes twice
        total[batch, prompt, picks[:, :, member]] += weights[:, :, member]
    return total.reshape(batches, -1)


def is_symmetric(estimator: Estimator, tables: ExactTables, group_size: int, trials: int = _TRIALS) -> bool:
    """Return True if permuting the rollouts of a group only permutes the token weights, on random groups.

    Args:
        estimator: what is asked about.
        tables: where its groups are drawn from.
        group_size: rollouts of a group.
        trials: how many groups.
    """
    rng = np.random.default_rng(0)
    num_prompts, num_completions = tables.probs.shape
    rows = rng.integers(num_prompts, size=(trials, 1))
    picks = rng.integers(num_completions, size=(trials, 1, group_size))
    order = rng.permuted(np.broadcast_to(np.arange(group_size), picks.shape), axis=-1)
    with double_precision():
        plain = _weigh((estimator,), tables.fields(rows, picks))
        moved = _weigh((estimator,), tables.fields(rows, np.take_along_axis(picks, order, -1)))
    # [trial, estimator, prompt, group, time]: the weights of each place's rollout, before and after
    return bool(close(np.take_along_axis(plain, order[:, None, ..., None], 3), moved, estimator_axis=1).all())


def splits_by_prompt(estimator: Estimator, tables: ExactTables, prompts: int, group_size: int) -> bool:
    """Return True if the estimator ``is_separable`` on random batches of these tables.

    Args:
        estimator: what is asked about.
        tables: where its batches are drawn from.
        prompts: prompts of a batch.
        group_size: rollouts of a prompt.
    """
    rng = np.random.default_rng(1)
    num_prompts, num_completions = tables.probs.shape
    rows = rng.integers(num_prompts, size=(_TRIALS, prompts))
    picks = rng.integers(num_completions, size=(_TRIALS, prompts, group_size))
    with double_precision():
        return bool(is_separable((estimator,), tables.fields(rows, picks), _weigh).all())


def _weigh(
    estimators: tuple[Estimator, ...], fields: Fields
) -> Float[np.ndarray, "batch estimator prompt group time"]:
    """Compute ``batch_weights`` in chunks of one size: an estimator, a group size and a batch size have one program."""
    batches = len(fields["rewards"])
    parts = []
    for start in range(0, batches, _CHUNK):
        index = np.minimum(np.arange(start, start + _CHUNK), batches - 1)  # filled up with the last batch
        parts.append(np.asarray(batch_weights(estimators, {n: x[index] for n, x in fields.items()})))
    return np.concatenate(parts)[:batches]


@lru_cache(maxsize=64)
def _groups(num_completions: int, group_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All ordered groups, [group, 1, member], each in one way."""
    picks = np.indices((num_completions,) * group_size, dtype=np.int32).reshape(group_size, -1).T
    return picks[:, None], np.ones(len(picks)), np.zeros(len(picks), int)


@lru_cache(maxsize=64)
def _multisets(num_completions: int, group_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All unordered groups, [group, 1, member], each with its number of orders, scaled by a power of two."""
    picks = np.array(
        list(itertools.combinations_with_replacement(range(num_completions), group_size)), np.int32
    )
    counts = (picks[:, :, None] == np.arange(num_completions)).sum(1)
    factorials = [math.factorial(n) for n in range(group_size + 1)]
    exponents = np.array([n.bit_length() for n in factorials])
    # Quotients of Python's whole numbers, each right to the last digit and from 1/2 to 1.
    mantissas = np.array([n / (1 << int(e)) for n, e in zip(factorials, exponents, strict=True)])
    ways = mantissas[group_size] / mantissas[counts].prod(-1)
    return picks[:, None], ways, exponents[group_size] - exponents[counts].sum(-1)


def scaled_product(
    factors: Float[np.ndarray, "*n factor"],
) -> tuple[Float[np.ndarray, "*n"], Int[np.ndarray, "*n"]]:
    """Multiply many factors without underflow: the product is the first result times two to the second.

    >>> mantissa, exponent = scaled_product(np.full(4000, 0.25))
    >>> float(mantissa), int(exponent)
    (0.5, -7999)
    """
    mantissas, exponents = np.frexp(factors)  # from 1/2 to 1
    product, exponent = np.ones(factors.shape[:-1]), exponents.sum(-1)
    for start in range(0, factors.shape[-1], _FACTORS):
        product, more = np.frexp(product * mantissas[..., start : start + _FACTORS].prod(-1))
        exponent = exponent + more
    return product, exponent
