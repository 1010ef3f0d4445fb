"""Exact moments by enumeration, along two independent routes.

``groups`` visits all K^G ordered groups of every prompt. ``multisets`` visits each unordered group once, with its
multinomial weight; it is valid only where the objective does not care about the order of the rollouts, which is checked
on the estimator at hand. Estimators that couple the prompts of a batch (a batch-wide standard deviation, a token mean
over the batch) are enumerated over whole batches; the others, one prompt at a time.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from gradvar.core.estimator import Estimator, Objective, as_estimator, token_weights
from gradvar.core.moments import Moments
from gradvar.core.precision import as_double, double_precision
from gradvar.core.protocols import FinitePolicy, FiniteTask
from gradvar.measure.exact.tables import Tables, require_finite, tabulate

Route = Literal["auto", "groups", "multisets"]

LARGEST_ENUMERATION = 4_000_000
_CHUNK = 512


class TooLarge(ValueError):
    """There are more batches than enumeration is meant for."""


def exact(
    estimator: Estimator | Objective,
    policy: FinitePolicy,
    params: PyTree,
    task: FiniteTask,
    group_size: int,
    *,
    prompts: int | Int[Array, " prompt"] = 1,
    old_params: PyTree | None = None,
    ref_params: PyTree | None = None,
    route: Route = "auto",
) -> Moments:
    """Moments of ``estimator``'s gradient with respect to ``params``, in float64, with no sampling error.

    ``prompts``: how many prompts a batch has, drawn independently and uniformly from ``task.all_prompts()``; or their
    row numbers, for one fixed batch (its between-prompt part is then zero, and grad J is the mean over these prompts).
    ``old_params`` sample the rollouts (default ``params``: on policy); ``ref_params`` are the reference policy's
    (default ``old_params``). ``route``: ``auto`` takes multisets where the estimator is symmetric in the rollouts, and
    all ordered groups elsewhere.

    Raises ``ValueError`` where the group size does not fit the estimator, and its subclass ``TooLarge`` where there are
    too many batches to enumerate.
    """
    with double_precision():
        tables = finite_tables(policy, params, task, old_params, ref_params)
        return exact_from_tables(estimator, tables, group_size, prompts=prompts, route=route)


def finite_tables(
    policy: FinitePolicy,
    params: PyTree,
    task: FiniteTask,
    old_params: PyTree | None = None,
    ref_params: PyTree | None = None,
) -> Tables:
    """The tables that ``exact_from_tables`` enumerates, in float64, to share between many estimators."""
    require_finite(policy, task)
    with double_precision():
        params = as_double(params)
        old = params if old_params is None else as_double(old_params)
        ref = old if ref_params is None else as_double(ref_params)
        return tabulate(policy, params, task, old, ref)


def exact_from_tables(
    estimator: Estimator | Objective,
    tables: Tables,
    group_size: int,
    *,
    prompts: int | Int[Array, " prompt"] = 1,
    route: Route = "auto",
) -> Moments:
    """``exact`` from tables made by ``finite_tables``: the same figures, the policy's part shared."""
    estimator = as_estimator(estimator)
    check_group_size(estimator, group_size)
    with double_precision():
        return _exact(estimator, tables, group_size, prompts, route)


def check_group_size(estimator: Estimator, group_size: int) -> None:
    """Refuse a group size that is no whole number or below the estimator's least."""
    if isinstance(group_size, bool) or not isinstance(group_size, int | np.integer):
        raise ValueError(f"group_size: {group_size!r} is not a whole number; give an int such as 4")
    if group_size < estimator.min_group:
        raise ValueError(
            f"group_size: {group_size}; {estimator.name} needs at least {estimator.min_group} rollouts of a prompt"
        )


def _exact(
    estimator: Estimator, tables: Tables, group_size: int, prompts: int | Int[Array, " prompt"], route: Route
) -> Moments:
    num_listed, num_completions = tables.probs.shape
    fixed = None if isinstance(prompts, int | np.integer) else np.asarray(prompts, int)
    size = int(prompts) if fixed is None else len(fixed)
    if size < 1:
        raise ValueError(f"prompts: {prompts}; a batch needs at least one prompt")
    if fixed is not None and (fixed.min() < 0 or fixed.max() >= num_listed):
        raise ValueError(
            f"prompts: row {int(fixed.max())} of a task that lists {num_listed} prompts; count from 0"
        )

    separate = size == 1 or is_separable(estimator, tables, size, group_size)
    if route not in ("auto", "groups", "multisets"):
        raise ValueError(f"route: '{route}'; choose auto, groups or multisets")
    symmetric = route != "groups" and is_symmetric(estimator, tables, group_size, trials=64 * size)
    if route == "multisets" and not symmetric:
        raise ValueError(
            f"route: multisets, but {estimator.name} depends on the order of the rollouts; use groups"
        )
    per_batch = 1 if separate else size
    count = (
        math.comb(num_completions + group_size - 1, group_size) if symmetric else num_completions**group_size
    )
    cases = num_listed**per_batch if fixed is None else size // per_batch
    # Python's whole numbers: the product may be astronomical, and is refused before anything is listed.
    if (total := count**per_batch * cases) > LARGEST_ENUMERATION:
        raise TooLarge(
            f"group_size: {group_size} makes 10^{math.log10(total):.1f} batches to enumerate, "
            f"over {LARGEST_ENUMERATION:.0e}; take a smaller group, fewer prompts or completions, or measure.direct"
        )
    if fixed is not None:
        rows = fixed.reshape(-1, per_batch)
    else:
        rows = np.array(list(itertools.product(range(num_listed), repeat=per_batch)))
    picks, ways = (_multisets if symmetric else _groups)(num_completions, group_size)
    picks, ways = _batches_of(picks, ways, per_batch)
    means, seconds = (
        np.asarray(x) for x in _enumerate(estimator, tables, jnp.asarray(rows), *_chunked(picks, ways))
    )

    spread = (means**2).sum(-1)
    mean = means.mean(0)
    within = float((seconds - spread).mean()) / (size if separate else 1)
    between = 0.0
    if fixed is None:
        between = float(spread.mean() - mean @ mean) / (size if separate else 1)
    gradients = tables.gradients if fixed is None else tables.gradients[fixed]
    return exact_moments(
        estimator.name, group_size, size, mean, between, within, np.asarray(gradients.mean(0))
    )


def exact_moments(
    name: str,
    group_size: int,
    prompts: int,
    mean: Float[np.ndarray, " param"],
    between: float,
    within: float,
    true_gradient: Float[np.ndarray, " param"],
) -> Moments:
    """``Moments`` with no standard errors from what an enumeration found."""
    signal, true_signal = float(mean @ mean), float(true_gradient @ true_gradient)
    between, within = max(between, 0.0), max(within, 0.0)
    aligned, variance = float(mean @ true_gradient), between + within

    def ratio(over: float, under: float) -> float:
        return over / under if under > 0 else math.nan

    return Moments(
        estimator=name,
        group_size=group_size,
        prompts=prompts,
        mean=mean,
        mean_se=np.zeros_like(mean),
        trace_cov=variance,
        between=between,
        within=within,
        signal=signal,
        snr=ratio(signal, variance),
        true_signal=true_signal,
        bias_factor=ratio(aligned, true_signal),
        cosine=ratio(aligned, math.sqrt(signal * true_signal)),
        se=dict.fromkeys(
            ("trace_cov", "between", "within", "signal", "snr", "true_signal", "bias_factor", "cosine"), 0.0
        ),
        true_gradient=true_gradient,
    )


def is_symmetric(estimator: Estimator, tables: Tables, group_size: int, trials: int = 64) -> bool:
    """Whether permuting the rollouts of a group only permutes the token weights, on random groups of these tables.

    With ``trials`` 64 times the prompts of a batch it shares its compiled program with ``is_separable``.
    """
    rng = np.random.default_rng(0)
    num_prompts, num_completions = tables.probs.shape
    rows = rng.integers(num_prompts, size=(trials, 1))
    picks = rng.integers(num_completions, size=(trials, 1, group_size))
    order = rng.permuted(np.broadcast_to(np.arange(group_size), picks.shape), axis=-1)
    plain = _weights(estimator, tables, rows, picks)
    moved = _weights(estimator, tables, rows, np.take_along_axis(picks, order, -1))
    return _close(np.take_along_axis(plain, order[..., None], 2), moved)


def is_separable(estimator: Estimator, tables: Tables, prompts: int, group_size: int) -> bool:
    """Whether a batch's objective is the mean of its prompts' own objectives, on random batches of these tables."""
    rng = np.random.default_rng(1)
    num_prompts, num_completions = tables.probs.shape
    rows = rng.integers(num_prompts, size=(64, prompts))
    picks = rng.integers(num_completions, size=(64, prompts, group_size))
    joint = _weights(estimator, tables, rows, picks)
    alone = _weights(estimator, tables, rows.reshape(-1, 1), picks.reshape(-1, 1, group_size))
    return _close(joint, alone.reshape(joint.shape) / prompts)


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-12 * (1 + np.abs(a).max(initial=0))))


def _weights(estimator: Estimator, tables: Tables, rows: np.ndarray, picks: np.ndarray) -> np.ndarray:
    return np.asarray(batch_weights(estimator, tables, jnp.asarray(rows), jnp.asarray(picks)))


@eqx.filter_jit
def batch_weights(
    estimator: Estimator,
    tables: Tables,
    rows: Int[Array, "batch prompt"],
    picks: Int[Array, "batch prompt group"],
) -> Float[Array, "batch prompt group time"]:
    """Token weights of many batches, each given by prompt rows and support rows."""
    return jax.vmap(lambda r, p: token_weights(estimator, *tables.batch(r, p)))(rows, picks)


@eqx.filter_jit
def _enumerate(
    estimator: Estimator,
    tables: Tables,
    rows: Int[Array, "case prompt"],
    picks: Int[Array, "chunk batch prompt group"],
    ways: Float[Array, "chunk batch"],
) -> tuple[Float[Array, "case param"], Float[Array, " case"]]:
    """E[ghat] and E||ghat||^2 for every case of prompts, summed over all batches of picks."""
    num_completions = tables.probs.shape[1]

    def one_case(prompts: Int[Array, " prompt"]) -> tuple[Array, Array]:
        def step(carry: tuple[Array, Array], chunk: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
            pick, way = chunk
            weights = jax.vmap(lambda p: token_weights(estimator, *tables.batch(prompts, p)))(pick)
            chosen = jax.nn.one_hot(pick, num_completions, dtype=weights.dtype)
            by_completion = jnp.einsum("cqgt,cqgk->cqkt", weights, chosen)
            gradients = jnp.einsum("cqkt,qktp->cp", by_completion, tables.scores[prompts])
            probability = way * tables.probs[prompts[:, None], pick].prod((1, 2))
            first = probability @ gradients
            second = probability @ (gradients**2).sum(-1)
            return (carry[0] + first, carry[1] + second), None

        start = (jnp.zeros(tables.scores.shape[-1]), jnp.zeros(()))
        return jax.lax.scan(step, start, (picks, ways))[0]

    return jax.lax.map(one_case, rows)


@lru_cache(maxsize=64)
def _groups(num_completions: int, group_size: int) -> tuple[np.ndarray, np.ndarray]:
    picks = np.indices((num_completions,) * group_size, dtype=np.int32).reshape(group_size, -1).T
    return picks[:, None], np.ones(len(picks))


@lru_cache(maxsize=64)
def _multisets(num_completions: int, group_size: int) -> tuple[np.ndarray, np.ndarray]:
    picks = np.array(
        list(itertools.combinations_with_replacement(range(num_completions), group_size)), np.int32
    )
    counts = (picks[:, :, None] == np.arange(num_completions)).sum(1)
    factorial = np.array([float(math.factorial(n)) for n in range(group_size + 1)])
    return picks[:, None], factorial[group_size] / factorial[counts].prod(-1)


def _batches_of(picks: np.ndarray, ways: np.ndarray, prompts: int) -> tuple[np.ndarray, np.ndarray]:
    """All batches of ``prompts`` groups from the list of single groups [M, 1, G]."""
    if prompts == 1:
        return picks, ways
    index = np.indices((len(picks),) * prompts).reshape(prompts, -1).T
    return picks[index, 0], ways[index].prod(-1)


def _chunked(picks: np.ndarray, ways: np.ndarray) -> tuple[Array, Array]:
    """Padded to whole chunks, the padding with no weight, so that one scan bounds the memory."""
    chunk = min(_CHUNK, len(picks))
    padding = -len(picks) % chunk
    picks = np.concatenate([picks, np.repeat(picks[:1], padding, 0)])
    ways = np.concatenate([ways, np.zeros(padding)])
    return jnp.asarray(picks.reshape(-1, chunk, *picks.shape[1:])), jnp.asarray(ways.reshape(-1, chunk))
