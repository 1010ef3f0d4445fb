"""Hypothesis strategies for what reaches an estimator: groups of rewards, masks, log-probabilities, ratios.

Every strategy shrinks towards the smallest group with the plainest rewards (zeros, then ones). The
``dyadic`` rewards are multiples of 1/8, so that sums are exact in every floating dtype: an algebraic law
that fails on them fails for its algebra and not for its rounding.

A strategy is built once for its arguments and kept: Hypothesis validates each new object, and an example
asks for several of them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Group = tuple[float, ...]
Value = TypeVar("Value")

# Values whose mean over a group is not exact in binary: 0.1 x 8 is the report behind half of the zero-law's
# bugs.
INEXACT = (0.1, 0.2, 0.3, 0.7, 0.9, 0.6, 1 / 3, 2 / 3, 0.35, 0.95)
# The multiples of 1/8 up to two, the plainest first, which is where shrinking goes: 0, 1, -1, 2, -2, 1/2, ...
PLAINEST = tuple(
    sorted(
        (k / 8 for k in range(-16, 17)),
        key=lambda v: (v % 1 != 0, v % 0.5 != 0, v % 0.25 != 0, abs(v), v < 0),
    )
)
CLIPS = (0.2, 0.28, 0.1, 0.3)


@cache
def binary() -> SearchStrategy[float]:
    """A verifiable reward: 0 or 1."""
    return st.sampled_from([0.0, 1.0])


@cache
def dyadic(low: int = -16, high: int = 16) -> SearchStrategy[float]:
    """A multiple of 1/8 in [low/8, high/8]."""
    return st.integers(low, high).map(lambda k: k / 8)


@cache
def graded() -> SearchStrategy[float]:
    """A graded reward in [0, 1], in tenths."""
    return st.integers(0, 10).map(lambda k: k / 10)


@cache
def continuous(bound: float = 2.0) -> SearchStrategy[float]:
    """A reward-model score: any float in [-bound, bound] that is not denormal."""
    return st.floats(-bound, bound, allow_nan=False, allow_subnormal=False, width=32)


@cache
def rewards(domain: str = "real") -> SearchStrategy[float]:
    """One exact reward of the estimator's domain: real, nonnegative or binary."""
    if domain == "binary":
        return binary()
    if domain == "nonnegative":
        return st.sampled_from([v for v in PLAINEST if v >= 0])
    return st.sampled_from(PLAINEST)


@cache
def groups(
    values: SearchStrategy[float] | None = None, min_size: int = 2, max_size: int = 6, mixed: bool = False
) -> SearchStrategy[Group]:
    """Return the strategy of one group.

    Args:
        values: The strategy of one reward; default: ``rewards()``.
        min_size: The smallest group.
        max_size: The largest group.
        mixed: Ask for at least two different rewards.
    """
    values = values if values is not None else rewards()
    drawn = sizes(min_size, max_size).flatmap(lambda n: _tuples(values, n, n))
    return drawn.filter(lambda g: len(set(g)) > 1) if mixed else drawn


@cache
def batches(
    values: SearchStrategy[float] | None = None,
    *,
    ragged: bool = False,
    min_prompts: int = 1,
    max_prompts: int = 3,
    min_size: int = 2,
    max_size: int = 6,
) -> SearchStrategy[tuple[Group, ...]]:
    """Return the strategy of the groups of several prompts.

    Args:
        values: The strategy of one reward; default: ``rewards()``.
        ragged: Groups may differ in size.
        min_prompts: The fewest groups.
        max_prompts: The most groups.
        min_size: The smallest group.
        max_size: The largest group.
    """
    values = values if values is not None else rewards()
    if ragged:
        return _tuples(groups(values, min_size, max_size), min_prompts, max_prompts)

    def of_size(size: int) -> SearchStrategy[tuple[Group, ...]]:
        return _tuples(groups(values, size, size), min_prompts, max_prompts)

    return sizes(min_size, max_size).flatmap(of_size)


@cache
def _tuples(values: SearchStrategy[Value], shortest: int, longest: int) -> SearchStrategy[tuple[Value, ...]]:
    return st.lists(values, min_size=shortest, max_size=longest).map(tuple)


@cache
def sizes(smallest: int, largest: int) -> SearchStrategy[int]:
    """Group sizes, the smallest first, odd and even; only a few, for libraries that compile every shape."""
    chosen = [n for n in (2, 3, 5, 8, 11) if smallest <= n <= largest]
    return st.sampled_from(chosen or [smallest])


@cache
def equal_groups(
    dtype: str = "float32", domain: str = "real", min_size: int = 2, max_size: int = 16
) -> SearchStrategy[Group]:
    """Groups of equal rewards, at a value that the dtype can hold while it may not hold their mean.

    In float32 and narrower |value| <= 1, where one unit in the last place is at most 6e-8; in float64 up to
    1e6.

    Args:
        dtype: The dtype that the value is rounded to.
        domain: The estimator's rewards: real, nonnegative or binary.
        min_size: The smallest group.
        max_size: The largest group.
    """
    if domain == "binary":
        value = binary()
    else:
        low = 0.0 if domain == "nonnegative" else -1.0
        value = st.one_of(st.sampled_from(INEXACT), st.floats(low, 1.0, allow_subnormal=False, width=32))
        if dtype == "float64":
            value = st.one_of(value, st.floats(1.0, 1e6))
    return st.tuples(value, sizes(min_size, max_size)).map(lambda p: (rounded(p[0], dtype),) * p[1])


@cache
def near_equal_groups(
    dtype: str = "float32", domain: str = "real", min_size: int = 2, max_size: int = 8, ulps: int = 2
) -> SearchStrategy[Group]:
    """Groups of rewards that are equal but for rounding.

    Args:
        dtype: The dtype that the rewards are rounded to.
        domain: The estimator's rewards: real or nonnegative.
        min_size: The smallest group.
        max_size: The largest group.
        ulps: The largest difference, in units in the last place of the dtype.
    """
    low = 0.0 if domain == "nonnegative" else -1.0
    value = st.one_of(st.sampled_from(INEXACT), st.floats(low, 1.0, allow_subnormal=False, width=32)).filter(
        lambda v: abs(v) >= 0.05
    )

    def move_apart(parts: tuple[float, tuple[int, ...]]) -> Group:
        start, steps = rounded(parts[0], dtype), parts[1]
        return tuple(stepped(start, k, dtype) for k in steps)

    step = st.integers(0, ulps)
    steps = sizes(min_size, max_size).flatmap(lambda n: _tuples(step, n, n))
    return st.tuples(value, steps).map(move_apart)


@cache
def scaled_groups(domain: str = "real", dtype: str = "float64", max_size: int = 6) -> SearchStrategy[Group]:
    """A group at a tiny or huge scale: powers of ten from 1e-30 to 1e30 in float64, to 1e15 in float32."""
    top = 30 if dtype == "float64" else 15
    if domain == "binary":
        return groups(binary(), 2, max_size)

    @cache
    def scaled_by(power: int) -> SearchStrategy[Group]:
        return groups(rewards(domain), 2, max_size).map(
            lambda g: tuple(rounded(r * 10.0**power, dtype) for r in g)
        )

    return st.integers(-top, top).flatmap(scaled_by)


@cache
def integer_groups(domain: str = "real", min_size: int = 2, max_size: int = 6) -> SearchStrategy[Group]:
    """Groups of integer rewards, as floats."""
    low, high = {"binary": (0, 1), "nonnegative": (0, 9)}.get(domain, (-9, 9))
    return groups(st.integers(low, high).map(float), min_size, max_size)


@cache
def poisoned_groups(
    domain: str = "real", min_size: int = 2, max_size: int = 5
) -> SearchStrategy[tuple[Group, int, float]]:
    """A group, the index of one of its rows, and the NaN or infinity that replaces that row's reward."""
    bad = st.sampled_from([float("nan"), float("inf"), float("-inf")])

    def poison(group: Group) -> SearchStrategy[tuple[Group, int, float]]:
        return st.tuples(st.just(group), _indices(len(group)), bad)

    return groups(rewards(domain), min_size, max_size, mixed=True).flatmap(poison)


@cache
def _indices(count: int) -> SearchStrategy[int]:
    return st.integers(0, count - 1)


@cache
def prompts_with_duplicates(prompts: int) -> SearchStrategy[tuple[int, ...]]:
    """The identity of each prompt of a batch, some of them the same."""
    return _tuples(st.integers(0, max(prompts - 2, 0)), prompts, prompts)


@cache
def lengths(rows: int, longest: int = 4, shortest: int = 1) -> SearchStrategy[tuple[int, ...]]:
    """The number of tokens of each rollout."""
    return _tuples(st.integers(shortest, longest), rows, rows)


@cache
def log_ratios(clips: tuple[float, ...] = CLIPS) -> SearchStrategy[float]:
    """A log-ratio at, just inside, just outside or far beyond a clip boundary, or zero."""
    edges = [np.log1p(c) for c in clips] + [np.log1p(-c) for c in clips]
    near = [e * (1 + d) for e in edges for d in (-1e-3, 0.0, 1e-3)]
    return st.sampled_from([0.0, *map(float, near), 0.5, -0.5, 1.5, -1.5])


@cache
def log_probs() -> SearchStrategy[float]:
    """A token's log-probability in nats, in steps of 1/16 down to -4."""
    return st.integers(1, 64).map(lambda k: -k / 16)


@cache
def loss_shapes(compact: bool = False) -> SearchStrategy[dict[str, Any]]:
    """The plain numbers that a loss batch is built from: group, lengths, layout, advantages, log-probabilities.

    The layout says where the tokens of a row stand: padded on the right, on the left, or with holes between.

    ``compact`` draws fewer shapes, for a library that compiles each of them.
    """
    advantage = st.sampled_from([1.0, -1.0, 0.5, -2.0])
    move = st.sampled_from([0.0, 0.05, -0.05])

    @cache
    def fill(counts: tuple[int, int, int]) -> SearchStrategy[dict[str, Any]]:
        rows, steps = counts[0] * counts[1], counts[2]
        return st.fixed_dictionaries(
            {
                "group": st.just(counts[1]),
                "steps": st.just(steps),
                "lengths": _unequal_lengths(rows) if steps > 5 else lengths(rows),
                "layout": st.sampled_from(["right", "left", "holes"]),
                "advantages": _tuples(advantage, rows, rows),
                "logps": _tuples(log_probs(), 3, 3),
                "moves": _tuples(move, 2, 2),
            }
        )

    sizes_of_groups = st.just(2) if compact else st.integers(2, 3)
    steps = st.just(4) if compact else st.sampled_from([4, 5, 4, 5, 12])
    return st.tuples(st.sampled_from([2, 1]), sizes_of_groups, steps).flatmap(fill)


@cache
def _unequal_lengths(rows: int) -> SearchStrategy[tuple[int, ...]]:
    """Lengths of one to twelve tokens, some rows far longer than others."""
    return _tuples(st.sampled_from([1, 12, 2, 7, 11]), rows, rows)


def rounded(value: float, dtype: str) -> float:
    """The value as the dtype holds it."""
    if dtype == "bfloat16":
        bits = np.array(value, np.float32).view(np.uint32)
        up = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        return float((up & np.uint32(0xFFFF0000)).view(np.float32))
    return float(np.dtype(dtype).type(value))


def stepped(value: float, ulps: int, dtype: str) -> float:
    """The value, ``ulps`` representable numbers further from zero."""
    if dtype == "bfloat16":
        bits = np.array(value, np.float32).view(np.uint32) + np.uint32(ulps << 16)
        return float(bits.view(np.float32))
    kind = np.dtype(dtype).type
    out = kind(value)
    for _ in range(ulps):
        out = np.nextafter(out, kind(np.copysign(np.inf, value)))
    return float(out)
