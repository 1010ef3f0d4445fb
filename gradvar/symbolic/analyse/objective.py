"""An analysis of a user's objective: its regions at G = 2, the expected gradient, the standard laws."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import sympy as sp

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, Objective
from gradvar.pieces.own import load_estimator
from gradvar.symbolic.analyse.laws import (
    ProvedLaw,
    algebraic_laws,
    bias_law,
    binary_laws,
    free_fields,
    length_law,
)
from gradvar.symbolic.decide.enumerate import SymbolicBandit
from gradvar.symbolic.decide.regions import Region, explore
from gradvar.symbolic.group import engine, symbolic_group
from gradvar.symbolic.read.elementwise import Unreadable
from gradvar.symbolic.read.numbers import Undecided
from gradvar.symbolic.read.trace import symbolic_batch, symbols, trace

LARGEST_GROUP = 4


@dataclass(frozen=True)
class Analysis:
    """The analysis of one objective."""

    target: str
    regions: tuple[Region, ...]
    weights: dict[int, sp.Expr]
    laws: tuple[ProvedLaw, ...]
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return {
            "kind": "analysis",
            "findings": self.findings(),
            "target": self.target,
            "regions": [
                {"conditions": [str(c) for c in r.conditions], "token_weights": [str(w) for w in pair(r)]}
                for r in self.regions
            ],
            "prompt_weight": {str(g): str(w) for g, w in self.weights.items()},
            "laws": [
                {
                    "name": law.name,
                    "statement": law.statement,
                    "verdict": law.verdict,
                    "counterexample": law.counterexample,
                    "note": law.note,
                }
                for law in self.laws
            ],
            "notes": list(self.notes),
        }

    def findings(self) -> list[str]:
        """Return what the analysis shows, in sentences."""
        refuted = [law for law in self.laws if law.verdict == "refuted"]
        count = f"{len(self.laws) - len(refuted)} of {len(self.laws)} {'law is' if len(self.laws) == 1 else 'laws are'}"
        return [
            f"{self.target}: {count} not refuted.",
            *(f"Refuted: {law.statement} {law.note}".strip() for law in refuted),
            *self.notes,
        ]


def load_objective(target: str) -> Objective:
    """Load the objective that ``path/to/file.py:name`` or ``module:name`` names (``pieces.own.load_estimator``)."""
    return load_estimator(target).objective


def analyse(objective: Objective, target: str = "objective") -> Analysis:
    """Return closed forms and laws of an objective, each law proved or refuted at a point.

    Raises ``ValueError`` where the objective cannot be read.
    """
    notes: list[str] = []
    try:
        regions = _regions(objective, notes)
        prompt_weights = {g: prompt_weight_of(objective, g) for g in range(2, LARGEST_GROUP + 1)}
    except Unreadable as error:
        reason = str(error).removeprefix("trace: ")
        raise ValueError(
            f"target: {target}: {reason}; write that part with operations that it reads"
        ) from error
    weights = {g: w for g, w in prompt_weights.items() if w is not None}
    laws = (*algebraic_laws(objective), length_law(objective), bias_law(objective), *binary_laws(weights))
    if weights:
        notes += _engine_note(objective, weights[2])
    else:
        notes.append("no w(p): on policy the weights depend on the log-probabilities themselves")
    return Analysis(target, tuple(regions), weights, laws, tuple(notes))


def _engine_note(objective: Objective, weight: sp.Expr) -> list[str]:
    """Compare by a second route: the exact engine's mean at p = 1/3, G = 2, against w(1/3) grad p."""
    p = sp.Symbol("p", positive=True)
    if not weight.free_symbols <= {p}:
        return ["the exact engine was not asked: w(p) depends on more than p"]
    bandit = SymbolicBandit(["1/3", "2/3"], [1, 0])
    mean = np.asarray(engine(Estimator("objective", objective), bandit, 2).mean).reshape(-1)
    traced = [float(weight.subs(p, sp.Rational(1, 3)) * g) for g in bandit.gradient]
    gap = float(np.max(np.abs(np.subtract(traced, mean))))
    if not gap <= 1e-9:  # NaN is no agreement
        raise ValueError(
            f"target: the traced mean and the exact engine's differ by {gap:.1e}; is the objective pure?"
        )
    return [f"the exact engine agrees: at p = 1/3, G = 2 its mean is w(p) grad p to {max(gap, 1e-16):.0e}"]


def _regions(objective: Objective, notes: list[str]) -> list[Region]:
    fields: dict[str, Any] = free_fields(2)
    rollouts = symbolic_group(2, **fields)
    try:
        return rollouts.regions(objective)
    except (Undecided, TypeError, ValueError) as error:
        notes.append(
            f"off policy: the regions were not all found ({str(error).splitlines()[0]}); shown on policy"
        )
        on_policy = symbolic_group(2, on_policy=True)
        batch = _on_policy_batch(on_policy.rewards, on_policy.batch.logp_old)
        return explore(jax.grad(objective), on_policy.logp, batch)


def _on_policy_batch(rewards: Any, logp: Any) -> Batch:
    """Return a batch where reference and sampler are the policy itself; the other fields are symbols."""
    group = np.shape(logp)[1]
    fields = free_fields(group) | {"logp_ref": logp, "logp_sampler": logp}
    return symbolic_batch(rewards, logp, **fields)


def prompt_weight_of(objective: Objective, group: int) -> sp.Expr | None:
    """Return w(p) with E[gradient] = w(p) grad p on policy: one token per rollout, all 2^G vectors of binary rewards.

    None where the weights depend on the log-probabilities themselves, on policy: then there is no such w.
    """
    p = sp.Symbol("p", positive=True)
    total = sp.Integer(0)
    logp = symbols("a", (1, group, 1))
    slope = jax.grad(objective)
    for rewards in itertools.product((0, 1), repeat=group):
        batch = _on_policy_batch(np.asarray([rewards], object), logp)
        weights = trace(slope, logp, batch).reshape(-1)
        if any(w.free_symbols & set(logp.flat) for w in weights):
            return None  # the weight of a rollout then depends on which answer it is, not only on its reward
        chance = sp.Mul(*[p if r else 1 - p for r in rewards])
        total += chance * sp.Add(
            *[w * (1 / p if r else -1 / (1 - p)) for w, r in zip(weights, rewards, strict=True)]
        )
    return sp.factor(sp.cancel(sp.expand(sp.simplify(total))))


def pair(region: Region) -> list[sp.Expr]:
    """Return the two weights of a region, factored."""
    return [sp.factor(w) for w in region.value.reshape(-1)]
