"""A13 and A14: how often pairs, or one large group, find a correct answer or a signal; the discard rate."""

import itertools

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

m = sp.Symbol("m", integer=True, positive=True)
pairs_fail, group_fail, lowest, first = sp.symbols("F f p_low p1", nonnegative=True)

correct = sy.Claim(
    id="A13a",
    title="Pairs on a moving policy find a correct answer at least as often as one group",
    statement=sy.Statement(
        setting=(
            "m pairs of one prompt, drawn one after the other from a policy that is updated in between, against one "
            "group of 2m rollouts from the first policy"
        ),
        forall={m: sy.whole(1)},
        given={
            "growth": sy.Hypothesis(
                r"the updates never bring the success rate below the first, $p_i \ge p_1$", lowest >= first
            )
        },
        quantities={
            pairs_fail: sy.Quantity(
                "F_m", r"the chance $\prod_i (1 - p_i)^2$ that no pair has a correct answer"
            ),
            group_fail: sy.Quantity("f_m", r"the chance $(1 - p_1)^{2m}$ that the group has none"),
            lowest: sy.Quantity(r"\min_i p_i", "the lowest success rate on the way"),
            first: sy.Quantity("p_1", "the first success rate"),
        },
        goals={"pairs find it": sp.Ge(1 - pairs_fail, 1 - group_fail)},
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Proposition C.4",
        says="with success rates that do not fall below the first, the pairs' chance is at least the group's",
        caveat="the condition is printed in the proposition and discussed after it",
    ),
    verdict="proved",
    scope="equality when the policy does not move",
    proof=(
        r"By induction on m: a further pair multiplies the pairs' chance to fail by $(1 - p_{m+1})^2$ and the group's by "
        r"$(1 - p_1)^2$, and the first factor is not larger when $p_{m+1} \ge p_1$. All non-decreasing rates in sixths "
        "up to four pairs are listed as well. A rate that falls breaks the conclusion, so the condition is needed."
    ),
    finding=(
        "The proposition compares a policy that has improved with one that has not; nothing in it is due to "
        "the group size. An update on other prompts can lower this prompt's rate."
    ),
)


@correct.step(
    "By induction on m",
    route="smt",
    shows=r"if $F_m \le f_m$, then $F_m (1 - p_{m+1})^2 \le f_m (1 - p_1)^2$ when $p_{m+1} \ge p_1$",
)
def induction(assume_growth=True):
    p1, p = sp.symbols("p1 p", real=True)
    rates = [p1 >= 0, p1 <= 1, p >= 0, p <= 1] + ([p >= p1] if assume_growth else [])
    correct.goal("pairs find it").induction(
        m,
        start=1,
        base={pairs_fail: (1 - p1) ** 2, group_fail: (1 - p1) ** 2},
        step={pairs_fail: pairs_fail * (1 - p) ** 2, group_fail: group_fail * (1 - p1) ** 2},
        where=rates,
    )


@correct.step(
    "Small cases", route="enumeration", shows="all non-decreasing success rates in sixths, m up to 4"
)
def small(reverse=False):
    for count in range(1, 5):
        for sixths in itertools.combinations_with_replacement(range(7), count):
            rates = [sp.Rational(x, 6) for x in (reversed(sixths) if reverse else sixths)]
            values = {
                pairs_fail: sp.prod([(1 - x) ** 2 for x in rates]),
                group_fail: (1 - rates[0]) ** (2 * count),
                lowest: rates[0],
                first: rates[0],
            }
            correct.goal("pairs find it").holds(values, at={m: count})


@correct.counterexample(
    "The rate falls from 1/2 to 1/4 after the first pair: two pairs find a correct answer with chance "
    "55/64, one group of four with 60/64.",
    p="(1/2, 1/4)",
)
def falling(rates=("1/2", "1/4")):
    bandits = [sy.SymbolicBandit([q, 1 - sp.Rational(q)], [1, 0]) for q in rates]
    missed = sp.prod([miss_twice(bandit) for bandit in bandits])
    alone = miss_twice(bandits[0]) ** len(rates)
    values = {
        pairs_fail: missed,
        group_fail: alone,
        lowest: min(map(sp.Rational, rates)),
        first: sp.Rational(rates[0]),
    }
    without = "growth" if values[lowest] < values[first] else ""
    correct.goal("pairs find it").fails(values, at={m: len(rates)}, without=without)
    return sy.Exhibit(text=f"pairs {1 - missed}, group {1 - alone}")


def miss_twice(bandit):
    """The chance that two rollouts are both wrong, by listing pairs of answers."""
    rows = list(zip(bandit.probabilities, bandit.rewards, strict=True))
    return sp.Add(*[a * b for (a, r), (b, u) in itertools.product(rows, repeat=2) if r == u == 0])


correct.sabotage("without growth", induction, assume_growth=False)
correct.sabotage("falling rates", small, reverse=True)
correct.sabotage("a rate that rises", falling, rates=("1/2", "3/4"))


p = sp.Symbol("p", positive=True)
pairs_silent, group_silent = sp.symbols("S s", positive=True)
SILENT = {
    pairs_silent: sy.Quantity("S_m", "the chance that each of m pairs has equal rewards"),
    group_silent: sy.Quantity("s_m", "the chance that a group of 2m has equal rewards"),
}

signal = sy.Claim(
    id="A13b",
    title="Pairs find a group with a signal at least as often as one large group",
    statement=sy.Statement(
        setting="One prompt, binary rewards, a fixed policy",
        forall={m: sy.whole(2), p: sy.between(0, 1)},
        quantities=SILENT,
        goals={"at least as often": sp.Ge(1 - pairs_silent, 1 - group_silent)},
    ),
    instead=sy.Statement(
        setting="One prompt, binary rewards, a fixed policy",
        forall={m: sy.whole(2), p: sy.between(0, 1)},
        quantities=SILENT,
        goals={"strictly less often": sp.Lt(1 - pairs_silent, 1 - group_silent)},
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Proposition C.4",
        relation="ours",
        says="the proposition is about a correct answer only; it says nothing of groups with mixed rewards",
    ),
    verdict="refuted",
    scope="the mixed groups are what a group estimator learns from",
    proof=(
        r"With $a = p^2$ and $b = (1-p)^2$ the pairs are silent with chance $(a + b)^m$ and the group with $a^m + b^m$. "
        r"By induction the first is larger from $m = 2$ on, as $(a + b)(a^m + b^m) - a^{m+1} - b^{m+1} = a b^m + a^m b > 0$. "
        "Counting all sequences of outcomes for small m gives the same."
    ),
    finding=(
        r"The chances of no signal are $(p^2 + (1-p)^2)^m$ and $p^{2m} + (1-p)^{2m}$, and the first is "
        r"larger for $m \ge 2$. At small p a pair needs about as many rollouts, $2 p$ per pair against $2 m "
        r"p$ per group; near $p = 1/2$ it finds nothing half of the time. But per prompt: pairs on m "
        r"different prompts are m chances for m prompts."
    ),
)


@signal.step(
    "By induction on m",
    route="smt",
    shows=r"with $a = p^2$, $b = (1-p)^2$: $(a + b)(a^m + b^m) > a^{m+1} + b^{m+1}$",
)
def grows(cross=1):
    a, b, am, bm = sp.symbols("a b am bm", positive=True)
    signal.goal("strictly less often").induction(
        m,
        start=2,
        base={pairs_silent: a**2 + 2 * cross * a * b + b**2, group_silent: a**2 + b**2},
        step={pairs_silent: pairs_silent * (a + b), group_silent: a * am + b * bm},
        where=[sp.Eq(group_silent, am + bm)],
    )


def silent_chances(count, rate):
    """The chances that all pairs are silent, and that the group is, by listing all sequences of outcomes."""
    chances = [sp.Integer(0), sp.Integer(0)]
    for outcomes in itertools.product((0, 1), repeat=2 * count):
        chance = rate ** sum(outcomes) * (1 - rate) ** (2 * count - sum(outcomes))
        chances[0] += chance * int(all(outcomes[2 * i] == outcomes[2 * i + 1] for i in range(count)))
        chances[1] += chance * int(len(set(outcomes)) == 1)
    return dict(zip((pairs_silent, group_silent), chances, strict=True))


@signal.step(
    "Small cases", route="enumeration", shows="m = 2, 3, 4, p in sevenths, from all sequences of outcomes"
)
def cases(groups=1):
    for count in (2, 3, 4):
        for j in range(1, 7):
            values = silent_chances(count, sp.Rational(j, 7))
            values[group_silent] *= groups
            signal.goal("strictly less often").holds(values, at={m: count, p: sp.Rational(j, 7)})


@signal.counterexample(
    "p = 1/2, four rollouts: two pairs have a signal with chance 3/4, one group of four with 7/8; counted "
    "over all sequences.",
    p="1/2",
    m=2,
)
def four(pairs=1):
    values = silent_chances(2, sp.Rational(1, 2))
    values[pairs_silent] **= pairs
    signal.goal("at least as often").fails(values, at={m: 2, p: sp.Rational(1, 2)})


signal.sabotage("no cross terms", grows, cross=0)
signal.sabotage("ten groups", cases, groups=10)
signal.sabotage("twice as many pairs", four, pairs=4)


discarded, mean_rate, spread = sp.symbols("D r V", nonnegative=True)
RATES = {
    discarded: sy.Quantity("D", "the share of pairs with equal rewards, over prompts and their rollouts"),
    mean_rate: sy.Quantity(r"\bar r", "the mean reward over prompts"),
    spread: sy.Quantity(r"\mathrm{Var}(p)", "the variance of the success rate p over prompts"),
}

discard = sy.Claim(
    id="A14",
    title="The discard rate is $1 - r^2 - (1 - r)^2$ at the mean reward r",
    statement=sy.Statement(
        setting="Pairs of binary rewards, prompts of any success rates",
        quantities=RATES,
        goals={"printed rate": sp.Eq(discarded, 1 - mean_rate**2 - (1 - mean_rate) ** 2)},
    ),
    instead=sy.Statement(
        setting="Pairs of binary rewards, prompts of any success rates",
        quantities=RATES,
        goals={"discard rate": sp.Eq(discarded, mean_rate**2 + (1 - mean_rate) ** 2 + 2 * spread)},
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Appendix D.3",
        says="the share of discarded pairs is given as one minus the two squares, at the mean reward",
        caveat="its Table 3 (0.53 to 0.77) was computed with the share that is discarded; the formula prints the other",
    ),
    verdict="refuted",
    scope="every law of success rates p over prompts",
    proof=(
        r"A prompt of rate p gives equal rewards with chance $p^2 + (1-p)^2$. Averaged over prompts this is $\bar r^2 + "
        r"(1 - \bar r)^2 + 2 \mathrm{Var}(p)$, from $\mathrm{E}[p] = \bar r$. The shipped weights vanish exactly for the "
        "pairs with equal rewards, and small laws are listed outcome by outcome."
    ),
    finding=(
        r"The formula is the share that is kept, and at that only if all prompts have the same "
        r"difficulty. The discard rate is $\mathrm{E}[p^2 + (1-p)^2] = \bar r^2 + (1 - \bar r)^2 + 2 "
        r"\mathrm{Var}(p)$, larger the more prompts differ."
    ),
)


@discard.step(
    "The discard rate",
    route="sympy",
    shows=r"$\mathrm{E}[p^2 + (1-p)^2]$ from $\mathrm{E}[p] = \bar r$ and $\mathrm{E}[p^2]$",
)
def rate(multiple=1):
    mean, square = sp.symbols("rbar M2", real=True)
    values = {
        discarded: square + 1 - 2 * mean + square,
        mean_rate: mean,
        spread: multiple * (square - mean**2),
    }
    discard.goal("discard rate").holds(values)


def law(rates, shares, equal=True):
    """The quantities of prompts with these success rates, ``shares(rate)`` the chance that a pair has equal rewards."""
    mean = sp.Add(*rates) / len(rates)
    square = sp.Add(*[q * q for q in rates]) / len(rates)
    share = sp.Add(*[shares(q) for q in rates]) / len(rates)
    return {discarded: share if equal else 1 - share, mean_rate: mean, spread: square - mean**2}


@discard.step(
    "The shipped pairs",
    route="traced code",
    shows="a pair is discarded where the shipped weights are zero; three prompts with rates in quarters",
)
def dropped(name="grpo"):
    weights = sy.weights_of(catalogue.get(name))
    silent = {pair: all(w == 0 for w in weights(tuple(map(sp.Integer, pair)))) for pair in PAIRS}

    def share(q):
        return sp.Add(*[chance(q, x) * chance(q, y) for x, y in PAIRS if silent[x, y]])

    for rates in itertools.combinations_with_replacement(range(5), 3):
        discard.goal("discard rate").holds(law([sp.Rational(x, 4) for x in rates], share))


PAIRS = tuple(itertools.product((0, 1), repeat=2))


@discard.step(
    "Small laws", route="enumeration", shows="three prompts with rates in quarters, by listing outcomes"
)
def laws(equal=True):
    def share(q):
        return sp.Add(*[chance(q, x) * chance(q, y) for x, y in PAIRS if x == y])

    for rates in itertools.combinations_with_replacement(range(5), 3):
        discard.goal("discard rate").holds(law([sp.Rational(x, 4) for x in rates], share, equal))


def chance(rate, outcome):
    return rate if outcome else 1 - rate


@discard.counterexample(
    "Half of the prompts always solved, half never: mean reward 1/2, formula 1/2, true discard rate 1. And "
    "one prompt at p = 1/4: formula 3/8, truth 5/8; the engine's pairs are kept with chance 3/8.",
    p="(0, 1) and (1/4)",
)
def examples(rates=((0, 1), ("1/4",))):
    for prompts in rates:
        discard.goal("printed rate").fails(
            law([sp.Rational(x) for x in prompts], lambda q: q**2 + (1 - q) ** 2)
        )
    # A kept pair updates two answers' logits by (1, -1)/2, of square 1/2; a discarded one by nothing.
    moments = sy.engine(catalogue.get("grpo", eps=0.0), sy.SymbolicBandit(["1/4", "3/4"], [1, 0]), 2)
    retained = 2 * (float(moments.trace_cov) + float(np.sum(np.asarray(moments.mean) ** 2)))
    sy.require(abs(retained - 3 / 8) < 1e-12, f"the engine keeps {retained} of the pairs")


discard.sabotage("twice the variance", rate, multiple=2)
discard.sabotage("REINFORCE, which keeps correct pairs", dropped, name="reinforce")
discard.sabotage("the kept share", laws, equal=False)
discard.sabotage("p = 1/2, where both are 1/2", examples, rates=(("1/2",),))
