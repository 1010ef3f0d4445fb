"""The standard laws of an objective, each proved or refuted at a point: zero sum, shift, scale, length, bias."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from gradvar.core.batch import Batch
from gradvar.core.estimator import Objective
from gradvar.symbolic.decide.equality import vanishes
from gradvar.symbolic.decide.regions import explore
from gradvar.symbolic.decide.smt import smt_valid
from gradvar.symbolic.read.elementwise import Unreadable
from gradvar.symbolic.read.numbers import Undecided
from gradvar.symbolic.read.trace import symbols


@dataclass(frozen=True)
class ProvedLaw:
    """A standard identity: does it hold for all on-policy inputs, a point where it fails, and what was checked."""

    name: str
    statement: str
    holds: bool | None
    counterexample: dict[str, str] | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Return proved, refuted, or undecided."""
        return "undecided" if self.holds is None else "proved" if self.holds else "refuted"


def free_fields(group: int) -> dict[str, np.ndarray]:
    """Return the optional fields of a batch of one prompt, one token per rollout, as free symbols."""
    shape = (1, group, 1)  # [prompt, group, time]
    return {
        "logp_ref": symbols("ref", shape),
        "logp_sampler": symbols("b", shape),
        "values": symbols("v", shape),
        "greedy_rewards": symbols("greedy", (1,)),
        "baseline": symbols("base", (1,)),
    }


def _gradient(objective: Objective, rewards: Any, fields: dict[str, Any]) -> Any:
    """Return on-policy token weights [G] at rewards [G], in JAX; ``fields`` as ``_other_fields`` names them."""
    batch = {name: fields[name] for name in ("values", "greedy_rewards", "baseline")}
    logp = fields["logp"]
    return jax.grad(objective)(
        logp, Batch(rewards[None], logp, logp_ref=logp, logp_sampler=logp, **batch)
    ).reshape(-1)


def _other_fields(group: int) -> dict[str, np.ndarray]:
    """Return the rest of a batch in symbols: the laws are to hold whatever it is."""
    fields = free_fields(group)
    return {
        "logp": symbols("a", (1, group, 1)),
        **{name: fields[name] for name in ("values", "greedy_rewards", "baseline")},
    }


def algebraic_laws(objective: Objective) -> Iterator[ProvedLaw]:
    """Zero sum, shift and scale behaviour at G = 2 and 3, for all real rewards."""
    w = lambda r, fields: _gradient(objective, r, fields)  # noqa: E731
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


def length_law(objective: Objective) -> ProvedLaw:
    """Decide if a token's weight depends on the lengths of the rollouts: 1 and 2 tokens against one token each.

    Where it does, as with a mean over a rollout's tokens, what holds for one token each need not hold for texts.
    """
    name, statement = "length_independent", "A token's weight does not depend on the lengths of the rollouts."

    def weights(rewards: Any, logp: Any, mask: Any, fields: Any) -> Any:
        rest = {"greedy_rewards": fields["greedy_rewards"], "baseline": fields["baseline"]}
        values = jnp.broadcast_to(fields["values"], logp.shape)
        batch = Batch(rewards[None], logp, mask, logp_ref=logp, logp_sampler=logp, values=values, **rest)
        return jax.grad(objective)(logp, batch)[0]

    def zero(rewards: Any, logp: Any, fields: Any) -> Any:
        short = weights(rewards, logp[..., :1], np.ones((1, 2, 1), bool), fields)
        long = weights(rewards, logp, np.asarray([[[True, False], [True, True]]]), fields)
        return jnp.stack([long[0, 0] - short[0, 0], long[1, 0] - short[1, 0], long[1, 1] - short[1, 0]])

    try:
        point = _nonzero_point(zero, (symbols("r", (2,)), symbols("a", (1, 2, 2)), _other_fields(2)))
    except (Undecided, Unreadable, TypeError, ValueError) as error:
        return ProvedLaw(name, statement, None, note=str(error).splitlines()[0])
    note = "G = 2, rollouts of 1 and 2 tokens against one token each, on policy"
    if point is None:
        return ProvedLaw(name, statement, True, note=note)
    where = _as_text(point)
    warning = "; what is said below for one token need not hold for rollouts of unequal length"
    return ProvedLaw(name, statement, False, where, note=note + warning)


def _law(name: str, statement: str, zero: Callable[..., Any], *extra: sp.Symbol) -> ProvedLaw:
    """Decide a law given as a function that should vanish everywhere; G = 2, then G = 3."""
    note = "all real rewards, off the boundaries of the regions; G = 2 and 3"
    for group in (2, 3):
        rewards = symbols("r", (group,))
        try:
            point = _nonzero_point(zero, (rewards, _other_fields(group), *extra))
        except (Undecided, Unreadable, TypeError) as error:
            return ProvedLaw(name, statement, None, note=f"G = {group}: {str(error).splitlines()[0]}")
        if point is not None:
            where = _as_text(point)
            return ProvedLaw(name, statement, False, where, note=f"G = {group}; JAX in float64 agrees")
    return ProvedLaw(name, statement, True, note=note)


def _nonzero_point(zero: Callable[..., Any], args: tuple[Any, ...]) -> dict[sp.Symbol, sp.Expr] | None:
    """Return a point where the function is not zero, confirmed in floats; None if it is proved to vanish.

    The point names the symbols that matter; the others may have any value (and are one).
    """
    for region in explore(zero, *args):
        for value in np.asarray(region.value, object).reshape(-1):
            if vanishes(value):
                continue
            point = dict(region.point)
            if sp.simplify(value.subs(point)) == 0:
                answer = smt_valid(region.conditions, sp.Eq(value, 0), where_defined=True)
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


def _as_text(point: dict[sp.Symbol, sp.Expr]) -> dict[str, str]:
    return {str(symbol): str(value) for symbol, value in sorted(point.items(), key=lambda item: str(item[0]))}


def _confirmed(zero: Callable[..., Any], args: tuple[Any, ...], point: dict[sp.Symbol, sp.Expr]) -> bool:
    with jax.enable_x64(True):
        full = point | dict.fromkeys(_symbols_of(args) - point.keys(), sp.Integer(1))
        number = np.vectorize(lambda e: float(sp.sympify(e).subs(full)), otypes=[float])
        floats = jax.tree.map(lambda leaf: jnp.asarray(number(np.asarray(leaf, object))), args)
        return float(jnp.max(jnp.abs(zero(*floats)))) > 1e-12


def _symbols_of(args: Any) -> set[sp.Symbol]:
    values = [v for leaf in jax.tree.leaves(args) for v in np.asarray(leaf, object).flat]
    return set().union(*(v.free_symbols for v in values))


def bias_law(objective: Objective) -> ProvedLaw:
    """Decide if the gradient is unbiased for every law of the rewards, at G = 2.

    E[w_1 s_1 + w_2 s_2] = E[s h(r)], h(r) the mean over r' of W(r, r') = w_1(r, r') + w_2(r', r). It is grad
    J for every policy and law iff W(r, x) - W(q, x) = r - q for all r, q, x, ties of x with r or q included.
    """
    name, statement = "unbiased", "The expected gradient is grad J, for any real rewards (G = 2)."

    def total(r: Any, x: Any, fields: Any) -> Any:
        return (
            _gradient(objective, jnp.stack([r, x]), fields)[0]
            + _gradient(objective, jnp.stack([x, r]), fields)[1]
        )

    r, q, x = sp.symbols("r q x", real=True)
    fields = _other_fields(2) | {"logp": np.full((1, 2, 1), sp.Symbol("a", real=True), object)}
    cases: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "three levels": (lambda r, q, x, s: total(r, x, s) - total(q, x, s) - (r - q), (r, q, x, fields)),
        "a tie with one of them": (lambda r, q, s: total(r, q, s) - total(q, q, s) - (r - q), (r, q, fields)),
    }
    for label, (zero, args) in cases.items():
        try:
            point = _nonzero_point(zero, args)
        except (Undecided, Unreadable, TypeError) as error:
            return ProvedLaw(name, statement, None, note=str(error).splitlines()[0])
        if point is not None:
            where = _as_text(point)
            return ProvedLaw(
                name,
                statement,
                False,
                where,
                note=f"W(r, x) - W(q, x) is not r - q, {label}; JAX in float64 agrees",
            )
    return ProvedLaw(name, statement, True, note="one token per rollout, on policy; rewards of any law")


def binary_laws(weights: dict[int, sp.Expr]) -> Iterator[ProvedLaw]:
    """Read laws for binary rewards off the prompt weights w(p) at each G."""
    p = sp.Symbol("p", positive=True)
    half, tenth = sp.Rational(1, 2), sp.Rational(1, 10)
    known = {g: w for g, w in weights.items() if w.free_symbols <= {p}}
    note = "binary rewards, one token, on policy; G = " + ", ".join(map(str, known))
    off = next((g for g, w in known.items() if not vanishes(w - 1)), None)
    where = None if off is None else {"G": str(off), "p": "1/2", "w(p)": _short(known[off].subs(p, half))}
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
        values = {"G": str(bent), "w(1/2)": _short(w.subs(p, half)), "w(1/10)": _short(w.subs(p, tenth))}
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
    """Return an exact number as text, or its decimal value where the exact form is long."""
    text = str(sp.nsimplify(sp.simplify(value)))
    return text if len(text) <= 24 else f"about {sp.N(value, 8)}"
