"""Make the explorer's formulas: ``docs/explore/formulas.js``, JavaScript printed from the statements of proved claims.

    python docs/make_explorer.py

Every formula is the SymPy expression that a claim of ``proofs/`` concludes, and that its steps compare with the code
that ships; nothing is typed twice. A test compares the file with what this script prints, and the page's numbers with
``gv.measure.exact``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.plot.style import COLOURS
from gradvar.symbolic.claims.ledger import proofs_folder

TARGET = Path(__file__).resolve().parent / "explore" / "formulas.js"
FILES = {  # claim to file
    **dict.fromkeys(("D1", "D4", "D7"), "shipped/d01_whole_rollouts.py"),
    **dict.fromkeys(("D11", "D12", "D13", "D16"), "shipped/d11_clipped.py"),
    "N1": "ours/n01_four_numbers.py",
    **dict.fromkeys(("N2", "N3"), "ours/n02_group_size.py"),
    "A3": "it_takes_two/a03_dpo_coefficient.py",
    "B21": "estimators/b21_clipped_weight.py",
}
ESTIMATORS = {  # name in the catalogue to title and claim
    "grpo": ("GRPO", "D12"),
    "grpo_sample_std": ("GRPO, sample std", "D13"),
    "dr_grpo": ("Dr. GRPO", "D11"),
    "rloo": ("RLOO", "D4"),
    "maxrl": ("MaxRL", "D7"),
    "reinforce": ("REINFORCE", "D1"),
}
LENGTHS = {"grpo": ("GRPO", "D12"), "dapo": ("DAPO", "D16"), "dr_grpo": ("Dr. GRPO", "D11")}
G, k, p = sp.symbols("G k p", positive=True)
A, rho, low, high, beta, m = sp.symbols("A rho low high beta m", real=True)
signal, v1, v0, n, N, answers = sp.symbols("signal v1 v0 n N answers", positive=True)
right, wrong = sp.symbols("right wrong", real=True)


@cache
def claims() -> dict[str, sy.Claim]:
    """The claims that the page uses, by id."""
    folder = proofs_folder()
    loaded = {claim.id: claim for file in sorted(set(FILES.values())) for claim in sy.load(folder / file)}
    return {name: loaded[name] for name in FILES}


def conclusion(claim: str, goal: str, values: Mapping[str, Any]) -> Any:
    """The right side of a goal that is an equation, with values in place of its symbols, which are given by name.

    Raises ``ValueError`` where a name is no symbol of the goal's right side, or the claim is not a proved one.
    """
    if claims()[claim].verdict != "proved":
        raise ValueError(f"claim: {claim} is {claims()[claim].verdict}; the page shows proved formulas only")
    formula = claims()[claim].statement.goals[goal].rhs
    symbols = {symbol.name: symbol for symbol in formula.free_symbols}
    if unknown := set(values) - set(symbols):
        raise ValueError(
            f"values: {min(unknown)!r} is not in {claim}, which has {', '.join(sorted(symbols))}"
        )
    return formula.subs({symbols[name]: value for name, value in values.items()}, simultaneous=True)


def weight(claim: str, reward: int, **others: Any) -> Any:
    """A token's weight in one prompt's group with k of G rewards 1, on policy; ``others`` by symbol."""
    values = {"Q": 1, "S1": k, "S2": k, "rho": 1, "r": reward, "G": G, **others}
    formula = claims()[claim].statement.goals["weight"].rhs
    names = {symbol.name for symbol in formula.free_symbols}
    on_policy = conclusion(claim, "weight", {name: value for name, value in values.items() if name in names})
    return on_policy.replace(lambda e: isinstance(e, sp.Piecewise), lambda e: sp.piecewise_fold(e).simplify())


def advantages(name: str) -> dict[str, Any]:
    """The advantages of a right and of a wrong rollout among k of G, and in groups where all are alike."""
    claim = ESTIMATORS[name][1]
    a, b = (sp.factor(G * weight(claim, reward, n=1)) for reward in (1, 0))
    shipped = sy.weights_of(catalogue.get(name))
    solved, failed = (set(2 * w for w in shipped((sp.Integer(r),) * 2)) for r in (1, 0))
    return {"right": a, "wrong": b, "solved": solved.pop(), "failed": failed.pop()}


def prompt_numbers() -> dict[str, Any]:
    """The four numbers of a prompt with as many right answers as wrong ones, alike in chance, each with its own logit.

    The score of answer i is e_i - pi, its square 1 - 2 pi_i + sum pi^2; grad J is p (1-p) times the difference of the
    mean of the right answers' unit vectors and that of the wrong ones'.
    """
    squares = p**2 / answers + (1 - p) ** 2 / answers
    return {
        "signal": (p * (1 - p)) ** 2 * 2 / answers,
        "v1": 1 - 2 * p / answers + squares,
        "v0": 1 - 2 * (1 - p) / answers + squares,
    }


def leave_one_out_parts() -> dict[str, Any]:
    """The parts of leave-one-out's variance at any G, from the law at two and at three rollouts."""
    oracle, price = sp.symbols("sigma_o Delta")
    law = claims()["N2"].statement.goals["law"].rhs
    equations = []
    for size in (2, 3):
        second = sp.Integer(0)
        for count in range(size + 1):
            values = {G: sp.Integer(size), k: sp.Integer(count)}
            pair = [sp.sympify(G * weight("D4", reward)).subs(values) for reward in (1, 0)]
            given = {right: pair[0] if count else 0, wrong: pair[1] if count < size else 0}
            chance = sp.binomial(size, count) * p**count * (1 - p) ** (size - count)
            second += chance * second_moment().subs(values | given)
        equations.append(
            _named(law, {"sigma_o": oracle, "Delta": price, "G": sp.Integer(size)}) - (second - signal)
        )
    (solution,) = sp.solve(equations, [oracle, price], dict=True)
    return {"oracle": sp.factor(solution[oracle]), "price": sp.factor(solution[price])}


def _named(formula: Any, values: Mapping[str, Any]) -> Any:
    symbols = {symbol.name: symbol for symbol in formula.free_symbols}
    return formula.subs({symbols[name]: value for name, value in values.items()}, simultaneous=True)


def second_moment() -> Any:
    """E||ghat||^2 given k right rollouts (N1)."""
    names = {"G": G, "k": k, "p": p, "a": right, "b": wrong, "g2": signal, "v1": v1, "v0": v0}
    return conclusion("N1", "second moment given k", names)


def best_size() -> Any:
    """G*, where the derivative of the variance at a fixed number of rollouts is zero (N3)."""
    between, inner, cost, gap = sp.symbols("between inner cost gap", positive=True)
    names = {r"\sigma_b^{2}": between, r"\sigma_o^{2}": inner, r"\Delta": cost, "G": 1 + gap}
    (root,) = sp.solve(sp.diff(conclusion("N3", "variance", names), gap), gap)
    return (1 + root).subs({cost: sp.Symbol("price"), between: sp.Symbol("between")})


def script() -> str:
    """The file's text."""
    lines = [
        "// Made by `python docs/make_explorer.py` from the conclusions of proved claims; do not edit.",
        '"use strict";',
        "const FORMULAS = {",
        f"  colours: {json.dumps(COLOURS)},",
        "  // advantages with k of G rollouts right; solved and failed: where all are right, or none is",
        "  estimators: {",
    ]
    for name, (title, claim) in ESTIMATORS.items():
        parts = advantages(name)
        lines.append(
            f"    {name}: {{title: {json.dumps(title)}, claim: {json.dumps(claim)}, "
            f"right: {function((G, k), parts['right'])},\n      wrong: {function((G, k), parts['wrong'])}, "
            f"solved: {code(parts['solved'])}, failed: {code(parts['failed'])}}},"
        )
    lines += ["  },", "  // a token's weight where its rollout has n tokens and the mixed groups N"]
    lines.append("  lengths: {")
    for name, (title, claim) in LENGTHS.items():
        pair = [sp.factor(weight(claim, reward, n=n, N_m=N)) for reward in (1, 0)]
        bodies = ", ".join(
            f"{key}: {function((G, k, n, N), value)}"
            for key, value in zip(("right", "wrong"), pair, strict=True)
        )
        lines.append(f"    {name}: {{title: {json.dumps(title)}, claim: {json.dumps(claim)}, {bodies}}},")
    numbers, parts = prompt_numbers(), leave_one_out_parts()
    mean = conclusion("N1", "mean given k", {"G": G, "k": k, "p": p, "a": right, "b": wrong})
    chance = sp.combsimp(sp.binomial(G, k + 1) / sp.binomial(G, k)) * p / (1 - p)
    clip = {"A": A, "rho": rho, r"\epsilon_{-}": low, r"\epsilon_{+}": high}
    up, down = claims()["A3"].statement.goals["contrast"].args
    of_dpo = {"beta": beta, "m": m}
    sides = sorted((up, down), key=lambda equation: str(equation.lhs), reverse=True)  # g_w before g_l
    named = [
        ("chanceOfNone", (G, p), (1 - p) ** G, "the chance that no rollout of G is right"),
        ("chanceRatio", (G, k, p), chance, "the chance of k + 1 right rollouts over that of k"),
        (
            "meanGiven",
            (G, k, p, right, wrong),
            mean,
            "N1: the factor of grad J in the mean given k right rollouts",
        ),
        (
            "secondGiven",
            (G, k, p, right, wrong, signal, v1, v0),
            second_moment(),
            "N1: the mean squared norm given k",
        ),
        *(
            (key, (p, answers), value, "a softmax over as many right answers as wrong ones")
            for key, value in numbers.items()
        ),
        ("oracle", (p, signal, v1, v0), parts["oracle"], "N2: sigma_o^2 of leave-one-out"),
        ("price", (p, signal, v1, v0), parts["price"], "N2: Delta of leave-one-out"),
        ("bestSize", (sp.Symbol("price"), sp.Symbol("between")), best_size(), "N3: G*"),
        (
            "clipped",
            (A, rho, low, high),
            conclusion("B21", "PPO", clip),
            "B21: a token's weight under PPO's clip",
        ),
        ("cispo", (A, rho, low, high), conclusion("B21", "CISPO", clip), "B21: its weight under CISPO"),
        ("preferred", (beta, m), _named(sides[0].rhs, of_dpo), "A3: DPO's weight of the preferred answer"),
        ("other", (beta, m), _named(sides[1].rhs, of_dpo), "A3: of the other answer"),
    ]
    lines.append("  },")
    for name, arguments, formula, words in named:
        lines += [f"  // {words}", f"  {name}: {function(arguments, formula)},"]
    return "\n".join([*lines, "};", ""])


def function(arguments: tuple[Any, ...], formula: Any) -> str:
    """A JavaScript function of these symbols."""
    formula = sp.sympify(formula)
    if unknown := formula.free_symbols - set(arguments):
        raise ValueError(f"formula: {min(map(str, unknown))} is no argument; give it a value")
    return f"({', '.join(map(str, arguments))}) => {code(formula)}"


def code(formula: Any) -> str:
    """JavaScript of an expression, on one line."""
    return " ".join(sp.jscode(sp.sympify(formula)).split())


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(script(), encoding="utf-8")
    print(f"wrote {TARGET}")
