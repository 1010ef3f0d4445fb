"""A decision of the ledger as a goal for the kernel, closed over its symbols and with its guards written out.

What SymPy and z3 claim where both sides are defined is stated with each condition of being defined as a premise; what
they claim outright is stated together with these conditions. So nothing is assumed that the statement does not say.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from gradvar.symbolic.certify.reals import NoTerm, Reals
from gradvar.symbolic.read.decided import Decided, Joined


@dataclass(frozen=True)
class Certificate:
    """A decision's goal in Coq; empty where it has none, and ``obstacle`` says why."""

    goal: str
    judge: str
    obstacle: str = ""


def certificate(decided: Decided) -> Certificate:
    """Return the goal of a decision.

    >>> x = sp.Symbol("x", positive=True)
    >>> certificate(Decided(sp.Ge(x**2, 0, evaluate=False))).goal
    'forall v_x : R, 0 < v_x -> ((v_x ^ 2) >= 0)'
    """
    if decided.conclusion is None:
        return Certificate("", decided.judge, decided.obstacle)
    try:
        return Certificate(goal_text(decided), decided.judge)
    except NoTerm as error:
        return Certificate("", decided.judge, str(error))


def certificates_of(decided: Iterable[Decided]) -> tuple[Certificate, ...]:
    """Return the goals of decisions, each once."""
    return tuple(dict.fromkeys(map(certificate, decided)))


def digest(certificates: Iterable[Certificate]) -> str:
    """Return a short name of a set of goals; any other goal, or one more or less, has another."""
    lines = sorted(f"{c.goal}|{c.obstacle}" for c in certificates)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def goal_text(decided: Decided) -> str:
    """Return the goal's proposition. Raises ``NoTerm`` where it has none."""
    premises = [p for p in decided.premises if p != sp.true]
    everything = [*premises, decided.conclusion]
    reals = Reals(list(set().union(*(part.free_symbols for part in everything))))
    hypotheses = [*reals.assumptions(), *map(reals.proposition, premises)]
    conditions = list(dict.fromkeys(c for part in everything for c in reals.conditions(part)))
    concluded = reals.proposition(decided.conclusion)
    if decided.where_defined:
        if conditions and any(_settles(part) for part in everything):
            raise NoTerm("a part that need not be defined")
        hypotheses += conditions
    else:
        concluded = " /\\ ".join([*conditions, concluded])
    variables = [*reals.names.values(), *reals.logarithms.values()]
    opening = f"forall {' '.join(variables)} : R, " if variables else ""
    return opening + "".join(f"{hypothesis} -> " for hypothesis in hypotheses) + concluded


def _settles(part: Any) -> bool:
    """Whether one part of a Boolean can decide it while another is not defined."""
    return isinstance(part, (Joined, sp.Or, sp.And, sp.Implies, sp.ITE))
