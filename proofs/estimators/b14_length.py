"""B14: length weightings f(L): which are unbiased, which are length-neutral, and what "neutral" assumes."""

import itertools
from typing import Any

import numpy as np
import sympy as sp
from _binary import ON_POLICY, OUR_ON_POLICY
from _stopping import LENGTHS, completions, sequence_engine, sequence_weights

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, surrogate

G = sp.Symbol("G", integer=True, positive=True)
update, product, level, score = sp.symbols("m rt J t", real=True)
f1, f2, f3, first, second = sp.symbols("f_1 f_2 f_3 c_1 c_2", real=True)
SOURCE: dict[str, Any] = {"arxiv": "viXra 2605.0117", "place": "abstract"}
UNREAD = "arXiv 2607.23364, of the same title, was not read"
TASKS = ((1, 0, 0), (0, 1, 0))

unbiased = sy.Claim(
    id="B14a",
    title="A length weighting is unbiased for every policy only if it is constant",
    statement=sy.Statement(
        setting=(
            r"$\hat g = \frac{1}{G} \sum_i A_i f(L_i) s_i$ with leave-one-out advantages; for the "
            r"weights a softmax over three answers of different lengths, every policy, and the "
            r"rewards (1, 0, 0) and (0, 1, 0)"
        ),
        forall={G: sy.whole(2)},
        given={"on policy": ON_POLICY},
        quantities={
            update: sy.Quantity(r"\mathrm{E}[\hat g]", "the expected update"),
            product: sy.Quantity(r"\mathrm{E}[r f(L) s]", "the mean of the weighted score times the reward"),
            level: sy.Quantity("J", "the expected reward"),
            score: sy.Quantity(
                r"\mathrm{E}[f(L) s]", "the mean of the weighted score, which need not be zero"
            ),
            f1: sy.Quantity("f_1", "the weight of answer 1"),
            f2: sy.Quantity("f_2", "of answer 2"),
            f3: sy.Quantity("f_3", "of answer 3"),
            first: sy.Quantity(
                "c_1",
                r"a cross product of $\mathrm{E}[\hat g]$ and $\nabla J$ for the rewards (1, 0, 0), "
                r"zero where they are parallel",
            ),
            second: sy.Quantity("c_2", "one for the rewards (0, 1, 0)"),
        },
        goals={
            "mean": sp.Eq(update, product - level * score),
            "only a constant": sp.Implies(
                sp.And(sp.Eq(first, 0), sp.Eq(second, 0)), sp.And(sp.Eq(f1, f2), sp.Eq(f2, f3))
            ),
            "a constant": sp.Implies(
                sp.And(sp.Eq(f1, f2), sp.Eq(f2, f3)), sp.And(sp.Eq(first, 0), sp.Eq(second, 0))
            ),
        },
    ),
    source=sy.Source(
        **SOURCE,
        says="a length weighting is unbiased only if it is constant",
        caveat=UNREAD,
    ),
    verdict="proved",
    scope="any rewards for the mean; policies over answers of at least two lengths, three answers at least "
    "for the direction",
    proof=(
        r"With $t = f(L) s$ in place of the score, index patterns give $\mathrm{E}[\hat g] = "
        r"\mathrm{E}[r t] - J\,\mathrm{E}[t]$ for every G. For a softmax over three answers the cross "
        r"product with $\nabla J$ for the rewards (1, 0, 0) is a positive number times "
        r"$f_2 - f_3$, and for (0, 1, 0) one times $f_1 - f_3$. So if both directions are kept, at "
        r"any one policy, all three weights agree; and if they agree, $\mathrm{E}[t] = 0$ and both "
        r"cross products vanish. "
        "The JAX objectives with f = 1 and f = 1/L on rollouts of one and two tokens have these means."
    ),
    finding=(
        r"$\mathrm{E}\hat g$ is $\nabla J$ plus the bias $\mathrm{E}[(r-J)(f(L)-1)s]$. A weighting "
        r"that is one constant on the correct and another on the wrong rollouts keeps the direction "
        r"of one binary prompt; one that differs among the wrong ones does not."
    ),
)


@unbiased.step(
    "The mean, any G", route="sympy", shows=r"index patterns with $t = f(L)s$, whose mean need not be zero"
)
def mean(others=1):
    R, T, RT = sp.symbols("R T RT")

    def moment(exponents):
        a, power = exponents.get("r", 0), exponents.get("t", 0)
        return sp.Integer(1) if (a, power) == (0, 0) else sp.Symbol(f"m{a}{power}", real=True)

    kinds = {R: {"r": 1}, T: {"t": 1}, RT: {"r": 1, "t": 1}}
    computed = sy.over_rollouts((RT - R * T / G) / (G - others), kinds, G, moment)
    values = {
        update: computed,
        product: moment({"r": 1, "t": 1}),
        level: moment({"r": 1}),
        score: moment({"t": 1}),
    }
    unbiased.goal("mean").holds(values)


def cross(vector, gradient):
    """The cross product of the two answers' entries that the task does not reward, and of the rewarded one."""
    return vector[0] * gradient[1] - vector[1] * gradient[0]


@unbiased.step(
    "Three answers force f to be constant",
    route="smt",
    shows="any chances x, y, 1-x-y: E[(r - J) f s] against the gradient, for both rewards",
)
def forced(tasks=TASKS):
    x, y = sp.symbols("x y", positive=True)
    pi, f = (x, y, 1 - x - y), (f1, f2, f3)
    found = []
    for rewards, (i, j) in zip(tasks, ((1, 2), (0, 2)), strict=True):
        J = sp.Add(*[c * r for c, r in zip(pi, rewards, strict=True)])
        # The scores of entry j: delta_ij - pi_j.
        pulled, slope = [
            [
                sp.Add(*[pi[n] * (rewards[n] - J) * w[n] * ((1 if n == m else 0) - pi[m]) for n in range(3)])
                for m in (i, j)
            ]
            for w in (f, (1, 1, 1))
        ]
        found.append(sp.factor(cross(pulled, slope)))
    values = {first: found[0], second: found[1], f1: f1, f2: f2, f3: f3}
    for goal in ("only a constant", "a constant"):
        unbiased.goal(goal).holds(values, where=[x + y < 1])


@unbiased.step(
    "All pairs of rollouts",
    route="enumeration",
    shows="chances 1/2, 1/3, 1/6 and 1/5, 1/5, 3/5, weights f symbolic, leave-one-out at G = 2 and 3",
)
def pairs(tasks=TASKS):
    for chances in (("1/2", "1/3", "1/6"), ("1/5", "1/5", "3/5")):
        for size in (2, 3):
            found = []
            for rewards, (i, j) in zip(tasks, ((1, 2), (0, 2)), strict=True):
                bandit = sy.SymbolicBandit(chances, rewards)
                weights = by_length((f1, f2, f3), rewards)
                pulled = sy.group_moments(bandit, size, weights, by_answer=True).mean
                found.append(cross([pulled[i], pulled[j]], [bandit.gradient[i], bandit.gradient[j]]))
                terms = list(
                    zip(bandit.probabilities, bandit.rewards, (f1, f2, f3), bandit.scores, strict=True)
                )
                values = {
                    update: pulled,
                    product: [sp.Add(*[c * r * w * s[m] for c, r, w, s in terms]) for m in range(3)],
                    score: [sp.Add(*[c * w * s[m] for c, _, w, s in terms]) for m in range(3)],
                    level: bandit.value,
                }
                unbiased.goal("mean").holds(values, at={G: size})
            values = {first: found[0], second: found[1], f1: f1, f2: f2, f3: f3}
            for goal in ("only a constant", "a constant"):
                unbiased.goal(goal).holds(values)


def by_length(f, rewards):
    """Leave-one-out weights times the answer's f, for groups given as answers."""

    def weights(answers):
        size = len(answers)
        values = [sp.sympify(rewards[n]) for n in answers]
        total = sp.Add(*values)
        return [(v - (total - v) / (size - 1)) / size * f[n] for v, n in zip(values, answers, strict=True)]

    return weights


def weighted(power):
    """Leave-one-out with every token of a rollout weighed by length ** power."""

    def rule(tokens, mask):
        lengths = mask.sum(-1)
        return (tokens.sum(-1) * lengths.astype(tokens.dtype) ** power).mean(-1).sum()

    return compose(advantage=advantage.leave_one_out, surrogate=surrogate.likelihood, aggregate=rule)


@unbiased.step(
    "Rollouts of one and two tokens",
    route="exact engine",
    shows=r"$f = 1$ and $1/L$ as JAX objectives, traced and in the engine, G = 2; only $f = 1$ has the "
    r"direction of grad J",
)
def policies(assumed=(0, -1)):
    rewards = (1, 0, 2)
    policy = completions("1/2", "1/3", rewards)
    rows = list(zip(policy.probabilities, policy.rewards, LENGTHS, policy.scores, strict=True))
    for power, claimed in zip((0, -1), assumed, strict=True):
        estimator = weighted(float(power))
        exact = sy.group_moments(policy, 2, sequence_weights(estimator, rewards), by_answer=True)
        values = {
            update: exact.mean,
            product: [
                sp.Add(*[c * r * s[m] * sp.Integer(n) ** claimed for c, r, n, s in rows]) for m in range(4)
            ],
            score: [sp.Add(*[c * s[m] * sp.Integer(n) ** claimed for c, _, n, s in rows]) for m in range(4)],
            level: policy.value,
        }
        unbiased.goal("mean").holds(values, at={G: 2})
        sy.note_engine(estimator)
        seen = sequence_engine(estimator, "1/2", "1/3", rewards, 2)
        floats = {**values, update: np.asarray(seen.mean).reshape(-1)}
        unbiased.goal("mean").holds(floats, at={G: 2}, tolerance=1e-11)
        parallel = abs(seen.cosine - 1) < 1e-12
        sy.require(parallel == (power == 0), f"f = L^{power}: cosine {seen.cosine}")


unbiased.sabotage("mean-centred without its factor", mean, others=0)
unbiased.sabotage(
    "one binary task only, which leaves the correct answer's weight free",
    forced,
    tasks=((1, 0, 0), (1, 0, 0)),
)
unbiased.sabotage("one task only in all pairs", pairs, tasks=((1, 0, 0), (1, 0, 0)))
unbiased.sabotage("1/L called constant", policies, assumed=(0, 0))


length = sp.Symbol("L", integer=True, positive=True)
token, square, size_a, size_b, weighed_a, weighed_b = sp.symbols("v S n_1 n_2 w_1 w_2", positive=True)

impossible = sy.Claim(
    id="B14b",
    title="Unbiased and length-neutral exclude each other if longer rollouts have longer scores",
    statement=sy.Statement(
        setting=(
            r"Neutral means that f(L) times the root mean square of the score is the same at all "
            r"lengths; f constant, which B14a asks for; tokens whose scores have the mean square v "
            r"given the past"
        ),
        forall={length: sy.whole(1)},
        given={
            "on policy": OUR_ON_POLICY,
            "longer scores": sy.Hypothesis(
                "the root mean square of the score differs between two lengths", sp.Ne(size_a, size_b), "ours"
            ),
        },
        quantities={
            size_a: sy.Quantity("n_1", "the root mean square of the score at one length"),
            size_b: sy.Quantity("n_2", "that at another"),
            weighed_a: sy.Quantity(
                "w_1", "the constant f times the root mean square of the score at one length"
            ),
            weighed_b: sy.Quantity("w_2", "the same f times that at another length"),
            square: sy.Quantity("S_L", "the mean square of the summed score of L tokens"),
            token: sy.Quantity("v", "the mean square of one token's score"),
        },
        goals={
            "not neutral": sp.Ne(weighed_a, weighed_b),
            "sizes add up": sp.Eq(square, length * token),
        },
    ),
    source=sy.Source(
        **SOURCE,
        relation="ours",
        says="no weighting is both unbiased and length-neutral; with f = 1 the share of a rollout is in "
        "proportion to its length",
        caveat=f"the shares take the size of the score in proportion to L; the abstract alone was read, and {UNREAD}",
    ),
    verdict="proved",
    scope="root-mean-square size of the sequence score for each length; any policy over tokens",
    proof=(
        r"A constant f multiplies two different sizes to two different sizes, so it is not neutral "
        r"unless the sizes agree. The score of a token has mean zero given the past, so it is "
        r"uncorrelated with the sum before it, and the mean square of the sum grows by v with every "
        r"token: "
        r"$S_L = L v$, a size of $\sqrt{L v}$. A policy with memory, all sequences listed, has "
        r"exactly this. A policy whose one- and two-token rollouts have scores of equal size shows "
        r"that the "
        "condition is needed: there a constant f is neutral too."
    ),
    finding=(
        r"With equal token scores the size grows like $\sqrt{L}$, so the neutral weighting is "
        r"$L^{-1/2}$ and the share of a rollout four times as long is 2, not 4. $1/L$ then "
        r"overcorrects. The size grows like L only if all tokens' scores point the same way."
    ),
)


@impossible.step("Neutral and constant", route="smt", shows="one factor, two sizes")
def excluded(power=0):
    f = sp.Symbol("f", positive=True)
    values = {
        weighed_a: f * size_a,
        weighed_b: f * size_b * (size_a / size_b) ** power,
        size_a: size_a,
        size_b: size_b,
    }
    impossible.goal("not neutral").holds(values)


@impossible.step(
    "Sizes add over tokens",
    route="sympy",
    shows=r"by induction: $\mathrm{E}[S s] = 0$ for the next token's score s",
)
def additive(correlation=0):
    impossible.goal("sizes add up").induction(
        length,
        start=1,
        base={square: token},
        step={square: square + 2 * correlation * token + token, token: token},
    )


def memory_square(count):
    """The mean square score of all sequences of this many tokens: the chance of a one is 2/3 after a one, else 1/3."""
    total = sp.Integer(0)
    for tokens in itertools.product((0, 1), repeat=count):
        chance, scores = sp.Integer(1), [sp.Integer(0), sp.Integer(0)]
        for previous, drawn in zip((0, *tokens[:-1]), tokens, strict=True):
            rate = sp.Rational(2, 3) if previous else sp.Rational(1, 3)
            chance *= rate if drawn else 1 - rate
            scores[previous] += drawn - rate
        total += chance * sp.Add(*[x * x for x in scores])
    return total


@impossible.step(
    "Two small policies",
    route="enumeration",
    shows="a token policy with memory, one logit for each state, 1 to 5 tokens; completions of 1 and 2 "
    "tokens at stop chance 1/5",
)
def listed(power=1, stop="1/5"):
    for count in range(1, 6):
        values = {square: memory_square(count), token: memory_square(1) * sp.Integer(count) ** (power - 1)}
        impossible.goal("sizes add up").holds(values, at={length: count})
    sizes = [sp.sqrt(x) for x in mean_squares(stop)]
    for f in (sp.Integer(1), sp.Rational(1, 7)):
        values = {weighed_a: f * sizes[0], weighed_b: f * sizes[1], size_a: sizes[0], size_b: sizes[1]}
        impossible.goal("not neutral").holds(values)


def mean_squares(stop):
    """The mean square scores of the completions of one and of two tokens."""
    policy = completions(stop, "1/2", (1, 0, 2))
    squares = [sp.Add(*[x * x for x in s]) for s in policy.scores]
    rates = policy.probabilities
    return squares[0], (rates[1] * squares[1] + rates[2] * squares[2]) / (1 - rates[0])


@impossible.counterexample(
    "The policy over completions (0), (1,0), (1,1) with stop chance x and a fair second token: the "
    "mean square score is 2(1-x)^2 for one "
    "token and 2x^2 + 1/2 for two, equal at x = 3/8: there f = 1 is unbiased (bias factor one in the "
    "engine) and neutral.",
    stop="3/8",
)
def neutral(stop="3/8"):
    one, two = map(sp.sqrt, mean_squares(stop))
    values = {weighed_a: one, weighed_b: two, size_a: one, size_b: two}
    impossible.goal("not neutral").fails(values, without="longer scores" if one == two else "")
    seen = sequence_engine(weighted(0.0), stop, "1/2", (1, 0, 2), 2)
    sy.require(abs(seen.cosine - 1) < 1e-12, f"the cosine is {seen.cosine}")
    sy.require(abs(seen.bias_factor - 1) < 1e-12, f"the bias factor is {seen.bias_factor}")


impossible.sabotage("a weighting by the size's inverse", excluded, power=1)
impossible.sabotage("token scores that agree", additive, correlation=1)
impossible.sabotage("a mean square that grows like the square", listed, power=2)
impossible.sabotage("another stop chance", neutral, stop="1/5")
