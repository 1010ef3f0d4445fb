"""B27: the two-batch-size estimators of the noise scale, and what dependent terms do to them."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

b, B = sp.symbols("b B", positive=True, integer=True)
signal_mean, noise_mean, square, trace, excess = sp.symbols("S T g2 v e", real=True)
group_signal, group_noise, oracle, price = sp.symbols("S_G T_G sigma_o Delta", real=True)
LEVELS = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])
SHARED = {
    square: sy.Quantity(r"\|G\|^2", "the squared norm of the true gradient"),
    trace: sy.Quantity(r"\mathrm{tr}\,\Sigma", "the trace of the covariance of one term"),
    excess: sy.Quantity(
        "e",
        (
            r"what $\mathrm{E}\|g_b\|^2$ has beyond $\|G\|^2 + \mathrm{tr}\,\Sigma / b$, from terms that "
            r"depend on each other"
        ),
    ),
    signal_mean: sy.Quantity(r"\mathrm{E}[S]", r"the mean of $S = (B \|g_B\|^2 - b \|g_b\|^2)/(B - b)$"),
    noise_mean: sy.Quantity(r"\mathrm{E}[T]", r"the mean of $T = (\|g_b\|^2 - \|g_B\|^2)/(1/b - 1/B)$"),
    group_signal: sy.Quantity(
        r"\mathrm{E}[S]", "the mean of S with groups of b and B rollouts for the batches"
    ),
    group_noise: sy.Quantity(r"\mathrm{E}[T]", "the mean of T with these groups"),
    oracle: sy.Quantity(r"\sigma_o^2", r"$\mathrm{tr}\,\mathrm{Cov}[(r - J) s]$, J the mean reward"),
    price: sy.Quantity(r"\Delta", r"$\mathrm{Var}(r) \mathrm{E}\|s\|^2 + \|G\|^2$"),
}

claim = sy.Claim(
    id="B27",
    title="The two-batch-size estimators of the squared gradient and of tr Sigma are unbiased",
    statement=sy.Statement(
        setting=r"Mean gradients $g_b$ and $g_B$ of batches of b and B terms, b smaller than B",
        forall={b: sy.whole(1), B: sy.whole(2)},
        given={
            "smaller": sy.Hypothesis("b is smaller than B", b < B),
            "independent terms": sy.Hypothesis(
                "the terms are independent draws from one law, which does not depend on the batch size",
                sp.Eq(excess, 0),
            ),
        },
        quantities=SHARED,
        goals={"squared gradient": sp.Eq(signal_mean, square), "trace": sp.Eq(noise_mean, trace)},
    ),
    instead=sy.Statement(
        setting=(
            "One prompt, on policy, any rewards: groups of b and B rollouts under leave-one-out, taken "
            "as the batches"
        ),
        forall={b: sy.whole(2), B: sy.whole(3)},
        given={"in order": sy.Hypothesis("b is smaller than B", b < B)},
        quantities=SHARED,
        goals={
            "squared gradient of groups": sp.Eq(group_signal, square - price / ((b - 1) * (B - 1))),
            "trace of groups": sp.Eq(group_noise, oracle + price * (b + B - 1) / ((b - 1) * (B - 1))),
        },
    ),
    source=sy.Source(
        "1812.06162",
        "v1",
        "Appendix A.1",
        says=(
            "both estimators from gradients at two batch sizes are given as unbiased, for examples drawn "
            "independently"
        ),
    ),
    verdict="proved",
    scope="any two batch sizes; for groups: leave-one-out with any rewards, every two group sizes",
    proof=(
        r"The mean of b independent terms has $\mathrm{E}\|g_b\|^2 = \|G\|^2 + \mathrm{tr}\,\Sigma/b$, by "
        r"index patterns. The two estimators solve this linear system at two batch sizes, so their means are "
        r"its unknowns. The rollouts of a group are no such terms, because each baseline holds the others' "
        r"rewards: leave-one-out has $\mathrm{E}\|\hat g\|^2 = \|G\|^2 + \frac{\sigma_o^2}{G} + "
        r"\frac{\Delta}{G(G-1)}$, again by index patterns, and the estimators then have the biases named. "
        r"Prompts (whole groups) are independent, and the engine gives both figures back for batches of "
        r"prompts."
    ),
    finding=(
        r"Counted in rollouts of one group, leave-one-out gives $\|g\|^2 - \frac{\Delta}{(b-1)(B-1)}$ and "
        r"$\sigma_o^2 + \Delta \frac{b + B - 1}{(b-1)(B-1)}$ in expectation, $\Delta = "
        r"\mathrm{Var}(r)\mathrm{E}\|s\|^2 + \|g\|^2$: the signal is underestimated, by more than itself at "
        r"$b = 2$, $B = 3$ when $\Delta > 2\|g\|^2$. Counted in prompts at a fixed group size both are "
        r"unbiased, for $\|\mathrm{E}\hat g\|^2$ and the group's variance."
    ),
)


def signal(small, big, low=b, high=B):
    return (high * big - low * small) / (high - low)


def noise(small, big, low=b, high=B):
    return (small - big) / (1 / sp.sympify(low) - 1 / sp.sympify(high))


@claim.step(
    "Independent terms, any batch sizes",
    route="sympy",
    shows=(
        r"$\mathrm{E}\|g_n\|^2 = \|G\|^2 + \mathrm{tr}\,\Sigma/n$ by index patterns, one component, and "
        r"both estimators"
    ),
)
def independent(shared=0):
    g, v, n, X = (
        sp.Symbol("g", real=True),
        sp.Symbol("v", positive=True),
        sp.Symbol("n", positive=True),
        sp.Symbol("X"),
    )
    table = {0: sp.Integer(1), 1: g, 2: v + g**2}
    second = sy.over_rollouts((X / n) ** 2, {X: {"x": 1}}, n, lambda e: table[e.get("x", 0)]) + shared * v
    small, big = (second.subs(n, size) for size in (b, B))
    values = {
        signal_mean: signal(small, big),
        noise_mean: noise(small, big),
        square: g**2,
        trace: v,
        excess: 0,
    }
    claim.goal("squared gradient").holds(values)
    claim.goal("trace").holds(values)


def group_second(size, mean_score=0):
    """E||ghat||^2 of leave-one-out at this size (one component), in the moments m_ab = E[r^a s^b]."""
    R, S, RS = sp.symbols("R S RS")
    names = {(i, j): sp.Symbol(f"m{i}{j}", real=True) for i in range(3) for j in range(3)}
    names |= {(0, 0): sp.Integer(1), (0, 1): sp.sympify(mean_score)}
    estimator = (size * RS - R * S) / (size * (size - 1))
    sums = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}
    return names, sy.over_rollouts(estimator**2, sums, size, lambda e: names[e.get("r", 0), e.get("s", 0)])


@claim.step(
    "Rollouts of a group, any sizes",
    route="sympy",
    shows=r"leave-one-out: $\mathrm{E}\|\hat g\|^2$ by index patterns, put into both estimators",
)
def dependent(mean_score=0):
    (m, small), (_, big) = group_second(b, mean_score), group_second(B, mean_score)
    g = m[1, 1]
    values = {
        group_signal: signal(small, big),
        group_noise: noise(small, big),
        square: g**2,
        oracle: m[2, 2] - 2 * m[1, 0] * m[1, 2] + m[1, 0] ** 2 * m[0, 2] - g**2,
        price: (m[2, 0] - m[1, 0] ** 2) * m[0, 2] + g**2,
    }
    claim.goal("squared gradient of groups").holds(values)
    claim.goal("trace of groups").holds(values)


def exact_figures():
    """(squared gradient, sigma_o^2, Delta) of the bandit."""
    rows = list(zip(LEVELS.probabilities, LEVELS.rewards, LEVELS.scores, strict=True))
    norms = [sum(x * x for x in s) for _, _, s in rows]
    size = sum(x * x for x in LEVELS.gradient)
    inner = sum(c * (r - LEVELS.value) ** 2 * n for (c, r, _), n in zip(rows, norms, strict=True)) - size
    spread = sum(c * (r - LEVELS.value) ** 2 for c, r, _ in rows)
    return size, inner, spread * sum(c * n for (c, _, _), n in zip(rows, norms, strict=True)) + size


@claim.step(
    "Independent rollouts and groups, in rationals",
    route="enumeration",
    shows=(
        "REINFORCE's rollouts, whose terms are independent, at 1, 2, 3; groups of RLOO at 2, 3, 4: all "
        "groups of a bandit"
    ),
)
def enumerated(name="reinforce", grouped="rloo"):
    size, inner, cost = exact_figures()
    seconds = {n: sy.group_moments(LEVELS, n, sy.weights_of(catalogue.get(name))).second for n in (2, 3)}
    single = sy.group_moments(LEVELS, 1, lambda r: r)
    seconds[1] = single.second
    for low, high in ((1, 2), (1, 3), (2, 3)):
        small, big = seconds[low], seconds[high]
        values = {
            signal_mean: signal(small, big, low, high),
            noise_mean: noise(small, big, low, high),
            square: size,
            trace: single.trace_cov,
            excess: 0,
        }
        for goal in ("squared gradient", "trace"):
            claim.goal(goal).holds(values, at={b: low, B: high})
    seconds = {
        n: sy.group_moments(LEVELS, n, sy.weights_of(catalogue.get(grouped))).second for n in (2, 3, 4)
    }
    for low, high in itertools.combinations((2, 3, 4), 2):
        small, big = seconds[low], seconds[high]
        values = {
            group_signal: signal(small, big, low, high),
            group_noise: noise(small, big, low, high),
            square: size,
            oracle: inner,
            price: cost,
        }
        for goal in ("squared gradient of groups", "trace of groups"):
            claim.goal(goal).holds(values, at={b: low, B: high})


@claim.step(
    "Prompts as the terms",
    route="exact engine",
    shows=(
        "two bandits, leave-one-out at G = 2: batches of one and of three prompts give back the signal "
        "and one prompt's variance"
    ),
)
def prompts(high=3):
    bandits = [LEVELS, sy.SymbolicBandit(["1/4", "1/4", "1/2"], [1, 0, 2])]
    first, three = (sy.engine(catalogue.get("rloo"), bandits, 2, prompts=q) for q in (1, 3))
    small, big = (float(m.signal + m.trace_cov) for m in (first, three))
    values = {
        signal_mean: float(signal(small, big, 1, high)),
        noise_mean: float(noise(small, big, 1, high)),
        square: float(first.true_signal),
        trace: float(first.trace_cov),
        excess: 0,
    }
    for goal in ("squared gradient", "trace"):
        claim.goal(goal).holds(values, at={b: 1, B: high}, tolerance=1e-11)


def as_batches(name):
    """The quantities where groups of 2 and 3 rollouts of a shipped estimator are taken as the batches."""
    weights = sy.weights_of(catalogue.get(name))
    moments = [sy.group_moments(LEVELS, size, weights) for size in (2, 3)]
    size = sum(x * x for x in LEVELS.gradient)
    one_term = sy.group_moments(LEVELS, 2, lambda r: (2 * weights(r)[0], 0))  # the first rollout's term alone
    return moments, {
        signal_mean: signal(moments[0].second, moments[1].second, 2, 3),
        square: size,
        trace: one_term.trace_cov,
        excess: moments[0].second - size - one_term.trace_cov / 2,
    }


@claim.counterexample(
    r"RLOO's groups of 2 and 3 as batches of 2 and 3: the mean of S is $\|g\|^2 - \Delta/2$, below zero, in "
    r"rationals; the engine has the same second moments.",
    pi="(1/2, 1/3, 1/6)",
    rewards="(0, 1, 5/2)",
)
def groups(name="rloo"):
    moments, values = as_batches(name)
    without = "independent terms" if values[excess] != 0 else ""
    claim.goal("squared gradient").fails(values, at={b: 2, B: 3}, without=without)
    sy.require(values[signal_mean] < 0 < values[square], "a negative estimate of a squared length")
    sy.engines_agree(sy.engine(catalogue.get("rloo"), LEVELS, 3), moments[1], "leave-one-out")
    return sy.Exhibit(text=f"estimate {values[signal_mean]}, squared gradient {values[square]}")


@claim.counterexample(
    "Dr. GRPO's groups of 2 and 3: their mean moves with the group size, and S misses the squared gradient.",
    pi="(1/2, 1/3, 1/6)",
    rewards="(0, 1, 5/2)",
)
def moving(name="dr_grpo"):
    moments, values = as_batches(name)
    sy.require(moments[0].mean != moments[1].mean, "the mean depends on the group size")
    claim.goal("squared gradient").fails(values, at={b: 2, B: 3}, without="independent terms")


claim.sabotage("a part of the variance that all terms share", independent, shared=1)
claim.sabotage("off policy", dependent, mean_score=sp.Rational(1, 3))
claim.sabotage("leave-one-out's dependent terms", enumerated, name="rloo")
claim.sabotage("REINFORCE's groups", enumerated, grouped="reinforce")
claim.sabotage("rollouts counted for prompts in one of the two", prompts, high=6)
claim.sabotage("REINFORCE's independent terms", groups, name="reinforce")
claim.sabotage("leave-one-out, whose mean stays", moving, name="rloo")
