"""L1: the mean of a product of sums over independent rollouts, by which indices coincide; many claims rest on it."""

import itertools
from collections.abc import Callable
from fractions import Fraction

import sympy as sp

from gradvar import symbolic as sy
from gradvar.symbolic.decide.expectation import partitions

G, n = (sp.Symbol(name, integer=True, positive=True) for name in "Gn")
NAMES = "1234"
MOMENTS = {
    subset: sp.Symbol("m" + "".join(subset), real=True)
    for size in range(1, 5)
    for subset in itertools.combinations(NAMES, size)
}
products = {count: sp.Symbol(f"E{count}", real=True) for count in (2, 3, 4)}
tuples = sp.Symbol("T", positive=True)


def m(digits):
    """E of the product of these functions of one rollout."""
    return MOMENTS[tuple(digits)]


TWO, THREE, FOUR = G * (G - 1), G * (G - 1) * (G - 2), G * (G - 1) * (G - 2) * (G - 3)
CLOSED: dict[int, Callable[..., sp.Expr]] = {
    1: lambda a: G * m(a),
    2: lambda a, b: G * m(a + b) + TWO * m(a) * m(b),
    3: lambda a, b, c: (
        G * m(a + b + c)
        + TWO * (m(a + b) * m(c) + m(a + c) * m(b) + m(b + c) * m(a))
        + THREE * m(a) * m(b) * m(c)
    ),
}
FOURFOLD = (
    G * m("1234")
    + TWO * (m("123") * m("4") + m("124") * m("3") + m("134") * m("2") + m("234") * m("1"))
    + TWO * (m("12") * m("34") + m("13") * m("24") + m("14") * m("23"))
    + THREE * (m("12") * m("3") * m("4") + m("13") * m("2") * m("4") + m("14") * m("2") * m("3"))
    + THREE * (m("23") * m("1") * m("4") + m("24") * m("1") * m("3") + m("34") * m("1") * m("2"))
    + FOUR * m("1") * m("2") * m("3") * m("4")
)
GOALS = {2: "two sums", 3: "three sums", 4: "four sums"}


def written(subset):
    return r"\mathrm{E}[" + " ".join(f"a_{k}" for k in subset) + "]"


claim = sy.Claim(
    id="L1",
    title="The mean of a product of sums over rollouts, by the pattern of coinciding indices",
    statement=sy.Statement(
        setting=(
            r"G independent rollouts of one law, functions $a_1, \ldots, a_4$ of a rollout, $S_k$ the sum of $a_k$ "
            "over the group"
        ),
        forall={G: sy.whole(1), n: sy.whole(1)},
        given={"independent": sy.Hypothesis("the rollouts are independent and of one law", stated_by="ours")},
        quantities={
            products[2]: sy.Quantity(r"\mathrm{E}[S_1 S_2]", "the mean of a product of two sums"),
            products[3]: sy.Quantity(r"\mathrm{E}[S_1 S_2 S_3]", "that of three"),
            products[4]: sy.Quantity(r"\mathrm{E}[S_1 S_2 S_3 S_4]", "that of four"),
            tuples: sy.Quantity(
                "T_n", r"the sum of $G (G-1) \cdots (G-b+1)$ over all patterns of n indices, b its blocks"
            ),
            **{
                symbol: sy.Quantity(written(subset), "means over one rollout")
                for subset, symbol in MOMENTS.items()
            },
        },
        goals={
            "two sums": sp.Eq(products[2], CLOSED[2](*"12")),
            "three sums": sp.Eq(products[3], CLOSED[3](*"123")),
            "four sums": sp.Eq(products[4], FOURFOLD),
            "every tuple once": sp.Eq(tuples, G**n),
        },
    ),
    source=sy.Source(
        "this project",
        "",
        "the tool of the variance laws, `over_rollouts`; Hoeffding (1948)",
        relation="ours",
    ),
    verdict="proved",
    scope=(
        "any law with these moments; equal functions among the four are allowed, so that squares and fourth powers are "
        "covered; products of up to four sums as formulas, and the count of patterns for any number of factors"
    ),
    proof=(
        "A product of n sums is the sum over all tuples of n indices. Sort the tuples by which of their indices "
        r"are equal: a pattern with b different indices is met by $G (G-1) \cdots (G-b+1)$ tuples, and by "
        "independence each of them contributes the product of one moment per block. A further index joins one of "
        "the b blocks, or is one of $G - b$ new ones, which makes the number of tuples $G^n$: none is left out, "
        "none counted twice. The formulas follow a second time by adding one rollout to a group of G, without "
        "any pattern, and all groups of several laws agree."
    ),
    finding="A falling factorial counts different indices; a power of G counts those with equal ones again.",
)


def same(name):
    """The moments of one rollout in a goal, which stay symbols."""
    used = claim.statement.goals[name].free_symbols
    return {symbol: symbol for symbol in MOMENTS.values() if symbol in used}


def moment(exponents):
    """The moment of one rollout as a symbol; every function appears once."""
    return m(sorted(exponents)) if exponents else sp.Integer(1)


@claim.step(
    "The library's function",
    route="sympy",
    shows="`over_rollouts` of the products $S_1 S_2$, $S_1 S_2 S_3$ and $S_1 S_2 S_3 S_4$, G a symbol",
)
def library(size=G, law=moment):
    sums = sp.symbols("S1:5")
    meaning = {symbol: {name: 1} for symbol, name in zip(sums, NAMES, strict=True)}
    for count, name in GOALS.items():
        mean = sy.over_rollouts(sp.Mul(*sums[:count]), meaning, size, law)
        claim.goal(name).holds({products[count]: mean, **same(name)})


@claim.step(
    "One more rollout",
    route="sympy",
    shows=(
        "induction on G: $S_k$ becomes $S_k + a_k$ of a rollout that is independent of the sums, so the mean "
        "becomes a sum over subsets of the factors; no patterns"
    ),
)
def one_more(smallest=0):
    for count, name in GOALS.items():
        factors = NAMES[:count]
        step = products[count]
        for size in range(count):  # how many factors are taken from the sums over the first G rollouts
            for kept in itertools.combinations(factors, size):
                fresh = "".join(k for k in factors if k not in kept)
                if size >= smallest:
                    step += (CLOSED[size](*kept) if size else 1) * m(fresh)
        claim.goal(name).induction(
            G, start=1, base={products[count]: m(factors)}, step={products[count]: step, **same(name)}
        )


@claim.step(
    "One more factor",
    route="sympy",
    shows=r"a pattern with b blocks and $F = G \cdots (G-b+1)$ tuples has $b F + (G - b) F = G F$ of one index more",
)
def one_more_factor(missing=0):
    b, count = sp.symbols("b F", positive=True)
    factor = sp.cancel((b * count + (G - b - missing) * count) / count)
    claim.goal("every tuple once").induction(n, start=1, base={tuples: G}, step={tuples: factor * tuples})


def group_means(law, size, count, replace=True):
    """E[S_1 ... S_count] over all groups of a law: a list of (chance, the four functions' values)."""
    total = Fraction(0)
    draws = itertools.product(law, repeat=size) if replace else itertools.permutations(law, size)
    for group in draws:
        chance, sums = Fraction(1), [Fraction(0)] * count
        for share, values in group:
            chance *= share
            sums = [total + Fraction(x) for total, x in zip(sums, values, strict=False)]
        for x in sums:
            chance *= x
        total += chance
    return sp.Rational(total.numerator, total.denominator)


F = Fraction
LAWS = (
    [(F(1, 3), (1, 1, 0, 2)), (F(2, 3), (0, -1, 3, 1))],
    [(F(1, 2), (1, F(1, 2), 1, F(1, 2))), (F(1, 3), (0, -1, 0, -1)), (F(1, 6), (F(5, 2), 2, F(5, 2), 2))],
    [(F(1, 10), (9, 0, 1, -3)), (F(3, 5), (-1, 2, 2, F(1, 7))), (F(3, 10), (0, 5, -4, 1))],
    [(F(1, 4), (1, 0, 0, 0)), (F(1, 4), (0, 1, 0, 0)), (F(1, 4), (0, 0, 1, 0)), (F(1, 4), (0, 0, 0, 1))],
)


def law_moments(law):
    """The moments of one rollout, in rationals."""
    result = {}
    for subset, symbol in MOMENTS.items():
        total = Fraction(0)
        for share, values in law:
            for k in subset:
                share *= Fraction(values[int(k) - 1])
            total += share
        result[symbol] = sp.Rational(total.numerator, total.denominator)
    return result


@claim.step(
    "All groups", route="enumeration", shows="four laws of two to four outcomes, every group of G = 1, ..., 4"
)
def all_groups(replace=True, laws=LAWS):
    for law in laws:
        moments = law_moments(law)
        for size in (1, 2, 3, 4) if replace else (2, 3):
            for count, name in GOALS.items():
                used = {s: moments[s] for s in same(name)}
                mean = group_means(law, size, count, replace)
                claim.goal(name).holds({products[count]: mean, **used}, at={G: size})


@claim.step(
    "All tuples",
    route="enumeration",
    shows=(
        "up to five indices below G = 1, ..., 4: each pattern's tuples are counted, and are as many as the falling "
        "factorial"
    ),
)
def all_tuples(power=False, left_out=0):
    for length, size in itertools.product(range(1, 6), range(1, 5)):
        tallies: dict[tuple[int, ...], int] = {}
        for indices in itertools.product(range(size), repeat=length):
            pattern = tuple(indices.index(x) for x in indices)
            tallies[pattern] = tallies.get(pattern, 0) + 1
        total = sp.Integer(0)
        for blocks in list(partitions(list(range(length))))[left_out:]:
            first = {place: min(block) for block in blocks for place in block}
            pattern = tuple(first[place] for place in range(length))
            weight = sp.Integer(size) ** len(blocks) if power else sy.falling(sp.Integer(size), len(blocks))
            if not power:
                sy.equal(
                    sp.Integer(tallies.get(pattern, 0)), weight, f"tuples of the pattern {pattern} of {size}"
                )
            total += weight
        claim.goal("every tuple once").holds({tuples: total}, at={G: size, n: length})


@claim.counterexample(
    (
        "Two rollouts drawn without replacement from two outcomes: they are not independent, and $S_1 S_2$ has "
        "another mean."
    ),
    law="(1/3, 2/3)",
)
def without_replacement(replace=False):
    law = [(F(1, 2), (1, 1, 0, 0)), (F(1, 2), (0, -1, 0, 0))]
    total = group_means(law, 2, 2, replace) * (1 if replace else 2)  # the two orders have chance 1/2 each
    used = {s: v for s, v in law_moments(law).items() if s in same("two sums")}
    claim.goal("two sums").fails({products[2]: total, **used}, at={G: 2, n: 1}, without="independent")


def uncorrelated(exponents):
    """Wrong: the mean of a product as the product of means."""
    return sp.Mul(*[m(k) for k in exponents])


claim.sabotage("one rollout too many", library, size=G + 1)
claim.sabotage("the mean of a product as the product of means", library, law=uncorrelated)
claim.sabotage("without the terms that are all in the new rollout", one_more, smallest=1)
claim.sabotage("one of the new indices forgotten", one_more_factor, missing=1)
claim.sabotage("rollouts without replacement", all_groups, replace=False)
claim.sabotage("powers of G for falling factorials", all_tuples, power=True)
claim.sabotage("a pattern left out", all_tuples, left_out=1)
claim.sabotage("independent after all", without_replacement, replace=True)
