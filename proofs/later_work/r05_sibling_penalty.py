"""R5: a length penalty that is scaled by the other rollouts of the group, under leave-one-out."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
update, partial, cross, objective = sp.symbols("u P c F", real=True)
QUANTITIES = {
    update: sy.Quantity(
        "u", "the mean of the leave-one-out estimate of the shaped rewards, by any parameter"
    ),
    objective: sy.Quantity(
        r"\nabla F", "the derivative of the mean shaped reward of a group, all of whose rollouts move"
    ),
    partial: sy.Quantity("P", r"$\mathrm{E}[R_i s_i]$, the part of $\nabla F$ through a rollout's own text"),
    cross: sy.Quantity("c", r"$\mathrm{E}[R_j s_i]$ for two different rollouts"),
}
SETTING = (
    "One prompt, G rollouts on policy; the shaped reward $R_i$ of a rollout may depend on the lengths of its "
    r"siblings, as $r_i - \lambda\, l_i / \max_j l_j$ does, by one rule for all"
)

claim = sy.Claim(
    id="R5",
    title="Leave-one-out stays unbiased with a length penalty that is scaled within the group",
    statement=sy.Statement(
        setting=SETTING,
        forall={G: sy.whole(2)},
        quantities=QUANTITIES,
        goals={"unbiased": sp.Eq(update, objective)},
    ),
    instead=sy.Statement(
        setting=SETTING,
        forall={G: sy.whole(2)},
        quantities=QUANTITIES,
        goals={
            "leave-one-out": sp.Eq(update, partial - cross),
            "objective": sp.Eq(objective, partial + (G - 1) * cross),
            "own penalties": sp.Implies(sp.Eq(cross, 0), sp.Eq(update, objective)),
        },
    ),
    source=sy.Source(
        "length penalties relative to the group",
        relation="ours",
        says="no single source is meant: penalties by the group's shortest, longest or mean length are in use",
    ),
    verdict="refuted",
    scope=r"any rule that treats the rollouts alike; a penalty of the rollout's own length alone has $c = 0$",
    proof=(
        "Leave-one-out subtracts the others' rewards on the ground that they have nothing to do with this "
        r"rollout's score. If $R_j$ contains $l_i$, then $\mathrm{E}[R_j s_i] = c$ is not zero, and the mean is "
        "$P - c$. The mean shaped reward of the group depends on the policy through all G texts, which makes its "
        "gradient $P + (G-1)c$. So they differ by $G c$. In a bandit with two lengths both are computed by "
        "listing all groups, the gradient also by differentiating the expectation."
    ),
    finding=(
        r"The centred penalty $l_i - \bar l$ shows what is lost: its sum over a group is zero whatever the "
        "policy, so its objective is constant, and leave-one-out still shortens the texts. It then follows "
        r"$\nabla \mathrm{E}[l]$, an objective that is not the stated one. A penalty of the text's own length, or "
        "one scaled by a constant of the prompt, keeps c at zero."
    ),
)


@claim.step(
    "Two kinds of terms, any G",
    route="sympy",
    shows=r"$\frac{1}{G} \sum_i (R_i - \frac{1}{G-1} \sum_{j \ne i} R_j) s_i$: G own terms, $G(G-1)$ crossed ones",
)
def two_kinds(self_term=0):
    mean = (G * partial - (G * (G - 1) * cross + self_term * G * partial) / (G - 1)) / G
    # d/dtheta of E[(1/G) sum_i R_i]: the scores of all rollouts, times each reward
    slope = (G * partial + G * (G - 1) * cross) / G
    claim.goal("leave-one-out").holds({update: mean, partial: partial, cross: cross})
    claim.goal("objective").holds({objective: slope, partial: partial, cross: cross})
    claim.goal("own penalties").holds({update: mean, objective: slope, cross: cross})


def by_longest(lengths, i):
    return sp.Rational(lengths[i], max(lengths))


def centred(lengths, i):
    return lengths[i] - sp.Rational(sum(lengths), len(lengths))


def between_ends(lengths, i):
    spread = max(lengths) - min(lengths)
    return sp.Rational(lengths[i] - min(lengths), spread) if spread else sp.Integer(0)


def own(lengths, i):
    return sp.Rational(lengths[i], 8)


def unequal(lengths, i):
    """Not one rule for all: only the first rollout pays, by the second one's length."""
    return sp.Integer(lengths[1] if i == 0 else 0)


RULES = (by_longest, centred, between_ends, own)
ANSWERS = (  # chances, lengths and rewards of the texts
    (("1/2", "1/2"), (1, 3), (0, 0)),
    (("1/2", "1/3", "1/6"), (2, 5, 3), (1, 0, 1)),
)


def listed(chances, lengths, rewards, size, penalty, weights_of):
    """The quantities over all groups, by each logit; the gradient of the expectation by differentiation."""
    symbols = sp.symbols(f"q1:{len(chances) + 1}", positive=True)
    numbers = dict(zip(symbols, map(sp.Rational, chances), strict=True))
    bandit = sy.SymbolicBandit(chances, rewards)
    width = range(len(chances))
    sums = {x: [sp.Integer(0) for _ in width] for x in (update, partial, cross)}
    expectation = sp.Integer(0)
    for picks in itertools.product(width, repeat=size):
        texts = [lengths[k] for k in picks]
        shaped = [rewards[k] - sp.Rational(1, 2) * penalty(texts, i) for i, k in enumerate(picks)]
        weights = weights_of(tuple(map(sp.sympify, shaped)))
        chance = sp.Mul(*[bandit.probabilities[k] for k in picks])
        expectation += sp.Mul(*[symbols[k] for k in picks]) * sp.Add(*shaped) / size
        for j in width:
            score = [bandit.scores[k][j] for k in picks]
            sums[update][j] += chance * sp.Add(*[w * s for w, s in zip(weights, score, strict=True)])
            sums[partial][j] += chance * shaped[0] * score[0]
            sums[cross][j] += chance * shaped[1] * score[0]
    slopes = [sp.diff(expectation, q).subs(numbers) for q in symbols]
    pi = bandit.probabilities
    inner = sp.Add(*[d * x for d, x in zip(slopes, pi, strict=True)])
    sums[objective] = [
        pi[j] * (slopes[j] - inner) for j in width
    ]  # softmax: dq_k/dlogit_j = q_k ([k = j] - q_j)
    return sums


def discharge(weights_of, rules, sizes):
    for (chances, lengths, rewards), penalty, size in itertools.product(ANSWERS, rules, sizes):
        values = listed(chances, lengths, rewards, size, penalty, weights_of)
        used = {
            "leave-one-out": (update, partial, cross),
            "objective": (objective, partial, cross),
            "own penalties": (update, objective, cross),
        }
        for name, symbols in used.items():
            claim.goal(name).holds({x: values[x] for x in symbols}, at={G: size})


def from_definition(rewards):
    total = sp.Add(*rewards)
    size = len(rewards)
    return [(r - (total - r) / (size - 1)) / size for r in rewards]


@claim.step(
    "All groups",
    route="enumeration",
    shows="four penalties, two and three texts, G = 2, 3; the objective's gradient by differentiation",
)
def all_groups(rules=RULES, sizes=(2, 3)):
    discharge(from_definition, rules, sizes)


@claim.step("The shipped RLOO", route="traced code", shows="the same scenes with its weights, G = 2")
def traced(name="rloo"):
    discharge(sy.weights_of(catalogue.get(name)), RULES, (2,))


@claim.counterexample(
    (
        "Two texts of one and three tokens with chances 1/2, no reward, two rollouts, half the length over the "
        "longer one of the two: the gradient is 0 by the first logit, leave-one-out's mean is 1/12."
    ),
    lengths="(1, 3)",
    pi="(1/2, 1/2)",
    G="2",
)
def two_texts(penalty=by_longest):
    chances, lengths, rewards = ANSWERS[0]
    values = listed(chances, lengths, rewards, 2, penalty, from_definition)
    claim.goal("unbiased").fails({x: values[x] for x in (update, objective)}, at={G: 2})
    sy.equal([values[update][0], values[objective][0]], [sp.Rational(1, 12), 0], "the numbers")
    return sy.Exhibit(text=f"mean {values[update]}, gradient {values[objective]}")


claim.sabotage("its reward kept in its baseline", two_kinds, self_term=1)
claim.sabotage("a rule that singles out a rollout", all_groups, rules=(unequal,))
claim.sabotage("the group mean with its reward", traced, name="dr_grpo")
claim.sabotage("a penalty of the own length", two_texts, penalty=own)
