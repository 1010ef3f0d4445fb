"""All regions of a piecewise function, with a proof that they are all.

A trace under a ``Witness`` gives one smooth formula and the decisions it rests on. ``explore`` turns each
decision around in turn, asks z3 for a point on the other side, and traces again, until no other side has a
point. What comes back is the whole function: one formula per open region, and the regions fill the space up
to their boundaries.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import sympy as sp

from gradvar.symbolic.decide.points import ordinary_value, samples
from gradvar.symbolic.decide.smt import find_point
from gradvar.symbolic.read.intervals import Lack
from gradvar.symbolic.read.numbers import Inconsistent, Vacuous
from gradvar.symbolic.read.trace import Witness, trace

Decision = tuple[sp.Expr, int]


@dataclass(frozen=True)
class Region:
    """One open region: its decisions (expression, sign), the function's formula there, and a point inside."""

    decisions: tuple[Decision, ...]
    value: Any
    point: dict[sp.Symbol, sp.Expr]

    @property
    def conditions(self) -> list[Any]:
        """The decisions as relations."""
        return [relation(d) for d in self.decisions]


def relation(decision: Decision) -> Any:
    """Return a decision as a SymPy relation."""
    expression, sign = decision
    return {1: sp.Gt, 0: sp.Eq, -1: sp.Lt}[sign](expression, 0)


def explore(fn: Callable[..., Any], *args: Any, where: Iterable[Any] = (), limit: int = 2000) -> list[Region]:
    """Return all open regions of ``fn`` at symbolic ``args``.

    Decisions must be algebraic (polynomials, quotients, square roots of the symbols): enter ratios as
    positive symbols (log-probabilities as their logarithms) when the function compares ratios. Boundaries,
    where a decision is an equality, are left out unless ``where`` forces them; so are points where a decision is
    undefined (a division by zero, a root of a negative number).

    Args:
        fn: a JAX function.
        args: its arguments, as for ``trace``.
        where: relations under which the regions are wanted.
        limit: the largest number of regions.

    Raises:
        ValueError: beyond ``limit`` regions; ``Vacuous`` if there is none, since no point fulfils ``where``.
        Inconsistent: if points are found in no region or in two; an error of this package.
    """
    hypotheses = list(where)
    free = _free_symbols(args)
    regions: list[Region] = []
    stack: list[tuple[Decision, ...]] = [()]
    while stack:
        prefix = stack.pop()
        point = find_point([*hypotheses, *map(relation, prefix)])
        if point is None:
            continue
        point = {symbol: point.get(symbol, ordinary_value(symbol)) for symbol in free}
        witness = Witness(point)
        value = trace(fn, *args, assume=witness)
        path = tuple(witness.signs.items())
        boundary, sides = _split_boundary(path, len(prefix), hypotheses)
        stack.extend(sides)
        # Up to the boundary (or the end) the decisions of this path stand; the other side of each is still to
        # be seen.
        for i in range(boundary - 1, len(prefix) - 1, -1):
            expression, sign = path[i]
            if sign:
                stack.append((*path[:i], (expression, -sign)))
        if not sides:
            regions.append(Region(path, value, point))
            if len(regions) > limit:
                raise ValueError(
                    f"limit: more than {limit} regions; assume more (where=), or use fewer tokens"
                )
    if not regions:
        raise Vacuous(f"where: no point fulfils {hypotheses}; no region proves nothing")
    _check_cover(regions, hypotheses)
    return regions


def _check_cover(regions: list[Region], hypotheses: list[Any]) -> None:
    """Look at points: each lies in a single region, or on boundaries."""
    decisions = list(dict.fromkeys(e for region in regions for e, _ in region.decisions))
    for sample in samples(decisions, hypotheses):
        signs = {e: sample.values.sign(e) for e in decisions}
        if any(isinstance(sign, Lack) for sign in signs.values()):
            continue
        inside = sum(all(signs[e] == sign for e, sign in region.decisions) for region in regions)
        closed = sum(all(signs[e] in (0, sign) for e, sign in region.decisions) for region in regions)
        if inside > 1 or not closed:
            raise Inconsistent(f"{sample.point} lies in {inside} of {len(regions)} regions")


def _split_boundary(
    path: tuple[Decision, ...], known: int, hypotheses: list[Any]
) -> tuple[int, list[tuple[Decision, ...]]]:
    """Find the first boundary on the path that is not forced, and the prefixes on both sides of it."""
    for i, (expression, sign) in enumerate(path):
        if sign == 0 and i >= known:
            sides = [(*path[:i], (expression, other)) for other in (1, -1)]
            open_sides = [
                side for side in sides if find_point([*hypotheses, *map(relation, side)]) is not None
            ]
            if open_sides:
                return i, open_sides
    return len(path), []


def _free_symbols(args: Any) -> list[sp.Symbol]:
    free: set[sp.Symbol] = set()
    for leaf in jax.tree.leaves(args):
        for value in np.asarray(leaf, object).flat:
            if isinstance(value, sp.Basic):
                free |= value.free_symbols
    return sorted(free, key=str)
