"""A5: the definition of a contrastive loss does not separate GRPO from plain REINFORCE with a constant baseline."""

import itertools

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

b = sp.Symbol("b", real=True)
G = sp.Symbol("G", integer=True, positive=True)
pull, push, contrast, gradient = sp.symbols("a_+ a_- M g", real=True)
QUANTITIES = {
    pull: sy.Quantity("a_+", "the weight of a correct rollout's score"),
    push: sy.Quantity("a_-", "minus the weight of a wrong rollout's score"),
    contrast: sy.Quantity(
        "M", r"the mean of $a_+ s$ over correct answers less that of $a_- s$ over wrong ones, at $G = 1$"
    ),
    gradient: sy.Quantity(r"\nabla J", "the gradient of the expected reward"),
}

claim = sy.Claim(
    id="A5",
    title="REINFORCE with a constant baseline does not pull all correct rollouts up and push all wrong ones down",
    statement=sy.Statement(
        setting="REINFORCE with a constant baseline b, binary rewards",
        forall={G: sy.whole(1), b: sy.between(0, 1)},
        quantities={pull: QUANTITIES[pull], push: QUANTITIES[push]},
        goals={"no contrast": sp.Or(pull <= 0, push <= 0)},
    ),
    instead=sy.Statement(
        setting="REINFORCE with a constant baseline b, binary rewards",
        forall={G: sy.whole(1), b: sy.between(0, 1)},
        quantities=QUANTITIES,
        ranges={"gradient": ()},
        goals={
            "weights": sp.And(sp.Eq(pull, (1 - b) / G), sp.Eq(push, b / G)),
            "contrast": sp.And(pull > 0, push > 0),
            "gradient": sp.Eq(contrast, gradient),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Definition 3.1",
        relation="ours",
        says="a contrastive loss has a gradient with one mean over positives less one over negatives",
        caveat="it puts no sign on the coefficients, and does not claim that it sets GRPO apart from REINFORCE",
    ),
    verdict="refuted",
    scope=r"binary rewards; every constant baseline $0 < b < 1$, any G, G = 1 included",
    proof=(
        "The advantages are $1 - b$ and $-b$, so each rollout's score has the weight $(1 - b)/G$ or $-b/G$, which "
        "the shipped objective shows with a symbol for b. Both pulls have their sign as $0 < b < 1$. As the scores "
        "have the mean zero, the baseline drops out of the expectation, and the mean over correct and wrong answers "
        "is the policy gradient, at one rollout."
    ),
    finding=(
        "REINFORCE with any constant between the two reward levels is a contrast rollout by rollout, without "
        "groups. So is PPO with any critic that stays between 0 and 1. What sets the group mean apart is the "
        "balance of the two sums ($c = 1$, claim A6), and that all-equal groups weigh nothing."
    ),
)
given = sy.symbols("e", (1,))


REINFORCE = catalogue.get("reinforce_best_constant")  # its objective takes any constant


@claim.step(
    "REINFORCE's weights",
    route="traced code",
    shows=(
        "the catalogued objective with a symbol for the baseline, every binary reward vector of one to three "
        "rollouts"
    ),
)
def traced(shift=0):
    for group in (1, 2, 3):
        weights: dict[int, set[sp.Expr]] = {1: set(), 0: set()}
        for rewards in itertools.product((0, 1), repeat=group):
            rollouts = sy.symbolic_group(group, rewards=rewards, baseline=given)
            for reward, weight in zip(rewards, rollouts.weights(REINFORCE).reshape(-1), strict=True):
                weights[reward].add(weight.subs(given[0], b + shift))
        for right, wrong in itertools.product(weights[1], weights[0]):
            claim.goal("weights").holds({pull: right, push: -wrong}, at={G: group})
            claim.goal("contrast").holds({pull: right, push: -wrong}, at={G: group})


@claim.step(
    "They meet the definition", route="smt", shows="advantage over G, for every G: both pulls have their sign"
)
def meets(lift=0):
    values = {pull: (1 - b - lift) / G, push: (b + lift) / G}
    claim.goal("contrast").holds(values)
    claim.goal("weights").holds(values)


@claim.step(
    "The mean at one rollout",
    route="enumeration",
    shows=r"any policy $(p, q, 1 - p - q)$ over a correct, a wrong and a correct answer, any b",
)
def one_rollout(factor=1):
    p, q = sp.symbols("p q", positive=True)
    bandit = sy.SymbolicBandit([p, q, 1 - p - q], [1, 0, 1])
    rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    means = [sp.Add(*[c * ((1 - b) if r else -b) * s[i] for c, r, s in rows]) for i in range(3)]
    claim.goal("gradient").holds({contrast: factor * np.asarray(means, object), gradient: bandit.gradient})


@claim.step("The engine agrees", route="exact engine", shows="the engine's mean with the best constant")
def engine(factor=1):
    bandit = sy.SymbolicBandit(["1/3", "1/4", "5/12"], [1, 0, 1])
    moments = sy.engine(REINFORCE, bandit, 1)
    values = {contrast: factor * np.asarray(moments.mean).reshape(-1), gradient: bandit.gradient}
    claim.goal("gradient").holds(values, tolerance=1e-11)


@claim.counterexample(
    "One rollout and the constant 1/2: a correct answer has the weight 1/2, a wrong one -1/2.", b="1/2", G="1"
)
def half(level="1/2"):
    half_baseline = np.asarray([sp.Rational(level)], object)
    up, down = (
        sy.symbolic_group(1, rewards=(r,), baseline=half_baseline).weights(REINFORCE).item() for r in (1, 0)
    )
    claim.goal("no contrast").fails({pull: up, push: -down}, at={G: 1, b: sp.Rational(1, 2)})


claim.sabotage("another baseline than the one given", traced, shift=sp.Rational(1, 10))
claim.sabotage("a baseline above the largest reward", meets, lift=1)
claim.sabotage("half of the policy gradient", one_rollout, factor=sp.Rational(1, 2))
claim.sabotage("twice the engine's mean", engine, factor=2)
claim.sabotage("a baseline above both rewards", half, level="3/2")
