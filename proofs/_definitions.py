"""Definitions: the token weights of a shipped estimator as one formula in named sums, at every group size.

A definition's claim is that the code that ``catalogue.get(name)`` returns, with its default settings, gives every token
the weight of its paper's equation. It is read as a formula at every G up to 33 and at 64 and 128, on two prompts of
other composition, then on rollouts of unequal length, and run as users run it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

R = sp.Rational
SIZES = (*range(2, 34), 64, 128)
FEWER_SIZES = (2, 3, 4, 5, 7, 8, 9, 16, 33)  # of a piece alone
DIGITS = 60  # where formulas are too long for exact numbers; they are then compared within a tolerance
LONG_SIZES = (2, 3, 5, 8)  # with rollouts of one and two tokens
LEVELS = {"real": (R(0), R(1), R(5, 2)), "unit": (R(0), R(1), R(1, 2)), "binary": (R(0), R(1))}
# On both sides of 1, and close to the bounds of every catalogued clip.
RATIOS = (
    *(R(1), R(1, 2), R(9, 10), R(11, 10), R(3, 2), R(6), R(5001, 5000), R(5, 4), R(3, 4)),
    *(R(2001, 2000), R(7997, 8000), R(4, 3), R(5, 3), R(3, 5), R(2, 5), R(4), R(7, 3)),
)

w = sp.Symbol("w", real=True)
Q, G, n, N, S1, S2 = sp.symbols("Q G n N S1 S2", positive=True)
r, rho, lead = sp.symbols("r rho c", real=True)
BASIC = {
    Q: ("Q", "the number of prompts"),
    G: ("G", "the group size"),
    n: ("|o_i|", "the number of tokens of its rollout"),
    N: ("N", "the number of tokens in the batch"),
    r: ("r_i", "the reward of its rollout"),
    rho: (r"\rho", "its ratio of new to old probability"),
    S1: ("S_1", "the sum of the group's rewards"),
    S2: ("S_2", "the sum of their squares"),
}
mean = S1 / G
variance = S2 / G - mean**2  # the population's


@dataclass(frozen=True)
class Scene:
    """Two prompts of G rollouts: rewards of two or three levels, ratios on both sides of the clips, 1 to T tokens.

    A scene of more prompts overrides ``rewards``.
    """

    size: int
    longest: int = 1
    levels: Sequence[Any] = LEVELS["real"]
    digits: int = 0  # of decimal numbers in place of exact ones

    def number(self, value: Any) -> sp.Expr:
        """The number, exact or with the scene's digits."""
        return sp.Float(value, self.digits) if self.digits else value

    @cached_property
    def rewards(self) -> np.ndarray:
        """[prompt, group]: not the same in two prompts, nor in the order of two rollouts."""
        levels = [self.number(level) for level in self.levels]
        rows = [[levels[(5 * i + i // 3 + q) % len(levels)] for i in range(self.size)] for q in (0, 1)]
        return np.asarray(rows, object)

    @cached_property
    def correct(self) -> np.ndarray:
        """[prompt, group]: True for a reward above the middle of its group's range."""
        middles = [min(row) + max(row) for row in self.rewards]
        return np.array(
            [[bool(2 * x > m) for x in row] for row, m in zip(self.rewards, middles, strict=True)]
        )

    @cached_property
    def lengths(self) -> np.ndarray:
        """[prompt, group]."""
        prompts = range(len(self.rewards))
        return np.asarray([[1 + (i + q) % self.longest for i in range(self.size)] for q in prompts])

    @cached_property
    def mask(self) -> np.ndarray:
        """[prompt, group, time]."""
        return np.arange(self.longest) < self.lengths[..., None]

    @cached_property
    def rho(self) -> np.ndarray:
        """[prompt, group, time]; in a scene of single tokens four of the ratios, others at the next size."""
        prompt, rollout, token = np.indices(self.mask.shape)
        place = 3 * rollout + 2 * token + prompt + rollout // 4
        every = np.asarray([self.number(ratio) for ratio in RATIOS], object)
        return every[(place if self.longest > 1 else 4 * self.size + place % 4) % len(RATIOS)]

    def batch(self, **fields: Any) -> tuple[np.ndarray, Any]:
        """New log-probabilities and the batch; the old ones are zero."""
        new = np.frompyfunc(sp.log, 1, 1)(self.rho)
        old = np.full(new.shape, sp.Integer(0), object)
        return new, sy.symbolic_batch(self.rewards, old, self.mask, **fields)

    @cached_property
    def sums(self) -> list[tuple[sp.Expr, sp.Expr]]:
        """Of each prompt's rewards and of their squares."""
        return [(sp.Add(*row), sp.Add(*[x * x for x in row])) for row in self.rewards]

    def basic(self, q: int, i: int, t: int) -> dict[sp.Symbol, Any]:
        """The quantities that most formulas are in, of one token."""
        return {
            Q: sp.Integer(len(self.rewards)),
            G: sp.Integer(self.size),
            n: sp.Integer(int(self.lengths[q, i])),
            N: sp.Integer(int(self.lengths.sum())),
            r: self.rewards[q, i],
            rho: self.rho[q, i, t],
            S1: self.sums[q][0],
            S2: self.sums[q][1],
        }


@dataclass(frozen=True)
class Definition:
    """What one estimator is meant to be.

    Args:
        name: in the catalogue.
        formula: a token's weight, in ``BASIC`` and ``quantities``.
        quantities: further symbols: LaTeX, meaning, and their value as a function of (scene, q, i, t).
        fields: further fields of the batch, as a function of the scene.
        levels: of rewards: ``real``, those in the ``unit`` interval, or ``binary``.
        tolerance: where the formulas are too long for exact numbers, or the code's constants are floats: numbers of
            many digits are compared, and this is how far the two sides may be apart.
        settings: of the estimator, where they are not the defaults.
        composed: an estimator made of pieces, as a function of the scene, in place of the catalogue's.
    """

    name: str
    formula: Any
    quantities: Mapping[sp.Symbol, tuple[str, str, Callable[[Scene, int, int, int], Any]]] = field(
        default_factory=dict
    )
    fields: Callable[[Scene], dict[str, Any]] = lambda _: {}
    levels: str = "real"
    tolerance: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    composed: Callable[[Scene], Any] | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The group sizes at which it is read."""
        return FEWER_SIZES if self.composed else SIZES

    @property
    def setting(self) -> str:
        """What is defined, in words."""
        settings = ", ".join(f"{name} = {value}" for name, value in self.settings.items())
        place = "among plain other pieces" if self.composed else "as catalogued"
        return f"`{self.name}` {place}, with {settings or 'its default settings'}"

    def estimator(self, scene: Scene) -> Any:
        """The estimator that is traced and run."""
        return self.composed(scene) if self.composed else catalogue.get(self.name, **self.settings)

    def scene(self, size: int, longest: int = 1) -> Scene:
        """The scene of this size."""
        return Scene(size, longest, LEVELS[self.levels], DIGITS if self.tolerance else 0)

    def entries(self, scene: Scene, weights: np.ndarray) -> Iterator[dict[sp.Symbol, Any]]:
        """The weight and the formula's quantities of every token; tokens of the same values count once."""
        used = self.formula.free_symbols
        seen = set()
        for q, i, t in zip(*np.nonzero(scene.mask), strict=True):
            values = {w: weights[q, i, t]} | scene.basic(q, i, t)
            values |= {symbol: value(scene, q, i, t) for symbol, (_, _, value) in self.quantities.items()}
            entry = {symbol: value for symbol, value in values.items() if symbol is w or symbol in used}
            if (key := tuple(map(sp.sympify, entry.values()))) not in seen:
                seen.add(key)
                yield entry


def reference(scene: Scene, q: int, i: int) -> sp.Expr:
    """The log-probability of a rollout's tokens in the reference policy, as a rational."""
    return R((i + 2 * q) % 3 - 1, 2)


def references(scene: Scene) -> dict[str, Any]:
    """The same as a field of the batch."""
    prompts, group, time = scene.mask.shape
    return {"logp_ref": [[[reference(scene, q, i)] * time for i in range(group)] for q in range(prompts)]}


def above_clip(advantage: Any, low: Any, high: Any) -> Any:
    """The slope of PPO's clipped surrogate by the log-probability, per unit of advantage: the ratio, or zero."""
    open_token = sp.Or(sp.And(advantage >= 0, rho < 1 + high), sp.And(advantage < 0, rho > 1 - low))
    return sp.Piecewise((rho, open_token), (0, True))


def sign_of_digits(value: sp.Expr) -> int:
    """The sign of a decimal number; what cancels down to its last digits is zero."""
    return 0 if abs(value) < sp.Float(10, DIGITS) ** (10 - DIGITS) else 1 if value > 0 else -1


def _about_code(source: sy.Source) -> sy.Source:
    """A source states an objective, and nothing about this code: that the code has its weights follows from it.

    Of a source without a place the text was not at hand, so nothing is said about it.
    """
    if source.relation == "states" and not source.place:
        return sy.Source(source.arxiv, source.version, "the objective", "not read")
    if source.relation != "states":
        return source
    caveat = source.caveat or "it states an objective; the default settings of the code are this package's"
    return replace(source, relation="implies", caveat=caveat)


def _require_no_weight(padding: np.ndarray, statement: str) -> None:
    """Decide that all of these weights are zero, decimal numbers as the rational ones that they are."""
    if padding.size:
        exact = [sp.sympify(weight).replace(lambda part: part.is_Float, sp.Rational) for weight in padding]
        sy.equal(exact, 0, statement)


def define(identifier: str, definition: Definition, title: str, source: sy.Source, equation: str) -> sy.Claim:
    """Make the claim that the shipped estimator is its definition, with its three steps and their sabotages."""
    used = definition.formula.free_symbols
    accuracy = f", compared within {definition.tolerance:.0e}" if definition.tolerance else ""
    written = {s: sy.Quantity(*words) for s, words in BASIC.items() if s in used}
    written |= {s: sy.Quantity(latex, words) for s, (latex, words, _) in definition.quantities.items()}
    quantities = {
        w: sy.Quantity("w", "a token's weight, the derivative of the objective by its log-probability")
    }
    claim = sy.Claim(
        id=identifier,
        title=title,
        statement=sy.Statement(
            setting=definition.setting,
            forall={"G": sy.one_of(*definition.sizes)},
            quantities=quantities | written,
            goals={
                "weight": sp.Eq(w, definition.formula, evaluate=False)
            },  # which would take half a second for all
        ),
        source=_about_code(source),
        verdict="proved",
        scope=(
            f"two prompts with {'binary rewards' if definition.levels == 'binary' else 'three levels of reward'}, ratios on "
            f"both sides of every clip{accuracy}; rollouts of one and two tokens at G = {', '.join(map(str, LONG_SIZES))}"
        ),
        proof=(
            f"{equation} Its derivative by a token's log-probability is the formula. The derivative of the shipped code is "
            "read as a formula at every group size of the list, with exact rewards and ratios, and is the same number "
            "for every token. Compiled and run in floats on rollouts of unequal length, the code gives it as well."
        ),
    )
    goal = claim.goal("weight")

    def decide(size: int, longest: int, change: Mapping[sp.Symbol, Any]) -> None:
        scene = definition.scene(size, longest)
        arguments = scene.batch(**definition.fields(scene))
        weights = sy.trace(
            sy.gradient(definition.estimator(scene)),
            *arguments,
            assume=sign_of_digits if scene.digits else None,
        )
        _require_no_weight(weights[~scene.mask], f"padding has weight zero at G = {size}")
        for entry in definition.entries(scene, weights):
            changed = {**entry, **{s: f(entry[s]) for s, f in change.items()}}
            goal.holds(changed, at={"G": size}, tolerance=definition.tolerance)

    @claim.step("Every group size", route="traced code", shows="one token each")
    def every_size(change: Mapping[sp.Symbol, Any] = {}, sizes: Sequence[int] = definition.sizes) -> None:
        for size in sizes:
            decide(size, 1, change)

    @claim.step("Rollouts of unequal length", route="traced code", shows="one and two tokens, masked beyond")
    def unequal(change: Mapping[sp.Symbol, Any] = {}) -> None:
        for size in LONG_SIZES:
            decide(size, 2, change)

    @claim.step("As it runs", route="executed code", shows="compiled, in floats, G = 5")
    def run() -> None:
        scene = definition.scene(5, 2)
        weights = sy.executed_weights(definition.estimator(scene), *scene.batch(**definition.fields(scene)))
        for entry in definition.entries(scene, weights):
            goal.holds(entry, at={"G": 5}, tolerance=1e-12)

    for symbol in sorted(used, key=str):
        change = {symbol: (lambda value: 10 * value) if symbol is rho else (lambda value: value + R(1, 7))}
        claim.sabotage(f"{written[symbol].meaning}, changed", unequal, change=change)
    return claim
