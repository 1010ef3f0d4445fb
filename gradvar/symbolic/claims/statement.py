r"""The formal statement of a claim: variables with their domains, named quantities, hypotheses, conclusions.

A statement is data. Its LaTeX is printed from it, and so is what has to be shown: every conclusion ("goal") is an
obligation, which steps discharge by handing over the values of its quantities (see ``goal.py``).

    G, w = sp.Symbol("G", integer=True, positive=True), sp.Symbol("w", real=True)
    sy.Statement(
        setting="One prompt, binary rewards, on policy",
        forall={G: sy.whole(2)},
        quantities={w: sy.Quantity(r"w_G", r"the factor of $\nabla p$ in the mean update of leave-one-out")},
        goals={"unbiased": sp.Eq(w, 1)},
    )
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import sympy as sp

Variable: TypeAlias = sp.Symbol | str
StatedBy = Literal["source", "ours", "cited"]
_LONGEST_RUN = 6  # of whole numbers that are written one by one


@dataclass(frozen=True)
class Domain:
    """The values of a variable: its LaTeX (``{}`` for the variable), a test, relations, finite values.

    ``whole`` is true where only whole numbers belong to it.
    """

    latex: str
    contains: Callable[[Any], bool]
    relations: Callable[[sp.Symbol], tuple[Any, ...]] = lambda _: ()
    values: tuple[Any, ...] = ()
    whole: bool = False

    def admits(self, value: Any) -> bool:
        """Return True if a number, name or expression is in it, as far as the relations do not decide that.

        >>> whole(2).admits(sp.Rational(5, 2)), whole(2).admits(sp.Symbol("n", integer=True))
        (False, True)
        """
        if isinstance(value, str) or sp.sympify(value).is_number:
            return self.contains(value)
        bounded = not self.values or self.whole
        return bounded and (not self.whole or bool(sp.sympify(value).is_integer))


def whole(low: int, high: int | None = None) -> Domain:
    """Return the whole numbers from ``low`` on, or those up to ``high``.

    >>> whole(2).contains(1), whole(2, 12).values[-1]
    (False, 12)
    """
    above = f"{{}} \\ge {low}" if high is None else f"{low} \\le {{}} \\le {high}"

    def contains(value: Any) -> bool:
        number = sp.sympify(value)
        return bool(number.is_integer and number >= low and (high is None or number <= high))

    def relations(symbol: sp.Symbol) -> tuple[Any, ...]:
        # As it stands: SymPy knows that a positive integer is at least one, and z3's reals do not.
        lowest = sp.Ge(symbol, low, evaluate=False)
        return (lowest,) if high is None else (lowest, symbol <= high)

    return Domain(above, contains, relations, () if high is None else tuple(range(low, high + 1)), whole=True)


def between(low: Any, high: Any, *, closed: bool = False) -> Domain:
    """Return the real numbers between two bounds, which belong to them only if ``closed``.

    >>> between(0, 1).contains(1), between(0, 1, closed=True).contains(1)
    (False, True)
    """
    low, high = sp.sympify(low), sp.sympify(high)
    sign = r"\le" if closed else "<"

    def relations(symbol: Any) -> tuple[Any, ...]:
        return (symbol >= low, symbol <= high) if closed else (symbol > low, symbol < high)

    return Domain(
        f"{sp.latex(low)} {sign} {{}} {sign} {sp.latex(high)}",
        lambda value: all(relation == sp.true for relation in relations(sp.sympify(value))),
        relations,
    )


def above(low: Any, *, closed: bool = False) -> Domain:
    """Return the real numbers above a bound, the bound among them if ``closed``."""
    low = sp.sympify(low)

    def relations(symbol: Any) -> tuple[Any, ...]:
        return (symbol >= low,) if closed else (symbol > low,)

    sign = r"\ge" if closed else ">"
    return Domain(
        f"{{}} {sign} {sp.latex(low)}",
        lambda value: relations(sp.sympify(value))[0] == sp.true,
        relations,
    )


def real() -> Domain:
    """Return all real numbers."""
    return Domain(r"{} \in \mathbb{R}", lambda value: bool(sp.sympify(value).is_real))


def one_of(*values: Any) -> Domain:
    """Return finitely many values: numbers, or the names of cases such as ``"token mean"``.

    Raises ``ValueError`` when there is none.
    """
    if not values:
        raise ValueError("values: none given; give the values that the variable takes")
    written = [rf"\text{{{v}}}" if isinstance(v, str) else sp.latex(sp.sympify(v)) for v in values]
    run = (
        next((i for i, value in enumerate(values) if value != values[0] + i), len(values))
        if _whole(values)
        else 0
    )
    listed = ", ".join([written[0], r"\ldots", *written[run - 1 :]] if run > _LONGEST_RUN else written)
    return Domain(f"{{}} \\in \\{{ {listed} \\}}", lambda value: value in values, values=values)


def _whole(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, int) for value in values)


@dataclass(frozen=True)
class Quantity:
    """A named quantity of a statement: how it is written, and what it is in words."""

    latex: str
    meaning: str


@dataclass(frozen=True)
class Hypothesis:
    """A condition under which the conclusions are claimed, and who states it: the source, we, or a cited theorem.

    ``relation`` is the condition as a formula, None where it is one of words alone (``meaning``).
    """

    meaning: str
    relation: Any = None
    stated_by: StatedBy = "source"


@dataclass(frozen=True)
class Lemma:
    """A conclusion that steps prove on the way to a goal, with variables and conditions of its own.

    ``cited`` names the theorem and its place where no step proves it: it is then printed as cited, not as proved.
    """

    conclusion: Any
    forall: Mapping[Variable, Domain] = field(default_factory=dict)
    given: tuple[Any, ...] = ()
    cited: str = ""


@dataclass(frozen=True)
class Statement:
    """What a claim says, as data.

    Args:
        goals: the conclusions by name: SymPy relations, or And, Or, Not, Implies of them.
        forall: the variables (symbols, or names of cases) with their domains.
        quantities: the symbols in the goals that stand for something computed.
        given: the hypotheses by name.
        lemmas: what steps prove on the way, by name.
        setting: words before the formulas, such as "One prompt, binary rewards, on policy".
        ranges: for a goal that is not about every value of every variable, the variables that it ranges over: none for
            one that is shown in the cases of its steps alone.
    """

    goals: Mapping[str, Any]
    forall: Mapping[Variable, Domain] = field(default_factory=dict)
    quantities: Mapping[sp.Symbol, Quantity] = field(default_factory=dict)
    given: Mapping[str, Hypothesis] = field(default_factory=dict)
    lemmas: Mapping[str, Lemma] = field(default_factory=dict)
    setting: str = ""
    ranges: Mapping[str, tuple[Variable, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.goals:
            raise ValueError("goals: none given; a statement concludes something")
        if taken := set(self.goals) & set(self.lemmas):
            raise ValueError(f"lemmas: {min(taken)!r} is the name of a goal too; give each its own")
        for name, variables in self.ranges.items():
            if name not in self.goals or (strange := set(variables) - set(self.forall)):
                what = f"{min(map(str, strange))} of {name!r}" if name in self.goals else repr(name)
                raise ValueError(f"ranges: {what} is not there; name goals, and variables of the statement")
        known = {s for s in self.forall if isinstance(s, sp.Symbol)} | set(self.quantities)
        for name, goal in self.goals.items():
            goal = sp.sympify(goal)
            if goal in (sp.true, sp.false):
                raise ValueError(
                    f"goals: {name!r} is {goal} before anything is shown; name its quantities by symbols"
                )
            if strange := goal.free_symbols - known:
                raise ValueError(
                    f"goals: {name!r} has {min(map(str, strange))}, which is neither a variable nor a quantity"
                )

    @property
    def names(self) -> dict[sp.Symbol, str]:
        """How symbols are written, for SymPy's printer."""
        return {symbol: quantity.latex for symbol, quantity in self.quantities.items()}

    def formula(self, name: str) -> str:
        """Return the LaTeX of a goal or a lemma."""
        return self.latex(self.goals[name] if name in self.goals else self.lemmas[name].conclusion)

    def latex(self, expression: Any) -> str:
        """Write an expression with the statement's names."""
        return sp.latex(sp.sympify(expression), symbol_names=self.names)

    @property
    def text(self) -> str:
        """The statement as text with LaTeX between dollars, printed from the formal object."""
        sentences = [self.setting] if self.setting else []
        over: dict[tuple[Variable, ...], list[str]] = {}  # goals of one range are said together
        for name in self.goals:
            over.setdefault(self.variables_of(name), []).append(f"${self.formula(name)}$")
        given = "; ".join(hypothesis.meaning for hypothesis in self.given.values())
        for variables, formulas in over.items():
            opening = self._opening(variables)
            if given and variables == tuple(self.forall):
                opening += f", given that {given}"
            sentences.append(f"{opening}: {'; '.join(formulas)}")
        concluded = set().union(*(sp.sympify(goal).free_symbols for goal in self.goals.values()))
        meanings: dict[str, list[str]] = {}  # symbols of one meaning are named together
        for symbol, quantity in self.quantities.items():
            if symbol in concluded:
                meanings.setdefault(quantity.meaning, []).append(f"${quantity.latex}$")
        legend = "; ".join(
            f"{', '.join(written)} {'is' if len(written) == 1 else 'are'} {meaning}"
            for meaning, written in meanings.items()
        )
        return ". ".join(sentences) + "." + (f" Here {legend}." if legend else "")

    def variables_of(self, name: str) -> tuple[Variable, ...]:
        """Return the variables that a goal or a lemma of this name ranges over."""
        if (lemma := self.lemmas.get(name)) is not None:
            return tuple(dict.fromkeys([*self.forall, *lemma.forall]))
        return tuple(self.ranges.get(name, self.forall))

    def _opening(self, variables: tuple[Variable, ...]) -> str:
        if not self.forall:
            return "The following holds"
        if not variables:
            return "In the cases that its steps name"
        ranges = (f"${_range(variable, self.forall[variable], self.latex)}$" for variable in variables)
        return f"For all {', '.join(ranges)}"


def _range(variable: Variable, domain: Domain, latex: Callable[[Any], str]) -> str:
    name = rf"\text{{{variable}}}" if isinstance(variable, str) else latex(variable)
    return domain.latex.replace("{}", name)  # the values may hold braces
