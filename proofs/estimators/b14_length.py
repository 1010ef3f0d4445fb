"""B14: length weightings f(L): which are unbiased, which are length-neutral, and what "neutral" assumes."""

import itertools

import sympy as sp
from _stopping import LENGTHS, completions, sequence_engine

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, surrogate

SOURCE = sy.Source(
    "2607.23364",
    "",
    "the impossibility theorem; read in the abstract of viXra 2605.0117, which has its title and statement (2607.23364 itself was not at hand)",
)

unbiased = sy.Claim(
    id="B14a",
    title="A length weighting is unbiased for every policy only if it is constant",
    statement=r"$\frac{1}{G} \sum_i A_i f(L_i) s_i$ with leave-one-out advantages has the direction of $\nabla J$ for every policy and reward iff f takes one value on all lengths that occur.",
    source=SOURCE,
    verdict="proved",
    scope="every G >= 2 (symbolic), any rewards; policies over answers of at least two lengths, three answers at least for the direction",
    finding=r"$\mathrm{E}\hat g = \mathrm{E}[(r - J) f(L) s]$ is $\nabla J$ plus the bias $\mathrm{E}[(r-J)(f(L)-1)s]$. A weighting that is one constant on the correct and another on the wrong rollouts keeps the direction of one binary prompt; one that differs among the wrong ones does not.",
)


@unbiased.step(
    "The mean, any G",
    route="sympy",
    shows=r"index patterns with $t = f(L)s$, whose mean need not be zero: $\mathrm{E}\hat g = \mathrm{E}[rt] - J\,\mathrm{E}t$",
)
def mean(sampled=1):
    G = sp.Symbol("G", positive=True)
    R, T, RT = sp.symbols("R T RT")

    def moment(exponents):
        a, b = exponents.get("r", 0), exponents.get("t", 0)
        return sp.Integer(1) if (a, b) == (0, 0) else sp.Symbol(f"m{a}{b}", real=True)

    computed = sy.over_rollouts(
        (RT - R * T / G) / (G - sampled), {R: {"r": 1}, T: {"t": 1}, RT: {"r": 1, "t": 1}}, G, moment
    )
    sy.equal(computed, moment({"r": 1, "t": 1}) - moment({"r": 1}) * moment({"t": 1}), "the mean")


@unbiased.step(
    "Three answers force f to be constant",
    route="sympy",
    shows=r"softmax over three answers with weights $f_1, f_2, f_3$ and chances $x, y, 1-x-y$: the cross products with $\nabla J$ for the rewards $(1, 0, 0)$ and $(0, 1, 0)$ vanish for all chances only if $f_1 = f_2 = f_3$",
)
def forced(tasks=((1, 0, 0), (0, 1, 0))):
    x, y = sp.symbols("pi1 pi2", positive=True)
    f = sp.symbols("f1:4", real=True)
    pi = (x, y, 1 - x - y)
    scores = [[(1 if i == j else 0) - pi[j] for j in range(3)] for i in range(3)]
    conditions = set()
    for rewards in tasks:
        J = sp.Add(*[c * r for c, r in zip(pi, rewards, strict=True)])
        update = [
            sp.Add(*[pi[i] * (rewards[i] - J) * f[i] * scores[i][j] for i in range(3)]) for j in range(3)
        ]
        gradient = [sp.Add(*[pi[i] * rewards[i] * scores[i][j] for i in range(3)]) for j in range(3)]
        for i, j in ((0, 1), (0, 2), (1, 2)):
            cross = sp.expand(update[i] * gradient[j] - update[j] * gradient[i])
            conditions |= set(sp.Poly(cross, x, y).coeffs())
    (solution,) = sp.solve(list(conditions), f, dict=True)
    for a, b in ((0, 1), (1, 2)):
        sy.equal(f[a].subs(solution), f[b].subs(solution), "the weights agree")


def weighted(power):
    """Leave-one-out with every token of a rollout weighed by length ** power."""

    def rule(tokens, mask):
        lengths = mask.sum(-1)
        return (tokens.sum(-1) * lengths.astype(tokens.dtype) ** power).mean(-1).sum()

    return compose(advantage=advantage.leave_one_out, surrogate=surrogate.likelihood, aggregate=rule)


def by_length(power, rewards):
    """Exact weights of ``weighted`` for groups given as answers."""

    def weights(answers):
        size = len(answers)
        values = [sp.sympify(rewards[k]) for k in answers]
        total = sum(values)
        return [
            (v - (total - v) / (size - 1)) / size * sp.Integer(LENGTHS[k]) ** power
            for v, k in zip(values, answers, strict=True)
        ]

    return weights


@unbiased.step(
    "Completions of 1, 2 and 2 tokens",
    route="exact engine",
    shows=r"$f = 1$ and $L^{-1}$ as JAX objectives: only $f = 1$ has cosine one with grad J; moments equal the rationals'",
)
def policies(neutral=0):
    rewards = (1, 0, 2)
    for power in (0, -1):
        exact = sy.group_moments(
            completions("1/2", "1/3", rewards), 2, by_length(power, rewards), by_answer=True
        )
        seen = sequence_engine(weighted(float(power)), "1/2", "1/3", rewards, 2)
        sy.engines_agree(seen, exact, f"f = L^{power}")
        sy.require(
            (abs(seen.cosine - 1) < 1e-12) == (power == neutral), f"f = L^{power}: cosine {seen.cosine}"
        )


unbiased.sabotage("mean-centred without its factor", mean, sampled=0)
unbiased.sabotage(
    "one binary task only, which leaves the correct answer's weight free", forced, tasks=((1, 0, 0),)
)
unbiased.sabotage("1/L called unbiased", policies, neutral=-1)


impossible = sy.Claim(
    id="B14b",
    title="Unbiased and length-neutral exclude each other only if longer rollouts have longer scores; the published shares assume in proportion",
    statement=r"No f is both unbiased and length-neutral, where neutral means that $f(L)\,\|s\|$ does not depend on the length; with $f = 1$ a rollout of length $cL$ has c times the share of one of length L.",
    source=SOURCE,
    verdict="conditional",
    scope="root-mean-square size of the sequence score for each length; any policy over tokens",
    hypotheses=(
        r"the size of the score differs between lengths",
        r"for the shares: $\|s\|$ in proportion to L, that is per-token scores that point the same way",
    ),
    finding=(
        r"Scores of tokens are uncorrelated given the past, so $\mathrm{E}\|s\|^2$ adds up over tokens: with equal token scores the size grows like $\sqrt{L}$, the neutral weighting is $L^{-1/2}$ and the share of a rollout four times as long is 2, not 4. "
        r"$1/L$ then overcorrects."
    ),
)


@impossible.step(
    "Neutral and unbiased",
    route="smt",
    shows=r"constant f and $f_1 n_1 = f_2 n_2$ with sizes $n_1, n_2 > 0$ force $n_1 = n_2$",
)
def excluded(assumed=True):
    f, n1, n2 = sp.symbols("f n1 n2", positive=True)
    assumptions = [sp.Ne(n1, n2)] if assumed else []
    sy.require(sy.smt_valid(assumptions, sp.Ne(f * n1, f * n2)), "a constant f is not neutral")


@impossible.step(
    "Sizes add over tokens",
    route="sympy",
    shows=r"$\mathrm{E}[s_t s_u] = \mathrm{E}[s_t\, \mathrm{E}[s_u | \mathrm{past}]] = 0$ for $t < u$: with L tokens of variance v (independent ones by index patterns) $\mathrm{E}s^2 = Lv$, against $L^2 v$ if they all agree",
)
def additive(power=1):
    L, v = sp.symbols("L v", positive=True)
    S = sp.Symbol("S")
    moment = lambda e: {0: sp.Integer(1), 1: sp.Integer(0), 2: v}[e.get("s", 0)]  # noqa: E731
    sy.equal(sy.over_rollouts(S**2, {S: {"s": 1}}, L, moment), L**power * v, "the mean square of a sum")


@impossible.step(
    "A token policy with memory",
    route="enumeration",
    shows="all sequences of 1 to 5 tokens, the chance of a one after a one is 2/3 and else 1/3, one shared logit each: the mean square score is exactly 2L/9",
)
def memory(power=1):
    def mean_square(length):
        total = sp.Integer(0)
        for tokens in itertools.product((0, 1), repeat=length):
            chance, score = sp.Integer(1), [sp.Integer(0), sp.Integer(0)]
            for previous, token in zip((0, *tokens[:-1]), tokens, strict=True):
                q = sp.Rational(2, 3) if previous else sp.Rational(1, 3)
                chance *= q if token else 1 - q
                score[previous] += token - q
            total += chance * sp.Add(*[x * x for x in score])
        return total

    values = [mean_square(n) for n in range(1, 6)]
    for n, value in enumerate(values, start=1):
        sy.equal(value, sp.Rational(2, 9) * n**power, f"the mean square score at length {n}")
    return sy.Exhibit(text=f"mean squares: {', '.join(map(str, values))}")


@impossible.counterexample(
    "The policy over completions (0), (1,0), (1,1) with stop chance x and a fair second token: the mean square score is 2(1-x)^2 for one token and 2x^2 + 1/2 for two, equal at x = 3/8: there f = 1 is unbiased (bias factor one in the engine) and neutral.",
    stop="3/8",
)
def neutral(stop="3/8"):
    rewards = (1, 0, 2)
    policy = completions(stop, "1/2", rewards)
    sizes = [sp.Add(*[x * x for x in s]) for s in policy.scores]
    pair = (policy.probabilities[1] * sizes[1] + policy.probabilities[2] * sizes[2]) / (
        1 - policy.probabilities[0]
    )
    sy.equal(sizes[0], pair, "the mean square score of one and of two tokens")
    seen = sequence_engine(weighted(0.0), stop, "1/2", rewards, 2)
    sy.require(abs(seen.cosine - 1) < 1e-12, f"the cosine is {seen.cosine}")
    sy.require(abs(seen.bias_factor - 1) < 1e-12, f"the bias factor is {seen.bias_factor}")


impossible.sabotage("sizes that agree", excluded, assumed=False)
impossible.sabotage("token scores that add in length", additive, power=2)
impossible.sabotage("a mean square that grows like the square", memory, power=2)
impossible.sabotage("another stop chance", neutral, stop="1/5")
