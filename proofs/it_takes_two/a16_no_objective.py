"""A16: with three reward levels the expected two-rollout GRPO update is the gradient of nothing."""

import itertools

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

curl_entry, product, frobenius_form, update, slope = sp.symbols("C Pi Phi F dp", real=True)

claim = sy.Claim(
    id="A16",
    title="For any real rewards the expected two-rollout GRPO update has an objective",
    statement=sy.Statement(
        setting=(
            "A softmax policy over answers with logits t, any real rewards; pairs standardised without "
            "epsilon, with the mean update F(t)"
        ),
        quantities={
            curl_entry: sy.Quantity(
                r"C_{ij}",
                r"the curl $\partial F_i / \partial t_j - \partial F_j / \partial t_i$, zero for a gradient",
            )
        },
        goals={"a gradient": sp.Eq(curl_entry, 0)},
    ),
    instead=sy.Statement(
        setting="The same, with two, three and four reward levels",
        quantities={
            update: sy.Quantity("F_k", "an entry of the mean update with two reward levels"),
            slope: sy.Quantity(
                r"\partial p / \partial t_k", "that entry of the gradient of the chance of the upper level"
            ),
            curl_entry: sy.Quantity(r"C_{ij}", "the curl with three answers of three reward levels"),
            product: sy.Quantity(r"\Pi", r"the product $\pi_1 \pi_2 \pi_3$ of their chances"),
            frobenius_form: sy.Quantity(
                r"\Phi",
                r"an entry of $F \wedge dF$ for four answers with rewards 0, 1, 2, 3 and chances 1/10, 2/10, "
                r"3/10, 4/10; zero if F is $a(t) \nabla \phi(t)$",
            ),
        },
        goals={
            "two levels": sp.Eq(update, slope),
            "three levels": sp.Eq(curl_entry**2, 4 * product**2),
            "four levels": sp.Ne(frobenius_form, 0),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Section 3.2",
        relation="ours",
        says="the contrastive nature extends to continuous rewards",
        caveat="no objective is claimed for them; the setting of the results is binary rewards (Section 2.1)",
    ),
    verdict="refuted",
    scope="softmax policies; with four levels not even the direction belongs to an objective",
    proof=(
        "A mixed pair moves the better answer by +1/2 and the worse by -1/2, so the mean update is $F_k = "
        r"\pi_k [P(r < r_k) - P(r > r_k)]$. Its derivatives follow from $\partial \pi_i / \partial t_j = \pi_i "
        r"([i = j] - \pi_j)$, and with three levels every entry of the curl is $\pm 2 \pi_1 \pi_2 \pi_3$: a "
        r"gradient has a symmetric Jacobian, so F is none. With two levels $F = \nabla p$. If F were $a \nabla "
        r"\phi$, then $dF = da \wedge d\phi$ and $F \wedge dF = 0$; with four levels it is not."
    ),
    finding=(
        r"The curl is never zero with three levels. For two levels the objective is p. "
        r"Following F with frozen weights is still well defined: one step, no destination that it climbs to."
    ),
)


def policy(size):
    """The chances of ``size`` answers in symbols, the last eliminated: a point of the simplex."""
    free = sp.symbols(f"pi1:{size}", positive=True)
    return free, [*free, 1 - sum(free)]


def by_logit(expression, free, chances, j):
    """d/dt_j of a polynomial in the free chances: d pi_i / d t_j = pi_i ([i = j] - pi_j)."""
    return sp.expand(
        sum(sp.diff(expression, x) * x * ((1 if i == j else 0) - chances[j]) for i, x in enumerate(free))
    )


def by_formula(chances, levels):
    """F_k: the sum over the others of pi_k pi_j sign(r_k - r_j)."""
    size = range(len(levels))
    return [sp.Add(*[chances[k] * chances[j] * sp.sign(levels[k] - levels[j]) for j in size]) for k in size]


def by_listing(chances, levels, name="grpo_pair"):
    """F from all pairs of answers and the weights of the shipped pair."""
    bandit = sy.SymbolicBandit(chances, levels)
    return sy.group_moments(bandit, 2, sy.weights_of(catalogue.get(name))).mean


def curl(field, free, chances):
    pairs = itertools.combinations(range(len(chances)), 2)
    return {
        (i, j): sp.expand(by_logit(field[i], free, chances, j) - by_logit(field[j], free, chances, i))
        for i, j in pairs
    }


def three(field):
    free, chances = policy(3)
    rotation = curl(field(chances), free, chances)
    claim.goal("three levels").holds({curl_entry: list(rotation.values()), product: sp.prod(chances)})
    return sy.Exhibit(formula=sp.latex(sp.factor(rotation[0, 1])))


def four(field):
    free, chances = policy(4)
    F = field(chances)
    point = dict(zip(free, [sp.Rational(x, 10) for x in (1, 2, 3)], strict=True))
    d = {pair: value.subs(point) for pair, value in curl(F, free, chances).items()}
    f = [x.subs(point) for x in F]
    form = f[0] * d[1, 2] - f[1] * d[0, 2] + f[2] * d[0, 1]
    claim.goal("four levels").holds({frobenius_form: form})


@claim.step(
    "From the formula",
    route="sympy",
    shows=r"$F_k = \pi_k [P(r < r_k) - P(r > r_k)]$ differentiated in the logits: three levels, four levels",
)
def from_formula(levels=(0, 1, 2), more=(0, 1, 2, 3)):
    shown = three(lambda chances: by_formula(chances, levels))
    four(lambda chances: by_formula(chances, more))
    return shown


@claim.step(
    "From the shipped pair",
    route="enumeration",
    shows="all pairs of answers with the shipped weights, chances in symbols: rewards (0, 1, 5) and (3, -1, 0, 7)",
)
def from_listing(name="grpo_pair", levels=(0, 1, 5)):
    three(lambda chances: by_listing(chances, levels, name))
    four(lambda chances: by_listing(chances, (0, 1, 2, 3), name))
    _, chances = policy(4)
    sy.equal(by_listing(chances, (3, -1, 0, 7), name), by_formula(chances, (3, -1, 0, 7)), "the mean update")


@claim.step(
    "Two levels, any number of answers",
    route="sympy",
    shows=(
        r"u other answers of the upper level: $F_k = \pi_k (1 - p)$ above and $-\pi_k p$ below, as $\partial "
        r"p/\partial t_k$"
    ),
)
def two_levels(upper=1):
    chance, p = sp.symbols("pi_k p", positive=True)  # an answer's chance, and that of its level's total
    above, below = chance * (1 - p), -chance * p
    # p = sum of pi_i over the upper level, so dp/dt_k = pi_k ([k above] - p).
    claim.goal("two levels").holds({update: [above, below], slope: [chance * (upper - p), chance * (0 - p)]})


@claim.step(
    "Two levels, the shipped pair",
    route="enumeration",
    shows="two to four answers of two levels, chances in symbols, the weights of grpo_pair",
)
def two_levels_listed(levels=((0, 1), (0, 1, 1), (2, 5, 5, 2))):
    for rewards in levels:
        _, chances = policy(len(rewards))
        top = max(rewards)
        p = sp.Add(*[x for x, r in zip(chances, rewards, strict=True) if r == top])
        expected = [x * (int(r == top) - p) for x, r in zip(chances, rewards, strict=True)]
        claim.goal("two levels").holds({update: by_listing(chances, rewards), slope: expected})


@claim.step(
    "The engine's Jacobian",
    route="exact engine",
    shows="chances (1/2, 1/3, 1/6), rewards (0, 1, 2): central differences of the engine's exact means in the logits",
)
def engine_curl(rewards=(0, 1, 2), factor="1001/1000"):
    base = [sp.Rational(1, 2), sp.Rational(1, 3), sp.Rational(1, 6)]
    factor = sp.Rational(factor)

    def mean(answer, tilt):
        raw = [x * (tilt if k == answer else 1) for k, x in enumerate(base)]
        bandit = sy.SymbolicBandit([x / sum(raw) for x in raw], rewards)
        return np.asarray(sy.engine(catalogue.get("grpo_pair"), bandit, 2).mean).reshape(-1)

    step = float(2 * sp.log(factor))
    rows = [(mean(k, factor) - mean(k, 1 / factor)) / step for k in (0, 1)]
    values = {curl_entry: rows[1][0] - rows[0][1], product: sp.prod(base)}
    claim.goal("three levels").holds(values, tolerance=1e-5)


@claim.counterexample(
    "Chances (1/2, 1/3, 1/6), rewards (0, 1, 2): the curl of the listed pairs' mean is not zero, it is 1/18 in size.",
    pi="(1/2, 1/3, 1/6)",
    rewards="(0, 1, 2)",
)
def rotates(rewards=(0, 1, 2)):
    free, chances = policy(3)
    rotation = curl(by_listing(chances, rewards), free, chances)[0, 1]
    value = rotation.subs(dict(zip(free, (sp.Rational(1, 2), sp.Rational(1, 3)), strict=True)))
    claim.goal("a gradient").fails({curl_entry: value})
    return sy.Exhibit(text=f"the curl is {value}")


claim.sabotage("two of the three rewards equal", from_formula, levels=(0, 1, 1))
claim.sabotage("two levels among four answers", from_formula, more=(0, 0, 1, 1))
claim.sabotage("the mean-centred pair", from_listing, name="dr_grpo")
claim.sabotage("REINFORCE", from_listing, name="reinforce")
claim.sabotage("two of the listed rewards equal", from_listing, levels=(0, 5, 5))
claim.sabotage("a level that counts twice", two_levels, upper=2)
claim.sabotage("three levels", two_levels_listed, levels=((0, 1, 2),))
claim.sabotage("two levels in the engine", engine_curl, rewards=(0, 1, 1))
claim.sabotage("two levels among the three answers", rotates, rewards=(0, 1, 1))
