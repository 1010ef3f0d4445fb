"""What can be proved about a user's own objective: closed forms at G = 2, the expected gradient, the standard
laws."""

from __future__ import annotations

import importlib
import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, Objective
from gradvar.symbolic.claims.ledger import import_file
from gradvar.symbolic.decide.enumerate import SymbolicBandit
from gradvar.symbolic.decide.equality import vanishes
from gradvar.symbolic.decide.regions import Region, explore
from gradvar.symbolic.decide.smt import smt_valid
from gradvar.symbolic.group import engine, symbolic_group
from gradvar.symbolic.read.elementwise import Unreadable
from gradvar.symbolic.read.numbers import Undecided
from gradvar.symbolic.read.trace import symbols

LARGEST_GROUP = 4


@dataclass(frozen=True)
class ProvedLaw:
    """A standard identity: whether it holds for all on-policy inputs, a point where it fails, what was
    checked."""

    name: str
    statement: str
    holds: bool | None
    counterexample: dict[str, str] | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """proved, refuted, or undecided."""
        return "undecided" if self.holds is None else "proved" if self.holds else "refuted"


@dataclass(frozen=True)
class Analysis:
    """The analysis of one objective."""

    target: str
    regions: tuple[Region, ...]
    weights: dict[int, sp.Expr]
    laws: tuple[ProvedLaw, ...]
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
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
                    "name": l.name,
                    "statement": l.statement,
                    "verdict": l.verdict,
                    "counterexample": l.counterexample,
                    "note": l.note,
                }
                for l in self.laws
            ],
            "notes": list(self.notes),
        }

    def findings(self) -> list[str]:
        """Return what the analysis shows, in sentences."""
        refuted = [law for law in self.laws if law.verdict == "refuted"]
        one = len(self.laws) == 1
        count = f"{len(self.laws) - len(refuted)} of {len(self.laws)} {'law is' if one else 'laws are'}"
        return [
            f"{self.target}: {count} not refuted.",
            *(f"Refuted: {law.statement} {law.note}".strip() for law in refuted),
            *self.notes,
        ]


def load_objective(target: str) -> Objective:
    """The objective that ``path/to/file.py:name`` or ``module:name`` names.

    It may be an ``Estimator``, a function ``(logp, batch) -> scalar``, or an advantage ``(rewards, ...) ->
    advantages``, which is completed to the plain policy gradient with it. Raises ``ValueError`` where nothing
    of that kind is there.
    """
    place, _, name = target.rpartition(":")
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise ValueError(f"target: {place} does not exist; give path/to/file.py:function")
        module = import_file(Path(place))
    else:
        try:
            module = importlib.import_module(place)
        except ImportError as error:
            raise ValueError(
                f"target: the module {place} cannot be imported ({error}); give path/to/file.py:function or"
                " module:function"
            ) from error
    found = getattr(module, name, None)
    if found is None or not callable(found):
        raise ValueError(
            f"target: no function {name or repr(name)} in {place}; give path/to/file.py:function"
        )
    if isinstance(found, Estimator):
        return found.objective
    parameters = list(inspect.signature(found).parameters.values())
    if not parameters:
        made = found()
        if isinstance(made, Estimator):
            return made.objective
    if parameters and parameters[0].name == "rewards":
        from gradvar.core.compose import compose
        from gradvar.pieces import aggregate, surrogate

        return compose(
            advantage=found, surrogate=surrogate.likelihood, aggregate=aggregate.sequence_token_sum
        ).objective
    if len([p for p in parameters if p.default is p.empty]) != 2:
        raise ValueError(
            f"target: {name} takes {len(parameters)} arguments; an objective takes (logp, batch), an"
            " advantage (rewards)"
        )
    return found


def analyse(objective: Objective, target: str = "objective") -> Analysis:
    """Closed forms and laws of an objective, each law proved or refuted at a point. Raises ``ValueError`` if
    unreadable."""
    notes: list[str] = []
    try:
        regions = _regions(objective, notes)
        found = {g: prompt_weight_of(objective, g) for g in range(2, LARGEST_GROUP + 1)}
    except Unreadable as error:
        what = str(error).removeprefix("trace: ")
        raise ValueError(
            f"target: {target}: {what}; write that part with operations that it reads"
        ) from error
    weights = {g: w for g, w in found.items() if w is not None}
    laws = (*_algebraic(objective), _lengths(objective), _unbiased(objective), *_binary(weights))
    if weights:
        notes += _engine_note(objective, weights[2])
    else:
        notes.append("no w(p): on policy the weights depend on the log-probabilities themselves")
    return Analysis(target, tuple(regions), weights, laws, tuple(notes))


def _engine_note(objective: Objective, weight: sp.Expr) -> list[str]:
    """The second route: the exact engine's mean at p = 1/3, G = 2, against w(1/3) grad p."""
    p = sp.Symbol("p", positive=True)
    if not weight.free_symbols <= {p}:
        return ["the exact engine was not asked: w(p) depends on more than p"]
    bandit = SymbolicBandit(["1/3", "2/3"], [1, 0])
    mean = np.asarray(engine(Estimator("own", objective), bandit, 2).mean).reshape(-1)
    gap = max(
        abs(float(weight.subs(p, sp.Rational(1, 3)) * g) - m)
        for g, m in zip(bandit.gradient, mean, strict=True)
    )
    if gap > 1e-9:
        raise ValueError(
            f"target: the traced mean and the exact engine's differ by {gap:.1e}; is the objective pure?"
        )
    return [f"the exact engine agrees: at p = 1/3, G = 2 its mean is w(p) grad p to {max(gap, 1e-16):.0e}"]


def _regions(objective: Objective, notes: list[str]) -> list[Region]:
    fields: dict[str, Any] = _fields(2)
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


def _fields(group: int) -> dict[str, np.ndarray]:
    shape = (1, group, 1)
    return {
        "logp_ref": symbols("ref", shape),
        "logp_sampler": symbols("b", shape),
        "values": symbols("v", shape),
        "greedy_rewards": symbols("greedy", (1,)),
        "baseline": symbols("base", (1,)),
    }


def _on_policy_batch(rewards: Any, logp: Any) -> Batch:
    """Everything at the sampling policy: reference and sampler are it too; critic, greedy reward and baseline
    symbols."""
    from gradvar.symbolic.read.trace import symbolic_batch

    group = np.shape(logp)[1]
    fields = _fields(group) | {"logp_ref": logp, "logp_sampler": logp}
    return symbolic_batch(rewards, logp, **fields)


def prompt_weight_of(objective: Objective, group: int) -> sp.Expr | None:
    """w(p) with E[gradient] = w(p) grad p on policy, one token per rollout, binary rewards: all 2^G reward
    vectors.

    None where the weights depend on the log-probabilities themselves, on policy: then there is no such w.
    """
    from gradvar.symbolic.read.trace import trace

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
    """The two weights of a region, factored."""
    return [sp.factor(w) for w in region.value.reshape(-1)]


# --- laws
# ---------------------------------------------------------------------------------------------------------


def _gradient(objective: Objective, rewards: Any, side: dict[str, Any]) -> Any:
    """On-policy token weights [G] at rewards [G], in JAX; ``side`` are the arrays of ``_side``, any
    values."""
    batch = {name: side[name] for name in ("values", "greedy_rewards", "baseline")}
    logp = side["logp"]
    return jax.grad(objective)(
        logp, Batch(rewards[None], logp, logp_ref=logp, logp_sampler=logp, **batch)
    ).reshape(-1)


def _side(group: int) -> dict[str, np.ndarray]:
    """What a batch holds besides rewards, in symbols: the laws are to hold whatever it is."""
    fields = _fields(group)
    return {
        "logp": symbols("a", (1, group, 1)),
        **{k: fields[k] for k in ("values", "greedy_rewards", "baseline")},
    }


def _algebraic(objective: Objective) -> Iterator[ProvedLaw]:
    """Zero sum, shift and scale behaviour at G = 2 and 3, for all real rewards."""
    w = lambda r, side: _gradient(objective, r, side)  # noqa: E731
    c, k = sp.Symbol("c", real=True), sp.Symbol("k", positive=True)
    yield _law("zero_sum", "The weights of a group sum to zero.", lambda r, s: jnp.sum(w(r, s)))
    yield _law(
        "shift_invariant",
        "Adding c to all rewards changes no weight.",
        lambda r, s, c: w(r + c, s) - w(r, s),
        c,
    )
    yield _law(
        "scale_equivariant",
        "Multiplying all rewards by k > 0 multiplies the weights by k.",
        lambda r, s, k: w(k * r, s) - k * w(r, s),
        k,
    )
    yield _law(
        "scale_invariant",
        "Multiplying all rewards by k > 0 changes no weight.",
        lambda r, s, k: w(k * r, s) - w(r, s),
        k,
    )
    yield _law(
        "zero_on_equal_rewards",
        "A group whose rewards are all equal has weights of zero.",
        lambda r, s: w(r[:1] * jnp.ones(r.shape), s),
    )


def _lengths(objective: Objective) -> ProvedLaw:
    """Whether a token's weight depends on how long the rollouts are: 1 and 2 tokens against one token each.

    Where it does, as with a mean over a rollout's tokens, what holds for one token each need not hold for texts.
    """
    name, statement = "length_independent", "A token's weight does not depend on the lengths of the rollouts."

    def weights(rewards: Any, logp: Any, mask: Any, side: Any) -> Any:
        fields = {"greedy_rewards": side["greedy_rewards"], "baseline": side["baseline"]}
        values = jnp.broadcast_to(side["values"], logp.shape)
        batch = Batch(rewards[None], logp, mask, logp_ref=logp, logp_sampler=logp, values=values, **fields)
        return jax.grad(objective)(logp, batch)[0]

    def zero(rewards: Any, logp: Any, side: Any) -> Any:
        one = weights(rewards, logp[..., :1], np.ones((1, 2, 1), bool), side)
        two = weights(rewards, logp, np.asarray([[[True, False], [True, True]]]), side)
        return jnp.stack([two[0, 0] - one[0, 0], two[1, 0] - one[1, 0], two[1, 1] - one[1, 0]])

    try:
        point = _nonzero_point(zero, (symbols("r", (2,)), symbols("a", (1, 2, 2)), _side(2)))
    except (Undecided, Unreadable, TypeError, ValueError) as error:
        return ProvedLaw(name, statement, None, note=str(error).splitlines()[0])
    note = "G = 2, rollouts of 1 and 2 tokens against one token each, on policy"
    if point is None:
        return ProvedLaw(name, statement, True, note=note)
    where = {str(s): str(v) for s, v in sorted(point.items(), key=lambda item: str(item[0]))}
    warning = "; what is said below for one token need not hold for rollouts of unequal length"
    return ProvedLaw(name, statement, False, where, note=note + warning)


def _law(name: str, statement: str, zero: Callable[..., Any], *extra: sp.Symbol) -> ProvedLaw:
    """A law as a function that should vanish everywhere; G = 2, then G = 3."""
    note = "all real rewards, off the boundaries of the regions; G = 2 and 3"
    for group in (2, 3):
        rewards = symbols("r", (group,))
        try:
            point = _nonzero_point(zero, (rewards, _side(group), *extra))
        except (Undecided, Unreadable, TypeError) as error:
            return ProvedLaw(name, statement, None, note=f"G = {group}: {str(error).splitlines()[0]}")
        if point is not None:
            where = {str(s): str(v) for s, v in sorted(point.items(), key=lambda item: str(item[0]))}
            return ProvedLaw(name, statement, False, where, note=f"G = {group}; JAX in float64 agrees")
    return ProvedLaw(name, statement, True, note=note)


def _nonzero_point(zero: Callable[..., Any], args: tuple[Any, ...]) -> dict[sp.Symbol, sp.Expr] | None:
    """A point where the function is not zero, confirmed in floats; None if it is proved to vanish in every
    region.

    The point names the symbols that matter; the others may have any value (and are one).
    """
    for region in explore(zero, *args):
        for value in np.asarray(region.value, object).reshape(-1):
            if vanishes(value):
                continue
            point = dict(region.point)
            if sp.simplify(value.subs(point)) == 0:
                answer = smt_valid(region.conditions, sp.Eq(value, 0), total=True)
                if answer:
                    continue
                if answer.point is None:
                    raise Undecided(f"{value} is not zero in its region, but no rational point was found")
                point |= answer.point
            if not _confirmed(zero, args, point):
                raise Undecided(f"at {point} the formula is not zero and JAX's float64 is")
            matter = value.free_symbols.union(*(e.free_symbols for e, _ in region.decisions))
            return {symbol: x for symbol, x in point.items() if symbol in matter}
    return None


def _confirmed(zero: Callable[..., Any], args: tuple[Any, ...], point: dict[sp.Symbol, sp.Expr]) -> bool:
    with jax.enable_x64(True):
        full = point | dict.fromkeys(_symbols_of(args) - point.keys(), sp.Integer(1))
        number = np.vectorize(lambda e: float(sp.sympify(e).subs(full)), otypes=[float])
        floats = jax.tree.map(lambda leaf: jnp.asarray(number(np.asarray(leaf, object))), args)
        return float(jnp.max(jnp.abs(zero(*floats)))) > 1e-12


def _symbols_of(args: Any) -> set[sp.Symbol]:
    values = [v for leaf in jax.tree.leaves(args) for v in np.asarray(leaf, object).flat]
    return set().union(*(v.free_symbols for v in values))


def _unbiased(objective: Objective) -> ProvedLaw:
    """Unbiased for every reward law at G = 2.

    E[w_1 s_1 + w_2 s_2] = E[s h(r)], h(r) the mean over r' of W(r, r') = w_1(r, r') + w_2(r', r). It is grad
    J for every policy and law iff W(r, x) - W(q, x) = r - q for all r, q, x, ties of x with r or q included.
    """
    name, statement = "unbiased", "The expected gradient is grad J, for any real rewards (G = 2)."

    def total(r: Any, x: Any, side: Any) -> Any:
        return (
            _gradient(objective, jnp.stack([r, x]), side)[0]
            + _gradient(objective, jnp.stack([x, r]), side)[1]
        )

    r, q, x = sp.symbols("r q x", real=True)
    side = _side(2) | {"logp": np.full((1, 2, 1), sp.Symbol("a", real=True), object)}
    cases: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "three levels": (lambda r, q, x, s: total(r, x, s) - total(q, x, s) - (r - q), (r, q, x, side)),
        "a tie with one of them": (lambda r, q, s: total(r, q, s) - total(q, q, s) - (r - q), (r, q, side)),
    }
    for label, (zero, args) in cases.items():
        try:
            point = _nonzero_point(zero, args)
        except (Undecided, Unreadable, TypeError) as error:
            return ProvedLaw(name, statement, None, note=str(error).splitlines()[0])
        if point is not None:
            where = {str(s): str(v) for s, v in sorted(point.items(), key=lambda item: str(item[0]))}
            return ProvedLaw(
                name,
                statement,
                False,
                where,
                note=f"W(r, x) - W(q, x) is not r - q, {label}; JAX in float64 agrees",
            )
    return ProvedLaw(name, statement, True, note="one token per rollout, on policy; rewards of any law")


def _binary(weights: dict[int, sp.Expr]) -> Iterator[ProvedLaw]:
    """What the prompt weights w(p) say, for binary rewards, at each G."""
    p = sp.Symbol("p", positive=True)
    one, tenth = sp.Rational(1, 2), sp.Rational(1, 10)
    known = {g: w for g, w in weights.items() if w.free_symbols <= {p}}
    note = "binary rewards, one token, on policy; G = " + ", ".join(map(str, known))
    off = next((g for g, w in known.items() if not vanishes(w - 1)), None)
    where = None if off is None else {"G": str(off), "p": "1/2", "w(p)": _short(known[off].subs(p, one))}
    yield ProvedLaw(
        "unbiased_binary",
        "w(p) = 1: the expected gradient is grad p.",
        None if not known else off is None,
        where,
        note,
    )
    bent = next((g for g, w in known.items() if not vanishes(sp.diff(w, p))), None)
    values = None
    if bent is not None:
        w = known[bent]
        values = {"G": str(bent), "w(1/2)": _short(w.subs(p, one)), "w(1/10)": _short(w.subs(p, tenth))}
    yield ProvedLaw(
        "unbiased_up_to_constant",
        "w(p) does not depend on p: right up to a factor, on all prompts.",
        None if not known else bent is None,
        values,
        note,
    )
    yield ProvedLaw(
        "direction_biased_across_prompts",
        "w(p) depends on p: prompts of different difficulty are weighed differently, the direction of grad "
        "J is lost.",
        None if not known else bent is not None,
        None if bent is not None or not known else {"w(p)": _short(next(iter(known.values())))},
        note if values is None else f"{note}; {', '.join(f'{k} = {v}' for k, v in values.items())}",
    )


def _short(value: sp.Expr) -> str:
    """An exact number as text, with its decimal value where the exact form is long."""
    exact = str(sp.nsimplify(sp.simplify(value)))
    return exact if len(exact) <= 24 else f"about {sp.N(value, 8)}"
