"""Which estimator's advantages a function computes: forms tried on probe groups, settings solved for, edges looked at.

A form fits on rewards of order one up to a factor; its epsilon is then read off groups of ever smaller spread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.identification.edges import edges
from gradvar.testing.identification.epsilon import Ladder, nice
from gradvar.testing.identification.report import Candidate, Identification
from gradvar.testing.matching.advantage import accepts, advantage_law, attempt
from gradvar.testing.matching.probe import advantages, resolution
from gradvar.testing.oracle import Oracle, RolloutRows, named
from gradvar.testing.runner import check_law
from gradvar.testing.targets import AdvantageTarget
from gradvar.testing.verdicts import FAILS

EXAMPLES = 40
ROUGH = 0.2
"""Residual up to which a form is refined; the right one, before its epsilon is known, is far below."""
GROUPS = (
    (1.0, 0.0, 0.25, 0.0),
    (0.5, 0.5, 1.0, 0.75, 0.25),
    (1.0, 1.0, 0.0, 1.0),
    (0.5, 0.5, 0.5, 0.5),
    (0.0, 0.0, 1.0, 0.25, 0.0, 0.5),
)
LENGTHS = (3, 1, 2, 3, 2)


def forms() -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and settings to try, the plainest first: where two agree on all probes, the first is the answer."""
    yield from ((n, {}) for n in ("reinforce", "dr_grpo", "rloo"))
    for name in ("grpo", "rloo_over_std", "rloo_both", "reinforce_pp", "reinforce_pp_baseline"):
        for over in ("rollouts", "tokens") if name.startswith("reinforce") else ("",):
            for ddof in (0, 1):
                yield name, {"ddof": ddof, "eps": 0.0, **({"over": over} if over == "tokens" else {})}
    yield from ((n, {}) for n in ("opo", "opo_leave_one_out", "gpg", "best_less_second", "krpo", "bnpo"))
    yield from (("best_less_second", {"normalise": True, "ddof": d, "eps": 0.0}) for d in (1, 0))
    yield from (("gpg", {"f_norm": "std", "ddof": d, "eps": 0.0}) for d in (1, 0))
    yield from ((n, {"eps": 0.0}) for n in ("maxrl", "ebpo"))
    yield from (("pass_at_k", {"k": k}) for k in (2, 3, 4))
    yield from (("pass_at_k_standardised", {"k": k, "eps": 0.0}) for k in (1, 2, 3))
    yield "softmax", {}


@dataclass(frozen=True)
class Seen:
    """A probe batch and what the function made of it."""

    batch: RolloutRows
    out: np.ndarray


def identify_advantages(target: AdvantageTarget) -> Identification:
    """Identify an advantage function; its errors on a probe are part of the finding."""
    label = target.origin or target.name
    if target.flaw:
        return Identification(label, "advantage", False, why=target.flaw)
    try:
        seen = [Seen(batch, advantages(target, batch)) for batch in probes(target)]
        joined = _joined(seen)
        if not np.isfinite(joined).all():  # a group of equal rewards may be to blame: confirmation shows it
            seen = [Seen(batch, advantages(target, batch)) for batch in probes(target, mixed=True)]
            joined = _joined(seen)
    except (Raised, BadOutput) as failure:
        return Identification(label, "advantage", False, why=f"the probe batch {failure}")
    if not np.isfinite(joined).all():
        return Identification(label, "advantage", False, why="finite rewards give NaN or infinite advantages")
    if not np.any(joined):
        return Identification(label, "advantage", False, why="every advantage is zero, whatever the rewards")
    if np.ptp(joined) == 0:
        return Identification(
            label, "advantage", False, why=f"every advantage is {joined[0]:.6g}, whatever the rewards"
        )
    ladder = Ladder(target)
    fitted = sorted((fit(ladder, seen, *form) for form in forms()), key=lambda c: round(c.residual, 9))
    best, precision = fitted[0], resolution(target)
    if best.residual > (1e-6 if precision < 1e-6 else 1e-4):
        nearest = tuple({c.name: c for c in reversed(fitted)}.values())[::-1][:3]
        return Identification(
            label, "advantage", False, candidates=nearest, why=_difference(target, nearest[0])
        )
    oracle = named(best.name, **best.settings)
    verdict = check_law(advantage_law(oracle), target, examples=EXAMPLES)
    remarks = tuple(edges(target, oracle))
    if verdict.status == FAILS:
        return Identification(label, "advantage", False, best.name, best.settings, remarks, why=verdict.why)
    return Identification(label, "advantage", True, best.name, best.settings, remarks)


def probes(target: AdvantageTarget, mixed: bool = False) -> list[RolloutRows]:
    """Batches that tell the forms apart: unequal groups in one call where it takes them, else calls of one size.

    ``mixed`` leaves out the group of equal rewards.
    """
    groups: list[tuple[float, ...]] = [g for g in GROUPS if len(set(g)) > 1 or not mixed]
    if target.kind == "group":
        return [_rows([g]) for g in groups if len(set(g)) > 1]
    if target.ragged and accepts(target, single=False):
        return [_rows(groups), _rows([GROUPS[1], GROUPS[4], GROUPS[0]])]
    fours = [g for g in groups if len(g) == 4]
    return [_rows(fours), _rows([GROUPS[1], tuple(1 - r for r in GROUPS[1])])]


def _joined(seen: list[Seen]) -> np.ndarray:
    """All entries that count, in one array."""
    return np.concatenate([x.out[x.batch.mask] if x.out.ndim == 2 else x.out for x in seen])


def _rows(groups: Sequence[tuple[float, ...]]) -> RolloutRows:
    rewards = np.concatenate([np.array(g) for g in groups])
    lengths = np.array([LENGTHS[i % len(LENGTHS)] for i in range(len(rewards))])
    mask = np.arange(3)[None, :] < lengths[:, None]
    mask[lengths == 2] = [True, False, True]  # a hole
    return RolloutRows(mask, rewards, np.repeat(range(len(groups)), [len(g) for g in groups]))


def fit(ladder: Ladder, seen: list[Seen], name: str, settings: dict[str, Any]) -> Candidate:
    """A form with its settings solved for, and the residual that is left.

    Args:
        ladder: The function's answers to small spreads.
        seen: Its answers to the probes.
        name: The form.
        settings: Its settings, with an epsilon of zero where it has one.
    """
    if name == "softmax":
        temperature = ladder.temperature()
        if temperature is None:
            return Candidate(name, {}, 1.0)
        settings = {"temperature": temperature}
    oracle = named(name, **settings)
    scale, residual = _factor(oracle, seen)
    if residual > ROUGH or not scale > 0:
        return Candidate(name, settings, max(residual, 1e-3))
    options = [settings]
    if "eps" in settings:
        options = [{**settings, **solved} for solved in ladder.epsilon(oracle)] or options
    results = []
    for option in options:
        scale, residual = _factor(named(name, **option), seen)
        factor = {} if abs(scale - 1) < 1e-5 or residual > 1e-3 else {"scale": nice(scale)}
        results.append(Candidate(name, {**option, **factor}, residual))
    return min(results, key=lambda c: c.residual)


def _factor(oracle: Oracle, seen: list[Seen]) -> tuple[float, float]:
    """The factor between function and form by least squares, and the share of the function that is left."""
    try:
        pairs = [_aligned(oracle, x) for x in seen]
    except ValueError:  # k exceeds a group
        return 0.0, 1.0
    function, form = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    norm = float(form @ form)
    scale = float(function @ form) / norm if norm else 0.0
    size = max(float(np.linalg.norm(function)), 1e-300)
    return scale, float(np.linalg.norm(function - scale * form)) / size


def _aligned(oracle: Oracle, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Function and form on the entries that count: tokens where the function has tokens, else rollouts."""
    out, form, mask = seen.out, oracle.advantages_of(seen.batch), seen.batch.mask
    if out.ndim == 2 or form.ndim == 2:
        wide = [np.repeat(x[:, None], mask.shape[1], axis=1) if x.ndim == 1 else x for x in (out, form)]
        return wide[0][mask], wide[1][mask]
    return out, form


def _difference(target: AdvantageTarget, candidate: Candidate) -> str:
    """The smallest drawn example on which the function is not the nearest candidate."""
    oracle = named(candidate.name, **candidate.settings)
    if attempt(lambda: advantages(target, _rows([GROUPS[0]]))) is None:
        return ""
    return check_law(advantage_law(oracle), target, examples=EXAMPLES).why
