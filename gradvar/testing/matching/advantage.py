"""Advantages compared with an oracle on drawn groups: spreads down to 1e-5, offsets, holes, groups of one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing import strategies as gen
from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.digits import apart
from gradvar.testing.laws.base import Broken, Law
from gradvar.testing.matching.probe import advantages, resolution
from gradvar.testing.matching.shown import line, worst
from gradvar.testing.oracle import Oracle, RolloutRows
from gradvar.testing.targets import RECTANGULAR, AdvantageTarget, per_rollout

STEPS = 3
SIZES = (2, 1, 3, 5, 6, 8)
SCALES = (1.0, 1 / 64, 2.0**-14, 2.0**-17)
OVER_THE_BATCH = ("batch", "batch-group-centred", "shrunk", "beta", "rescaled", "tracked", "decoupled")
DOMAINS = {"pass-at-k-standardised": "binary", "over-mean": "nonnegative", "beta": "share"}


def tolerance(precision: float) -> float:
    """The relative difference that is allowed for a function of that precision: 1e-7, in single precision 3e-5."""
    return 1e-7 if precision < 1e-6 else 3e-5


def advantage_law(oracle: Oracle) -> Law:
    """The law that a function's advantages are the oracle's."""
    precision: list[float] = []

    def check(target: AdvantageTarget, **example: Any) -> None:
        """What a trainer calls by a paper's name is that, or another estimator: the curves do not say which.

        Broken by a sample for a population standard deviation, an epsilon of another size, a baseline that forgets
        a rollout. Report: huggingface/trl#5338 (a reward put on the padding: every advantage zero).
        """
        if not precision:
            precision.append(resolution(target))
        batch = build(target, **example)
        out = advantages(target, batch, example["dtype"])
        narrow = precision[0] > 1e-6 or example["dtype"] == "float32"
        difference(oracle, batch, out, tolerance(1e-5 if narrow else 1e-9))

    return Law("matches_oracle", check, lambda target: examples(oracle, target), universal=True)


def difference(oracle: Oracle, batch: RolloutRows, out: np.ndarray, relative: float) -> None:
    """Raise ``Broken`` with both answers where a function's advantages are not the oracle's.

    Args:
        oracle: The estimator.
        batch: Where the two are compared.
        out: The function's advantages, [N] or [N, T].
        relative: The difference that is allowed, relative to the largest advantage of the group.
    """
    wanted = oracle.advantages_of(batch)
    ignored = _undecided(oracle, batch)
    mask = batch.mask
    seen = out
    if out.ndim == 2 and wanted.ndim == 1:
        wanted = np.where(mask, wanted[:, None], 0.0)
    elif out.ndim == 1 and wanted.ndim == 2:
        wanted = per_rollout(wanted, mask)
    shape = (-1, *(1,) * (wanted.ndim - 1))
    counts = ~ignored.reshape(shape) & (mask if wanted.ndim == 2 else True)
    seen, wanted = np.where(counts, seen, 0.0), np.where(counts, wanted, 0.0)
    scale = np.abs(per_group_largest(batch, wanted)).reshape(shape)
    if oracle.form.advantage in OVER_THE_BATCH:  # a group of equal rewards shares the rounding of the others
        scale = np.full_like(scale, float(np.max(scale, initial=0.0)))
    place = worst(seen, wanted, relative * np.maximum(scale, 1e-6))
    if place is None:
        return
    value, other = apart(float(seen[place]), float(wanted[place]))
    token = f", token {place[1]}" if len(place) > 1 else ""
    rows = batch.groups.rows()[batch.groups.index[place[0]]]
    lengths = (
        "" if np.all(mask[rows].sum(-1) == mask[rows[0]].sum()) else f", lengths {line(mask[rows].sum(-1))}"
    )
    beside = f" beside {batch.groups.count - 1} other groups" if batch.groups.count > 1 else ""
    raise Broken(
        f"rewards {line(batch.array('rewards')[rows])}{lengths}{beside} -> {line(per_rollout(out, mask)[rows])}; "
        f"{oracle} has {line(per_rollout(oracle.advantages_of(batch), mask)[rows])}: "
        f"rollout {int(np.flatnonzero(rows == place[0])[0])}{token} has {value}, not {other} "
        f"(tolerance {relative:g} of the group's largest)"
    )


def per_group_largest(batch: RolloutRows, values: np.ndarray) -> np.ndarray:
    """The largest entry by size in each row's group, [N]."""
    rows = np.abs(values).max(-1) if values.ndim == 2 else np.abs(values)
    return batch.groups.largest(rows)


def _undecided(oracle: Oracle, batch: RolloutRows) -> np.ndarray:
    """Rows in which trainers differ legitimately, unless a setting decides: groups of one, groups with empty rows."""
    ignored = np.zeros(len(batch.mask), bool)
    if "single" not in oracle.given and oracle.form.advantage not in OVER_THE_BATCH:
        ignored |= batch.groups.size == 1
    if "rejected" not in oracle.given:
        ignored |= batch.groups.total(batch.empty.astype(float)) > 0
    return ignored


def build(target: AdvantageTarget, **example: Any) -> RolloutRows:
    """The batch that the plain numbers of an example describe."""
    groups = [[example["offset"] + example["scale"] * r for r in g] for g in example["groups"]]
    rewards = np.concatenate([np.asarray(g, float) for g in groups])
    ids = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
    patterns = example["masks"]
    mask = np.array([patterns[i % len(patterns)] for i in range(len(rewards))], bool)
    order = np.arange(len(rewards))
    if target.kind in ("flat", "prompt-ids", "token-level"):
        order = (
            np.random.default_rng(example["order"]).permutation(len(rewards)) if example["order"] else order
        )
    return RolloutRows(mask[order], rewards[order], ids[order])


def examples(oracle: Oracle, target: AdvantageTarget) -> st.SearchStrategy[dict[str, Any]]:
    """Groups for a comparison, as plain numbers."""
    over_batch = oracle.form.advantage in OVER_THE_BATCH
    lone = "single" in oracle.given or not over_batch
    least = 1 if lone and accepts(target, single=True) else target.min_group
    smallest = max(int(oracle.settings.get("k") or 1), least)
    largest = max(5, smallest + 1)
    domain = DOMAINS.get(oracle.form.advantage, target.domain)
    prompts = 1 if over_batch and target.kind == "group" else 3
    ragged = target.ragged and accepts(target, single=False)
    groups = _batches(_rewards(domain), ragged, prompts, tuple(n for n in SIZES if smallest <= n <= largest))
    if smallest == 1:
        groups = groups.filter(lambda batch: "single" in oracle.given or any(len(g) > 1 for g in batch))
    empty = target.signature.takes("mask") and ("rejected" in oracle.given or not over_batch)
    has_eps = (
        "eps" in oracle.settings and domain == "real" and oracle.form.advantage != "pass-at-k-standardised"
    )
    wide = [d for d in target.library.floats if d != "bfloat16"]
    offsets = (0.0, 0.0, 100.0) if domain == "real" and resolution(target) < 1e-6 else (0.0,)

    @cache
    def in_dtype(dtype: str) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries(
            {
                "groups": groups,
                "scale": st.sampled_from(SCALES if has_eps else (1.0,)),
                "offset": st.sampled_from(offsets if dtype == "float64" else (0.0,)),
                "masks": _masks(empty),
                "order": st.integers(0, 20),
                "dtype": st.just(dtype),
            }
        )

    return st.sampled_from(wide or [target.library.wide]).flatmap(in_dtype)


@cache
def _masks(empty: bool) -> st.SearchStrategy[tuple[tuple[bool, ...], ...]]:
    """Masks of rows of three tokens: full, padded on either side, with a hole, and empty ones."""
    full = (True,) * STEPS
    rows = [full, (True, False, False), (True, True, False), (False, True, True), (True, False, True)]
    rows += [(False,) * STEPS] if empty else []
    return st.lists(st.sampled_from(rows), min_size=1, max_size=5).map(tuple)


@cache
def _batches(
    reward: st.SearchStrategy[float], ragged: bool, prompts: int, sizes: tuple[int, ...]
) -> st.SearchStrategy[tuple[tuple[float, ...], ...]]:
    """One to several groups of rewards, of unequal size where they may be."""
    by_size = {n: st.lists(reward, min_size=n, max_size=n).map(tuple) for n in sizes}
    size = st.sampled_from(sizes)
    if ragged:
        return st.lists(size.flatmap(by_size.__getitem__), min_size=1, max_size=prompts).map(tuple)
    return size.flatmap(lambda n: st.lists(by_size[n], min_size=1, max_size=prompts).map(tuple))


@cache
def _rewards(domain: str) -> st.SearchStrategy[float]:
    return gen.graded() if domain == "share" else gen.rewards(domain)


def accepts(target: AdvantageTarget, *, single: bool) -> bool:
    """Return True if the function takes a group of one (beside others where it can), or groups of unequal size."""
    sizes = ([3, 1] if target.ragged else [1, 1]) if single else [2, 3]
    if not single and (target.kind in RECTANGULAR or not target.ragged):
        return False
    rewards = np.arange(sum(sizes)) % 2 + 0.0
    batch = RolloutRows(np.ones((sum(sizes), STEPS), bool), rewards, np.repeat(range(len(sizes)), sizes))
    return attempt(lambda: advantages(target, batch)) is not None


def attempt(call: Callable[[], np.ndarray]) -> np.ndarray | None:
    """The result of a call, or None where the function raised an error or returned no fitting array."""
    try:
        return call()
    except (Raised, BadOutput):
        return None
