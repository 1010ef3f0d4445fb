"""A decision of the ledger as a goal for the kernel, closed over its symbols and with its guards written out.

What SymPy and z3 claim where both sides are defined is stated with each condition of being defined as a premise; what
they claim outright is stated together with these conditions. So nothing is assumed that the statement does not say.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from gradvar.symbolic.certify.letters import NoTerm
from gradvar.symbolic.certify.reals import LOGARITHM, Reals
from gradvar.symbolic.decide.points import samples
from gradvar.symbolic.read.decided import Decided, Joined


@dataclass(frozen=True)
class Certificate:
    """A decision's goal in Coq; empty where it has none, and ``obstacle`` says why.

    ``refutation`` is a further goal, of a decision that was rejected: at a point all is defined, its premises hold, and
    its conclusion does not. Empty where no such point is known.
    """

    goal: str
    judge: str
    obstacle: str = ""
    refutation: str = ""


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


def refuted_certificate(decided: Decided) -> Certificate:
    """Return the goal of a decision that was rejected, which nothing may close, with its refutation.

    >>> x = sp.Symbol("x", positive=True)
    >>> refuted_certificate(Decided(sp.Eq(x, 2 * x, evaluate=False), where_defined=True, holds=False)).refutation
    '(fun v_x : R => 0 < v_x /\\\\ (~ (v_x = (2 * v_x)))) (45 / 97)'
    """
    false = certificate(decided)
    return replace(false, refutation=_refutation(decided)) if false.goal else false


def _refutation(decided: Decided) -> str:
    premises = [p for p in decided.premises if p != sp.true]
    everything = [*premises, decided.conclusion]
    if any(_is_of_derivatives(part) for part in everything):  # nothing says where one is false
        return ""
    symbols = set().union(*(part.free_symbols for part in everything))
    point = _point_where_false(decided.conclusion, premises) if symbols else {}
    reals = Reals(list(symbols))
    conditions = dict.fromkeys(c for part in everything for c in reals.conditions(part))
    parts = [*reals.assumptions(), *map(reals.proposition, premises), *conditions]
    body = " /\\ ".join([*parts, f"(~ {reals.proposition(decided.conclusion)})"])
    if point is None or reals.letters.names:  # of a letter less is known than of what it stands for
        return ""
    if not symbols:
        return body
    values = " ".join(reals.term(point[symbol]) for symbol in reals.names)
    return f"(fun {' '.join(reals.names.values())} : R => {body}) {values}"


def _point_where_false(conclusion: Any, premises: Sequence[Any]) -> Mapping[sp.Symbol, sp.Rational] | None:
    """A point inside the premises at which a conclusion is false, among those that are looked at for proofs."""
    statement = _evaluated(conclusion)
    for sample in samples([statement], premises):
        if sample.values.truth(statement) is False:
            return sample.point
    return None


def _evaluated(part: Any) -> Any:
    """A Boolean of SymPy from one in which nothing was evaluated."""
    return part.kind(*map(_evaluated, part.parts)) if isinstance(part, Joined) else part


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
    shown = [*reals.letters.shown, *([] if decided.where_defined else conditions)]
    concluded = " /\\ ".join([*shown, concluded])
    hypotheses += reals.letters.premises()
    if any(name in hypothesis for name in reals.slopes.values() for hypothesis in hypotheses):
        raise NoTerm("a derivative in a premise")
    for slope, name in reversed(reals.slopes.items()):
        concluded = f"exists {name} : R, {slope} {name} /\\ {concluded}"
    variables = [*reals.names.values(), *reals.letters.names]
    opening = f"forall {' '.join(variables)} : R, " if variables else ""
    if reals.has_logarithm:
        opening += f"forall {LOGARITHM} : R -> R, is_logarithm {LOGARITHM} -> "
    return opening + "".join(f"{hypothesis} -> " for hypothesis in hypotheses) + concluded


def _is_of_derivatives(part: Any) -> bool:
    if isinstance(part, Joined):
        return any(map(_is_of_derivatives, part.parts))
    return bool(part.has(sp.Derivative))


def _settles(part: Any) -> bool:
    """Whether one part of a Boolean can decide it while another is not defined."""
    return isinstance(part, (Joined, sp.Or, sp.And, sp.Implies, sp.ITE))
