"""Where trainers differ: groups of one, rows without a token, NaN rewards, masked places of the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.identification.report import group_wise
from gradvar.testing.matching.advantage import accepts
from gradvar.testing.matching.probe import advantages
from gradvar.testing.oracle import Oracle, RolloutRows
from gradvar.testing.targets import RECTANGULAR, AdvantageTarget, per_rollout

GROUP = (1.0, 0.0, 0.25, 0.0)


def edges(target: AdvantageTarget, oracle: Oracle) -> Iterator[str]:
    """Sentences on the places where the function departs from: zero for a group of one, rows that do not vote, a NaN
    that stays in its group as zeros, and zero where masked."""
    if group_wise(oracle) or oracle.form.advantage == "batch-group-centred":
        yield from _single(target, oracle)
    if target.signature.takes("mask"):
        yield from _rejected(target, oracle)
        yield from _masked(target)
    yield from _poisoned(target, oracle)


def _batch(groups: Sequence[tuple[float, ...]], mask: np.ndarray | None = None) -> RolloutRows:
    rewards = np.concatenate([np.array(g, float) for g in groups])
    mask = np.ones((len(rewards), 3), bool) if mask is None else mask
    return RolloutRows(mask, rewards, np.repeat(range(len(groups)), [len(g) for g in groups]))


def _single(target: AdvantageTarget, oracle: Oracle) -> Iterator[str]:
    if target.kind in RECTANGULAR and oracle.form.advantage == "batch-group-centred":
        return
    beside = [GROUP] if target.ragged and accepts(target, single=False) else []
    answers = []
    for reward in (0.75, 2.0):
        batch = _batch([(reward,), *beside])
        try:
            answers.append(per_rollout(advantages(target, batch), batch.mask)[0])
        except Raised as failure:
            yield f"groups of one ({'refused' if failure.clear else failure})"
            return
        except BadOutput:
            return
    first, second = answers
    if np.isnan(first):
        yield "groups of one (NaN)"
    elif np.allclose(answers, [0.75, 2.0], rtol=1e-3):
        if oracle.name != "reinforce":
            yield "groups of one (raw reward)"
    elif np.any(np.abs(answers) > 1e-6):
        wanted = [float(oracle.advantages([r])[0]) for r in (0.75, 2.0)] if group_wise(oracle) else [0.0, 0.0]
        if not np.allclose(answers, wanted, rtol=1e-3):
            yield f"groups of one (reward 0.75 gets {first:.4g}, reward 2 gets {second:.4g})"


def _rejected(target: AdvantageTarget, oracle: Oracle) -> Iterator[str]:
    mask = np.ones((4, 3), bool)
    mask[0] = False
    batch = _batch([GROUP], mask)
    try:
        out = per_rollout(advantages(target, batch), mask)[1:]
    except Raised as failure:
        yield f"rows whose mask is empty ({failure})"
        return
    except BadOutput:
        return
    if not np.isfinite(out).all():
        yield "rows whose mask is empty (they make others NaN)"
        return
    for rejected, words in {"skip": "", "vote": "they vote", "vote-zero": "they vote, as zeros"}.items():
        wanted = per_rollout(oracle.with_settings(rejected=rejected).advantages_of(batch), mask)[1:]
        if np.allclose(out, wanted, rtol=1e-4, atol=1e-6):
            if words:
                yield f"rows whose mask is empty ({words})"
            return
    yield "rows whose mask is empty (they change the others)"


def _masked(target: AdvantageTarget) -> Iterator[str]:
    mask = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 0, 1]], bool)
    try:
        out = advantages(target, _batch([GROUP], mask))
    except (Raised, BadOutput):
        return
    if out.ndim == 2 and np.any(np.abs(out[~mask]) > 1e-9):
        yield "masked tokens (they are not zero)"


def _poisoned(target: AdvantageTarget, oracle: Oracle) -> Iterator[str]:
    groups = [(np.nan, *GROUP[1:]), (0.0, 1.0, 1.0, 0.25)]
    batch = _batch(groups)
    if target.kind == "group":
        batch = _batch(groups[:1])
    try:
        out = per_rollout(advantages(target, batch), batch.mask)
    except (Raised, BadOutput):
        return  # refused
    if not np.isfinite(out[4:]).all():
        yield "a NaN reward (it reaches the other groups)"
    elif np.isnan(out[:4]).all():
        yield "a NaN reward (its group is NaN)"
    elif np.isnan(out[:4]).any():
        yield "a NaN reward (it is NaN itself)"
    elif group_wise(oracle) and np.any(out[:4]):
        wanted = oracle.advantages([*GROUP[1:]]) if oracle.settings.get("k", 2) <= 3 else out[1:4]
        left_out = np.allclose(out[1:4], wanted, rtol=1e-3, atol=1e-6)
        yield f"a NaN reward ({'it is left out' if left_out else 'the rest of its group changes'})"
