"""A13 and A14: how often pairs, or one large group, find a correct answer or a signal; the discard rate."""

import itertools

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

correct = sy.Claim(
    id="A13a",
    title="Pairs on a moving policy find a correct answer at least as often as one group",
    statement=(
        r"$1 - \prod_{i=1}^m (1 - p_i)^2 \ge 1 - (1 - p_1)^{2m}$: m pairs drawn one after the other from a "
        r"policy that is updated in between, against one group of 2m from the first."
    ),
    hypotheses=(
        (
            r"the updates do not lower this prompt's success rate on the whole: $\prod_i (1 - p_i) \le (1 - "
            r"p_1)^m$, for instance $p_i \ge p_1$ for all i"
        ),
    ),
    source=sy.Source("2510.00977", "v3", "Proposition 5.4"),
    verdict="conditional",
    scope="every m; equality when the policy does not move",
    finding=(
        "The proposition compares a policy that has improved with one that has not; nothing in it is due to "
        "the group size. An update on other prompts can lower this prompt's rate."
    ),
)


@correct.step(
    "By induction on m",
    route="smt",
    shows=(
        r"if $F_m \le f_m$ for the chances to fail, then $F_m (1 - p_{m+1})^2 \le f_m (1 - p_1)^2$ when "
        r"$p_{m+1} \ge p_1$"
    ),
)
def induction(assume_growth=True):
    p1, p, moving, fixed = sp.symbols("p1 p F f", real=True)
    assumptions = [p1 >= 0, p1 <= 1, p >= 0, p <= 1, moving >= 0, moving <= fixed]
    if assume_growth:
        assumptions.append(p >= p1)
    sy.require(
        sy.smt_valid(assumptions, moving * (1 - p) ** 2 <= fixed * (1 - p1) ** 2), "the step of the induction"
    )


@correct.step(
    "Small cases", route="enumeration", shows="all non-decreasing success rates in sixths, m up to 4"
)
def small(non_decreasing=True):
    def holds(m, rates):
        rates = rates[:m]
        if non_decreasing and any(b < a for a, b in itertools.pairwise(rates)):
            return True
        fail = sp.prod([(1 - sp.Rational(x, 6)) ** 2 for x in rates])
        return fail <= (1 - sp.Rational(rates[0], 6)) ** (2 * m)

    sy.enumerate_rationals(
        holds, range(1, 5), itertools.product(range(7), repeat=4), what="pairs find at least as often"
    )


@correct.counterexample(
    "The rate falls from 1/2 to 1/4 after the first pair: two pairs find a correct answer with chance "
    "55/64, one group of four with 60/64.",
    p="(1/2, 1/4)",
)
def falling(rates=("1/2", "1/4")):
    chance = 1 - sp.prod([miss_twice(sy.SymbolicBandit([q, 1 - sp.Rational(q)], [1, 0])) for q in rates])
    first = sy.SymbolicBandit([rates[0], 1 - sp.Rational(rates[0])], [1, 0])
    sy.require(chance < 1 - miss_twice(first) ** len(rates), f"pairs: {chance}")
    return sy.Exhibit(text=f"pairs {chance}, group {1 - miss_twice(first) ** len(rates)}")


def miss_twice(bandit):
    """The chance that two rollouts are both wrong, by listing pairs of answers."""
    rows = list(zip(bandit.probabilities, bandit.rewards, strict=True))
    return sp.Add(*[a * b for (a, r), (b, u) in itertools.product(rows, repeat=2) if r == u == 0])


correct.sabotage("without growth", induction, assume_growth=False)
correct.sabotage("any order of the rates", small, non_decreasing=False)
correct.sabotage("a rate that rises", falling, rates=("1/2", "3/4"))


signal = sy.Claim(
    id="A13b",
    title="Pairs find a group with a signal at least as often as one large group",
    statement=r"Some pair of m pairs has mixed rewards at least as often as one group of 2m has.",
    source=sy.Source("2510.00977", "v3", "Proposition 5.4, read for mixed rewards"),
    verdict="refuted",
    scope="fixed policy, every m >= 2 and every 0 < p < 1: strictly less often",
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
    shows=(
        r"with $a = p^2$, $b = (1-p)^2$: $(a + b)(a^m + b^m) > a^{m+1} + b^{m+1}$, as the difference is $a "
        r"b^m + a^m b$"
    ),
)
def grows(strict=True):
    a, b, am, bm, lhs = sp.symbols("a b am bm lhs", positive=True)
    step = (a + b) * lhs > a * am + b * bm
    sy.require(sy.smt_valid([lhs >= am + bm], step if strict else sp.Not(step)), "the step of the induction")


@signal.step(
    "Small cases",
    route="enumeration",
    shows="m = 2..6, p in sevenths: pairs have no signal strictly more often",
)
def cases(first=2):
    sy.enumerate_rationals(
        lambda m, j: (
            (sp.Rational(j, 7) ** 2 + sp.Rational(7 - j, 7) ** 2) ** m
            > sp.Rational(j, 7) ** (2 * m) + sp.Rational(7 - j, 7) ** (2 * m)
        ),
        range(first, 7),
        range(1, 7),
        what="no signal more often",
    )


@signal.counterexample(
    "p = 1/2, four rollouts: two pairs have a signal with chance 3/4, one group of four with 7/8; counted "
    "over all sequences.",
    p="1/2",
    m=2,
)
def four(m=2):
    sequences = list(itertools.product((0, 1), repeat=2 * m))
    pairs = sum(any(s[2 * i] != s[2 * i + 1] for i in range(m)) for s in sequences)
    group = sum(len(set(s)) == 2 for s in sequences)
    sy.require(pairs < group, f"pairs {pairs}, group {group} of {len(sequences)}")
    if m == 2:
        sy.require((pairs, group) == (12, 14), "the counts")


signal.sabotage("the opposite inequality", grows, strict=False)
signal.sabotage("m = 1, where they are the same", cases, first=1)
signal.sabotage("one pair against itself", four, m=1)


discard = sy.Claim(
    id="A14",
    title="The discard rate is $1 - r^2 - (1 - r)^2$ at the mean reward r",
    statement=(
        r"With mean reward $\bar r$ over prompts, a share $1 - \bar r^2 - (1 - \bar r)^2$ of the pairs is "
        r"discarded (has equal rewards)."
    ),
    source=sy.Source("2510.00977", "v3", "Appendix D.3 (as the ledger has it)"),
    verdict="refuted",
    scope="every law of success rates p over prompts",
    finding=(
        r"The formula is the share that is *kept*, and at that only if all prompts have the same "
        r"difficulty. The discard rate is $\mathrm{E}[p^2 + (1-p)^2] = \bar r^2 + (1 - \bar r)^2 + 2 "
        r"\mathrm{Var}(p)$, larger the more prompts differ."
    ),
)


@discard.step(
    "The discard rate",
    route="sympy",
    shows=(
        r"$\mathrm{E}[p^2 + (1-p)^2] - \bar r^2 - (1-\bar r)^2 = 2 \mathrm{Var}(p)$, from $\mathrm{E}[p] = "
        r"\bar r$ and $\mathrm{E}[p^2]$"
    ),
)
def rate(multiple=2):
    mean, square = sp.symbols("rbar M2", real=True)
    discarded = square + 1 - 2 * mean + square
    sy.equal(
        discarded - mean**2 - (1 - mean) ** 2,
        multiple * (square - mean**2),
        "the effect of different difficulties",
    )


@discard.step(
    "Which pairs are discarded",
    route="traced code",
    shows="the shipped weights are zero for rewards (0, 0) and (1, 1) and not for (1, 0), (0, 1)",
)
def dropped(name="grpo"):
    for rewards in itertools.product((0, 1), repeat=2):
        weights = (
            sy.symbolic_group(2, rewards=rewards, on_policy=True).weights(catalogue.get(name)).reshape(-1)
        )
        sy.require(
            all(w == 0 for w in weights) == (rewards[0] == rewards[1]),
            f"a pair is discarded iff its rewards are equal: {rewards}",
        )


@discard.step(
    "Small laws",
    route="enumeration",
    shows=(
        "three prompts with rates in quarters: the discard rate by listing outcomes, and never below the "
        "same-difficulty value"
    ),
)
def laws(retained=False):
    def holds(a, b, c):
        rates = [sp.Rational(x, 4) for x in (a, b, c)]
        listed = (
            sp.Add(
                *[
                    chance(q, x) * chance(q, y)
                    for q in rates
                    for x, y in itertools.product((0, 1), repeat=2)
                    if (x == y) != retained
                ]
            )
            / 3
        )
        mean = sum(rates) / 3
        spread = sum(q * q for q in rates) / 3 - mean**2
        return listed == mean**2 + (1 - mean) ** 2 + 2 * spread

    sy.enumerate_rationals(holds, range(5), range(5), range(5), what="the discard rate")


def chance(rate, outcome):
    return rate if outcome else 1 - rate


@discard.counterexample(
    "Half of the prompts always solved, half never: mean reward 1/2, formula 1/2, true discard rate 1. And "
    "one prompt at p = 1/4: formula 3/8, truth 5/8; the engine's pairs are kept with chance 3/8.",
    p="(0, 1) and (1/4)",
)
def examples(rates=((0, 1), ("1/4",))):
    for prompts in rates:
        prompts = [sp.Rational(x) for x in prompts]
        mean = sum(prompts) / len(prompts)
        true = sum(q * q + (1 - q) ** 2 for q in prompts) / len(prompts)
        sy.require(true != 1 - mean**2 - (1 - mean) ** 2, f"the formula holds at {prompts}")
    # A kept pair updates two answers' logits by (1, -1)/2, of square 1/2; a discarded one by nothing.
    moments = sy.engine(catalogue.get("grpo", eps=0.0), sy.SymbolicBandit(["1/4", "3/4"], [1, 0]), 2)
    retained = 2 * (float(moments.trace_cov) + float(np.sum(np.asarray(moments.mean) ** 2)))
    sy.require(abs(retained - 3 / 8) < 1e-12, f"the engine keeps {retained} of the pairs")


discard.sabotage("once the variance", rate, multiple=1)
discard.sabotage("REINFORCE, which keeps correct pairs", dropped, name="reinforce")
discard.sabotage("the kept share", laws, retained=True)
discard.sabotage("p = 1/2, where both are 1/2", examples, rates=(("1/2",),))
