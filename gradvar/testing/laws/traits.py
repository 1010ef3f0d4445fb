"""What a function is, found by probing it: batch statistics in an advantage, advantages normalised inside a loss.

A function of a recognised kind is judged by the laws of its kind; the report says how it was recognised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.laws.loss_batches import plain_batch, same
from gradvar.testing.losses import LossTarget
from gradvar.testing.targets import AdvantageTarget

Value = TypeVar("Value")
WHITENED = "whitened over the batch"


def once(target: Any, name: str, compute: Callable[[Any], Value]) -> Value:
    """The value of a probe, computed at its first use; the calls of the law in hand are left alone."""
    known = target.__dict__.setdefault("_traits", {})
    if name not in known:
        calls = list(target.calls)
        known[name] = compute(target)
        target.calls[:] = calls
    return known[name]


def normalises(target: LossTarget) -> str:
    """How the loss normalises the advantages that it is handed: "standardised", "centred" or ""."""
    return once(target, "normalises", _normalises)


def _normalises(target: LossTarget) -> str:
    batch = plain_batch(moved=False)

    def weights(advantages: Any) -> np.ndarray:
        return target.weights(replace(batch, advantages=np.asarray(advantages, float)))[1]

    a = batch.advantages
    try:
        still = weights(np.zeros_like(a))
        plain, tripled, shifted = (weights(x) - still for x in (a, 3 * a, a + 2))
    except (Raised, BadOutput, TypeError, ValueError):
        return ""
    if not np.all(np.isfinite(plain)) or not np.any(np.abs(plain) > 1e-6) or not _near(plain, shifted):
        return ""
    if _near(plain, tripled):
        return "standardised"
    return "centred" if same(target, 3 * plain, tripled) else ""


def _near(one: np.ndarray, other: np.ndarray) -> bool:
    """Return True if equal up to an epsilon beside the std."""
    return bool(np.allclose(one, other, rtol=1e-2, atol=1e-2 * np.max(np.abs(one))))


def batch_statistics(target: AdvantageTarget) -> str:
    """ "whitened over the batch" where all advantages together have mean zero and variance one, else "".

    Rewards are centred by group before, where the function is told groups; a whitening of raw rewards in spite of
    groups is a mean over the batch, which is a fault.
    """
    return once(target, "batch_statistics", _batch_statistics)


def _batch_statistics(target: AdvantageTarget) -> str:
    size = max(3, target.min_group)
    rest = (0.0,) * (size - 3)
    binary = target.domain == "binary"
    batches = [
        ((1.0, 0.0, 0.0, *rest), (0.0, 1.0, 1.0 if binary else 3.0, *rest)),
        ((1.0, 1.0, 0.0, *rest), (0.0, 0.0, 1.0 if binary else 2.0, *rest)),
        # groups that are standardised by themselves leave half of the variance of this one
        ((1.0, 0.0, 0.0, *rest), (1.0,) * size),
    ]
    if not target.batched:
        return ""
    try:
        outputs = [target(groups) for groups in batches]
    except (Raised, BadOutput):
        return ""
    for parts in outputs:
        every = np.concatenate(parts)
        spread = float(np.std(every))
        level = abs(float(np.mean(every)))
        whole = len(every) / (len(every) - 1)
        # the variance may divide by N, by N - 1, or by a number of tokens in between
        if level > 1e-3 or not 0.98 / whole <= spread**2 <= 1.02:
            return ""
        if _wants_groups(target) and any(abs(float(np.mean(p))) > 1e-3 for p in parts):
            return ""
    return WHITENED


def takes_groups(target: AdvantageTarget) -> bool:
    """Return True if the function can tell the groups of a batch apart: by ids, a count or an axis."""
    return bool(_group_roles(target)) or target.kind not in ("flat", "token-level")


def _group_roles(target: AdvantageTarget) -> set[str]:
    return {role for role in ("ids", "prompts", "count") if target.signature.takes(role)}


def _wants_groups(target: AdvantageTarget) -> bool:
    """Return True if the function takes groups of its own accord; what its trainer packs counts by its effect."""
    roles = _group_roles(target)
    if roles and roles <= packed_roles(target) and target.min_group <= 2:
        return once(target, "regroups", _regroups)
    return takes_groups(target)


def packed_roles(target: AdvantageTarget) -> frozenset[str]:
    """The roles that the function's trainer packs into the batch of every function, whether it wants them or not."""
    return getattr(target.function, "packed", frozenset())


def _regroups(target: AdvantageTarget) -> bool:
    rows = (0.0, 1.0, 3.0, 7.0, 2.0, 12.0)
    try:
        thirds, halves = (
            np.concatenate(target([rows[i : i + size] for i in range(0, 6, size)])) for size in (2, 3)
        )
    except (Raised, BadOutput):
        return True
    return not np.allclose(thirds, halves, rtol=1e-6, atol=1e-6, equal_nan=True)


def isolates(target: AdvantageTarget) -> bool:
    """Return True if one call takes several groups and each has its own statistics."""
    return target.batched and takes_groups(target) and not batch_statistics(target)


def excused_by_statistics(target: AdvantageTarget) -> str:
    """The reason why laws about one group by itself do not apply."""
    kind = batch_statistics(target)
    return f"{kind}: every rollout enters the statistics by design" if kind else ""


def excused_by_normalising(target: LossTarget) -> str:
    """The reason why laws about advantages as they are handed over do not apply."""
    kind = normalises(target)
    return f"advantages are {kind} inside the loss" if kind else ""


def remarks(target: Any) -> list[str]:
    """How an advantage function or a loss was recognised, a line each; nothing for functions of other kinds."""
    if isinstance(target, LossTarget):
        kind = normalises(target)
        return [f"advantages are {kind} inside the loss: judged as such"] if kind else []
    kind = batch_statistics(target) if isinstance(target, AdvantageTarget) else ""
    return [f"recognised: advantages {kind}; judged as such"] if kind else []
