"""Hypothesis strategies for what reaches an estimator: rewards in groups, masks, log-probabilities, ratios
at the clip.

Every strategy shrinks towards the smallest group with the plainest rewards (zeros, then ones). The
``dyadic`` rewards are multiples of 1/8, so that sums are exact in every floating dtype: an algebraic law
that fails on them fails for its algebra and not for its rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Group = tuple[float, ...]

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


def binary() -> SearchStrategy[float]:
    """A verifiable reward: 0 or 1."""
    return st.sampled_from([0.0, 1.0])


def dyadic(low: int = -16, high: int = 16) -> SearchStrategy[float]:
    """A multiple of 1/8 in [low/8, high/8]."""
    return st.integers(low, high).map(lambda k: k / 8)


def graded() -> SearchStrategy[float]:
    """A graded reward in [0, 1], in tenths."""
    return st.integers(0, 10).map(lambda k: k / 10)


def continuous(bound: float = 2.0) -> SearchStrategy[float]:
    """A reward-model score: any float in [-bound, bound] that is not denormal."""
    return st.floats(-bound, bound, allow_nan=False, allow_subnormal=False, width=32)


def rewards(domain: str = "real") -> SearchStrategy[float]:
    """One exact reward of the estimator's domain: real, nonnegative or binary."""
    if domain == "binary":
        return binary()
    if domain == "nonnegative":
        return st.sampled_from([v for v in PLAINEST if v >= 0])
    return st.sampled_from(PLAINEST)


def groups(
    values: SearchStrategy[float] | None = None, min_size: int = 2, max_size: int = 6, mixed: bool = False
) -> SearchStrategy[Group]:
    """One group. ``mixed`` asks for at least two different rewards."""
    one = values if values is not None else rewards()
    found = sizes(min_size, max_size).flatmap(lambda n: st.lists(one, min_size=n, max_size=n).map(tuple))
    return found.filter(lambda g: len(set(g)) > 1) if mixed else found


def batches(
    values: SearchStrategy[float] | None = None,
    *,
    ragged: bool = False,
    min_prompts: int = 1,
    max_prompts: int = 3,
    min_size: int = 2,
    max_size: int = 6,
) -> SearchStrategy[tuple[Group, ...]]:
    """Groups of several prompts: of one size, or ``ragged``."""
    values = values if values is not None else rewards()
    if ragged:
        one = groups(values, min_size, max_size)
        return st.lists(one, min_size=min_prompts, max_size=max_prompts).map(tuple)

    def of_size(size: int) -> SearchStrategy[tuple[Group, ...]]:
        one = groups(values, size, size)
        return st.lists(one, min_size=min_prompts, max_size=max_prompts).map(tuple)

    return sizes(min_size, max_size).flatmap(of_size)


def sizes(least: int, most: int) -> SearchStrategy[int]:
    """Group sizes, the smallest first, odd and even; few, for libraries that
    compile shapes."""
    chosen = [n for n in (2, 3, 5, 8, 11) if least <= n <= most]
    return st.sampled_from(chosen or [least])


def equal_groups(
    dtype: str = "float32", domain: str = "real", min_size: int = 2, max_size: int = 16
) -> SearchStrategy[Group]:
    """All rewards equal, at a value that the dtype holds and whose mean it may not.

    In float32 and narrower |value| <= 1, where one unit in the last place is at most 6e-8; in float64 up to
    1e6.
    """
    if domain == "binary":
        value = binary()
    else:
        low = 0.0 if domain == "nonnegative" else -1.0
        value = st.one_of(st.sampled_from(INEXACT), st.floats(low, 1.0, allow_subnormal=False, width=32))
        if dtype == "float64":
            value = st.one_of(value, st.floats(1.0, 1e6))
    return st.tuples(value, sizes(min_size, max_size)).map(lambda p: (rounded(p[0], dtype),) * p[1])


def near_equal_groups(
    dtype: str = "float32", domain: str = "real", min_size: int = 2, max_size: int = 8, ulps: int = 2
) -> SearchStrategy[Group]:
    """Rewards that differ by at most ``ulps`` units in the last place of the dtype: equal but for
    rounding."""
    low = 0.0 if domain == "nonnegative" else -1.0
    value = st.one_of(st.sampled_from(INEXACT), st.floats(low, 1.0, allow_subnormal=False, width=32)).filter(
        lambda v: abs(v) >= 0.05
    )

    def spread(parts: tuple[float, list[int]]) -> Group:
        start, steps = rounded(parts[0], dtype), parts[1]
        return tuple(stepped(start, k, dtype) for k in steps)

    steps = sizes(min_size, max_size).flatmap(
        lambda n: st.lists(st.integers(0, ulps), min_size=n, max_size=n)
    )
    return st.tuples(value, steps).map(spread)


def scaled_groups(domain: str = "real", dtype: str = "float64", max_size: int = 6) -> SearchStrategy[Group]:
    """A group at a tiny or huge scale: powers of ten from 1e-30 to 1e30 in float64, to 1e15 in float32."""
    top = 30 if dtype == "float64" else 15
    if domain == "binary":
        return groups(binary(), 2, max_size)

    def at(power: int) -> SearchStrategy[Group]:
        return groups(rewards(domain), 2, max_size).map(
            lambda g: tuple(rounded(r * 10.0**power, dtype) for r in g)
        )

    return st.integers(-top, top).flatmap(at)


def integer_groups(domain: str = "real", min_size: int = 2, max_size: int = 6) -> SearchStrategy[Group]:
    """Whole rewards, as floats."""
    low, high = {"binary": (0, 1), "nonnegative": (0, 9)}.get(domain, (-9, 9))
    return groups(st.integers(low, high).map(float), min_size, max_size)


def poisoned_groups(
    domain: str = "real", min_size: int = 2, max_size: int = 5
) -> SearchStrategy[tuple[Group, int, float]]:
    """A group, the index of one row of it, and what that row holds instead of a reward: NaN or an
    infinity."""

    def pick(group: Group) -> SearchStrategy[tuple[Group, int, float]]:
        bad = st.sampled_from([float("nan"), float("inf"), float("-inf")])
        return st.tuples(st.just(group), st.integers(0, len(group) - 1), bad)

    return groups(rewards(domain), min_size, max_size, mixed=True).flatmap(pick)


def prompts_with_duplicates(prompts: int) -> SearchStrategy[tuple[int, ...]]:
    """The identity of each prompt of a batch, some of them the same."""
    return st.lists(st.integers(0, max(prompts - 2, 0)), min_size=prompts, max_size=prompts).map(tuple)


def lengths(rows: int, longest: int = 4, shortest: int = 1) -> SearchStrategy[tuple[int, ...]]:
    """Tokens per rollout."""
    return st.lists(st.integers(shortest, longest), min_size=rows, max_size=rows).map(tuple)


def log_ratios(clips: Sequence[float] = CLIPS) -> SearchStrategy[float]:
    """A log-ratio at, just inside, just outside or far beyond a clip boundary, or zero."""
    edges = [np.log1p(c) for c in clips] + [np.log1p(-c) for c in clips]
    near = [e * (1 + d) for e in edges for d in (-1e-3, 0.0, 1e-3)]
    return st.sampled_from([0.0, *map(float, near), 0.5, -0.5, 1.5, -1.5])


def log_probs() -> SearchStrategy[float]:
    """A token's log-probability in nats, in steps of 1/16 down to -4."""
    return st.integers(1, 64).map(lambda k: -k / 16)


def loss_shapes(compact: bool = False) -> SearchStrategy[dict[str, Any]]:
    """The plain numbers that a loss batch is built from: prompts, group, lengths, advantages,
    log-probabilities.

    ``compact`` draws fewer shapes, for a library that compiles each of them.
    """

    def fill(counts: tuple[int, int]) -> SearchStrategy[dict[str, Any]]:
        rows = counts[0] * counts[1]
        return st.fixed_dictionaries(
            {
                "group": st.just(counts[1]),
                "steps": st.just(4) if compact else st.sampled_from([4, 5]),
                "lengths": lengths(rows),
                "advantages": st.lists(
                    st.sampled_from([1.0, -1.0, 0.5, -2.0]), min_size=rows, max_size=rows
                ).map(tuple),
                "logps": st.lists(log_probs(), min_size=3, max_size=3).map(tuple),
                "moves": st.lists(st.sampled_from([0.0, 0.05, -0.05]), min_size=2, max_size=2).map(tuple),
            }
        )

    sizes_of_groups = st.just(2) if compact else st.integers(2, 3)
    return st.tuples(st.sampled_from([2, 1]), sizes_of_groups).flatmap(fill)


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
