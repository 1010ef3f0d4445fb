"""R7: a verifier with known error rates: corrected rewards, and the direction without a correction."""

import itertools

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
false_yes, false_no = sp.symbols("e0 e1", nonnegative=True)
noisy, backward, gradient, product = sp.symbols("u b g P", real=True)

claim = sy.Claim(
    id="R7",
    title="A verifier with known error rates: corrected rewards are unbiased, uncorrected ones keep the direction",
    statement=sy.Statement(
        setting=(
            "One prompt, true rewards 0 or 1; the verifier says 1 of a wrong answer with chance $e_0$ and 0 of a "
            "right one with chance $e_1$, leave-one-out, entry by entry"
        ),
        forall={
            G: sy.whole(2),
            false_yes: sy.between(0, 1, closed=True),
            false_no: sy.between(0, 1, closed=True),
        },
        given={
            "better than chance": sy.Hypothesis(
                "$e_0 + e_1 < 1$", false_yes + false_no < 1, stated_by="ours"
            ),
            "errors": sy.Hypothesis(
                "errors depend on the true reward alone and are independent from rollout to rollout",
                stated_by="ours",
            ),
        },
        quantities={
            noisy: sy.Quantity("u", "the mean update with the verifier's rewards"),
            backward: sy.Quantity("b", r"the mean update with $(\tilde r - e_0)/(1 - e_0 - e_1)$"),
            gradient: sy.Quantity(r"\nabla J", "the gradient of the chance of a right answer"),
            product: sy.Quantity("P", r"u times $\nabla J$, that entry"),
        },
        goals={
            "corrected": sp.Eq(backward, gradient),
            "shrunk": sp.Eq(noisy, (1 - false_yes - false_no) * gradient),
            "direction": sp.Ge(product, 0),
        },
    ),
    source=sy.Source(
        "2510.00915",
        relation="not read",
    ),
    verdict="proved",
    scope="any policy, any parametrisation; the two rates may depend on the prompt if they are known for it",
    proof=(
        "Given the answer, the verifier's reward has the mean $e_0 + (1 - e_0 - e_1) r$. Leave-one-out is linear "
        r"in the rewards and unaffected by the constant $e_0$, so the mean update is $(1 - e_0 - e_1) \nabla J$; "
        r"the corrected reward has the mean r, and its update the mean $\nabla J$. With $e_0 + e_1 < 1$ the "
        "factor is positive. All groups with all outcomes of the verifier are listed as well, weighted by the "
        "shipped estimator."
    ),
    finding=(
        "Over prompts with different rates the uncorrected factors differ and the direction is tilted; the "
        "correction costs variance of the order $1/(1 - e_0 - e_1)^2$. A verifier worse than chance turns the "
        "sign."
    ),
)


@claim.step(
    "By the verifier's mean, any G",
    route="sympy",
    shows="leave-one-out's mean over index patterns, with the moments of the verifier's reward",
)
def by_moments(offset=1, rates=(1, 1)):
    r, s, rs = sp.symbols("R S RS")
    g, level = sp.symbols("g J", real=True)
    factor = 1 - rates[0] * false_yes - rates[1] * false_no

    def mean_with(scale, shift):
        def moment(exponents):  # reward scale * r + shift in the mean, E[s] = 0, E[r s] = g
            table = {
                (1, 1): scale * g,
                (1, 0): scale * level + shift,
                (0, 1): sp.Integer(0),
                (0, 0): sp.Integer(1),
            }
            return table[exponents.get("r", 0), exponents.get("s", 0)]

        sums = {r: {"r": 1}, s: {"s": 1}, rs: {"r": 1, "s": 1}}
        return sy.over_rollouts((rs - (r * s - rs) / (G - 1)) / G, sums, G, moment)

    inverse = 1 / (1 - false_yes - false_no)
    update = mean_with(factor, offset * false_yes)
    corrected = sp.simplify(mean_with(factor * inverse, 0))
    claim.goal("shrunk").holds({noisy: update, gradient: g})
    claim.goal("corrected").holds({backward: corrected, gradient: g})
    claim.goal("direction").holds({product: sp.factor(update * g)})


RATES = (
    (sp.Rational(1, 5), sp.Rational(1, 10)),
    (sp.Integer(0), sp.Rational(1, 3)),
    (sp.Rational(3, 10), sp.Integer(0)),
)
BANDITS = (sy.SymbolicBandit(["1/5", "4/5"], [1, 0]), sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, 1]))


def with_verifier(bandit, rates):
    """The bandit whose answers are pairs of an answer and the verifier's word; scores are those of the answer."""
    chances, words, scores = [], [], []
    for chance, r, score in zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True):
        says_one = 1 - rates[1] if r else rates[0]
        for word, share in ((1, says_one), (0, 1 - says_one)):
            chances.append(chance * share)
            words.append(sp.Integer(word))
            scores.append(score)
    return sy.SymbolicBandit(chances, words, scores)


def discharge(weights_of, correction=1, sizes=(2, 3)):
    for bandit, rates, size in itertools.product(BANDITS, RATES, sizes):
        both = with_verifier(bandit, rates)
        corrected = [
            (x - correction * rates[0]) / (1 - correction * (rates[0] + rates[1])) for x in both.rewards
        ]
        update = sy.group_moments(both, size, weights_of).mean
        fixed = sy.group_moments(
            sy.SymbolicBandit(both.probabilities, corrected, both.scores), size, weights_of
        ).mean
        at = {G: size, false_yes: rates[0], false_no: rates[1]}
        claim.goal("shrunk").holds({noisy: update, gradient: bandit.gradient}, at=at)
        claim.goal("corrected").holds({backward: fixed, gradient: bandit.gradient}, at=at)
        signs = [a * b for a, b in zip(update, bandit.gradient, strict=True)]
        claim.goal("direction").holds({product: signs}, at=at)


def from_definition(rewards):
    total, size = sp.Add(*rewards), len(rewards)
    return [(r - (total - r) / (size - 1)) / size for r in rewards]


@claim.step(
    "All groups and all words", route="enumeration", shows="two policies, three pairs of rates, G = 2, 3"
)
def listed(correction=1):
    discharge(from_definition, correction)


@claim.step(
    "The shipped RLOO", route="traced code", shows="the same policies and rates with its weights, G = 2"
)
def traced(name="rloo"):
    discharge(sy.weights_of(catalogue.get(name)), sizes=(2,))


@claim.counterexample(
    "Chances 2/5 and 4/5 of the two errors, p = 1/5: the mean update points away from the gradient.",
    e0="2/5",
    e1="4/5",
)
def worse_than_chance(rates=(sp.Rational(2, 5), sp.Rational(4, 5))):
    update = sy.group_moments(with_verifier(BANDITS[0], rates), 2, from_definition).mean
    signs = np.asarray([a * b for a, b in zip(update, BANDITS[0].gradient, strict=True)], object)
    at = {G: 2, false_yes: rates[0], false_no: rates[1]}
    without = "better than chance" if sum(rates) >= 1 else ""
    claim.goal("direction").fails({product: signs}, at=at, without=without)


claim.sabotage("one of the two rates forgotten", by_moments, rates=(1, 0))
claim.sabotage("half of the correction", listed, correction=sp.Rational(1, 2))
claim.sabotage("the group mean with its reward", traced, name="dr_grpo")
claim.sabotage("a verifier better than chance", worse_than_chance, rates=RATES[0])
