"""An analysis of a user's objective on a terminal: regions put together, conditions made readable."""

import string
from collections.abc import Iterator, Sequence
from typing import Any

import sympy as sp

from gradvar.stats.sheet import Column, Sheet
from gradvar.symbolic.analyse.objective import Analysis, pair
from gradvar.symbolic.decide.regions import Region, relation
from gradvar.symbolic.decide.smt import smt_valid
from gradvar.symbolic.read.numbers import Undecided


def merged(regions: tuple[Region, ...]) -> list[tuple[list[str], list[sp.Expr]]]:
    """Put regions with one formula together: (alternatives, weights).

    There is one alternative where z3 shows that it is enough.
    """
    groups: dict[tuple[sp.Expr, ...], list[Region]] = {}
    for region in regions:
        groups.setdefault(tuple(pair(region)), []).append(region)
    rows = []
    for weights, members in groups.items():
        conditions = [[relation(d) for d in m.decisions] for m in members]
        alternatives = [_without_implied(c) for c in conditions]
        try:
            every = dict.fromkeys(d for m in members for d in m.decisions)
            shared = [
                d for d in every if all(smt_valid(c, relation(d), where_defined=True) for c in conditions)
            ]
            # Off the boundaries, which no region holds, what is shared must imply one of the members.
            inside = [sp.Ne(e, 0) for e in dict.fromkeys(e for m in members for e, _ in m.decisions)]
            if smt_valid(
                [*map(relation, shared), *inside],
                sp.Or(*[sp.And(*c) for c in conditions]),
                where_defined=True,
            ):
                alternatives = [_without_implied([relation(d) for d in shared])]
        except Undecided:
            pass
        rows.append(([", ".join(map(readable, a)) or "everywhere" for a in alternatives], list(weights)))
    return rows


def _without_implied(conditions: list[Any]) -> list[Any]:
    needed = list(conditions)
    for condition in reversed(conditions):
        rest = [c for c in needed if c is not condition]
        try:
            if smt_valid(rest, condition, where_defined=True):
                needed = rest
        except Undecided:
            continue
    return needed


def readable(condition: Any) -> str:
    """Write ``5*rho1 - 4 > 0`` as ``rho1 > 4/5`` and ``r1 - r2 < 0`` as ``r1 < r2``, where it is linear.

    >>> readable(5 * sp.Symbol("rho1") - 4 > 0)
    'rho1 > 4/5'
    """
    free = sorted(condition.free_symbols, key=str)
    e = condition.lhs - condition.rhs
    if free and e.is_polynomial(free[0]) and sp.degree(e, free[0]) == 1:
        slope = sp.diff(e, free[0])
        if slope.is_number:
            flip = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "="}
            sign = condition.rel_op if slope > 0 else flip[condition.rel_op]
            return f"{free[0]} {sign} {sp.factor(free[0] - e / slope)}"
    return str(condition)


def formula(analysis: Analysis) -> str:
    """Return the expected gradient on policy, with binary rewards, in one line."""
    start = f"{analysis.target}: on policy, binary rewards of rate p, the expected gradient is w(p) grad p"
    if not analysis.weights:
        without = start.replace("is w(p) grad p", "has no factor w(p) of p alone")
        return f"{without}; --verbose shows the tokens' weights"
    alike = len(set(analysis.weights.values())) == 1
    shown = list(analysis.weights.items())[: 1 if alike else None]
    words = [f"w(p) = {weight}{'' if alike else f' at G = {group}'}" for group, weight in shown]
    sizes = [str(group) for group in analysis.weights]
    return f"{start}, {'; '.join(words)}{f' at G = {sizes[0]} to {sizes[-1]}' if alike else ''}"


def render(analysis: Analysis, *, verbose: bool = False) -> Iterator[Any]:
    """Yield the analysis for a terminal: the formula on policy in one line, then laws, as tables and lines.

    ``verbose``: the tokens' weights in every region, too.
    """
    yield formula(analysis)
    for note in analysis.notes:
        yield f"note: {note}"
    if verbose:
        yield "Token weights at G = 2, one token each (rho: new over old probability, r: reward)"
        yield _sheet(
            ("region", "weight of rollout 1", "weight of rollout 2"),
            [
                (" or\n".join(alternatives), str(first), str(second))
                for alternatives, (first, second) in merged(analysis.regions)
            ],
        )
    # what was checked is the same for many laws: a letter in the table, and the words once below it
    letters = dict(
        zip(dict.fromkeys(law.note for law in analysis.laws), string.ascii_lowercase, strict=False)
    )
    laws = []
    for law in analysis.laws:
        values = law.counterexample or {}
        shown = ", ".join(f"{k} = {v}" for k, v in values.items())
        laws.append((law.name, law.verdict, shown, letters[law.note]))
    yield _sheet(("law", "verdict", "counterexample", "checked"), laws)
    for note, letter in letters.items():
        yield f"{letter}: {note}"


def _sheet(names: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Sheet:
    return Sheet(tuple(Column(name, words=True) for name in names), tuple(rows))
