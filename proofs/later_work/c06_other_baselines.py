"""C6: does the two-rollout trick serve other baselines? (Our own question.)"""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

G, N = (sp.Symbol(name, integer=True, positive=True) for name in "GN")
fixed_variance, single, pair_variance = sp.symbols("V V1 L", positive=True)
between, fixed_part, value_part, delta = sp.symbols("sigma2 v_b v_J Delta", nonnegative=True)
fixed_slope, group_slope = sp.symbols("c_f c_g", real=True)

claim = sy.Claim(
    id="C6",
    title="Two rollouts per prompt serve only the baselines that are made of the group",
    statement=sy.Statement(
        setting=(
            "Independent prompts with G rollouts each, N rollouts in all, on policy, whole rollouts; a "
            "baseline fixed by prompt and parameters (greedy, value, best constant) against leave-one-out"
        ),
        forall={G: sy.whole(1), N: sy.whole(1)},
        given={
            "good enough": sy.Hypothesis(
                r"the fixed baseline has $v_b < v_J + \Delta$, as the best constant and the value do",
                sp.Lt(fixed_part, value_part + delta),
                stated_by="ours",
            )
        },
        quantities={
            fixed_slope: sy.Quantity(
                "c_f", "what a reward adds to the other rollout's weight in a pair, with a fixed baseline"
            ),
            group_slope: sy.Quantity("c_g", "the same with a baseline made of the group"),
            fixed_variance: sy.Quantity("V_G", "the variance with a fixed baseline and groups of G"),
            single: sy.Quantity("V_1", "the same with one rollout per prompt"),
            pair_variance: sy.Quantity("L_2", "the variance of leave-one-out in pairs"),
            between: sy.Quantity(r"\sigma_b^2", "the variance of the prompts' gradients"),
            fixed_part: sy.Quantity(
                "v_b", r"$\mathrm{E}\|(r - b) s\|^2 - \mathrm{E}\|g_x\|^2$, averaged over prompts"
            ),
            value_part: sy.Quantity("v_J", "the same with each prompt's expected reward as b"),
            delta: sy.Quantity(
                r"\Delta",
                r"$\mathrm{E}[\mathrm{Var}(r|x)\, \mathrm{E}\|s\|^2 + \|g_x\|^2]$, averaged over prompts",
            ),
        },
        ranges={"contrast": ()},
        goals={
            "contrast": sp.And(sp.Eq(fixed_slope, 0), sp.Lt(group_slope, 0)),
            "fixed baseline": sp.Eq(fixed_variance, (G * between + fixed_part) / N),
            "pairs": sp.Eq(pair_variance, (2 * between + value_part + delta) / N),
            "one is best": sp.Le(single, fixed_variance),
            "below a pair": sp.Lt(single, pair_variance),
        },
    ),
    source=sy.Source(
        "this project",
        relation="ours",
        says="a question that the minimal group raises; no source claims the statement",
    ),
    verdict="proved",
    scope=(
        "all laws of prompt, reward and score, every G for a fixed baseline; cost counted in rollouts alone: "
        "no price on a prompt, none on the baseline (a greedy rollout, a critic)"
    ),
    proof=(
        "With a fixed baseline a rollout's weight does not know the other rewards, so given the prompt the G "
        r"terms are independent: a group's variance is $(v_b)/G$ within and $\sigma_b^2$ between prompts, and "
        r"N/G groups give $(G \sigma_b^2 + v_b)/N$, least at G = 1. A leave-one-out pair has $(v_J + \Delta)/2$ "
        r"within, by counting index patterns, so N/2 of them give $(2 \sigma_b^2 + v_J + \Delta)/N$. That is "
        r"above $\sigma_b^2 + v_b$ when $v_b < v_J + \Delta$; a bad fixed baseline breaks it. Two prompts of "
        "other composition confirm all of it exactly."
    ),
    finding=(
        r"The trick is about one thing only: the smallest group that still contains a comparison. "
        r"With a critic or a stored pass rate, one rollout per prompt is better still, by "
        r"$\sigma_b^2 + \Delta + (v_J - v_b)$ per rollout. "
        r"A batch-wide baseline (REINFORCE++) also works with $G = 1$ (B18c). With a price per "
        r"prompt the best G moves up for all of them."
    ),
)
TWO = [
    sy.SymbolicBandit(["1/2", "1/3", "1/6"], [1, 0, "-1/2"]),
    sy.SymbolicBandit(["1/10", "1/5", "7/10"], [1, "1/2", 0]),
]


def slopes(names):
    """What the second reward adds to the first rollout's weight, in a pair with all rewards in symbols."""
    b = sp.Symbol("b", real=True)
    rollouts = sy.symbolic_group(2, (1, 2), on_policy=True, greedy_rewards=[b], baseline=[b])
    second = rollouts.rewards.reshape(-1)[1]
    return [sp.diff(rollouts.weights(catalogue.get(name))[0, 0, 0], second) for name in names]


@claim.step(
    "Which baselines contrast a pair",
    route="traced code",
    shows=(
        "rloo and dr_grpo against remax, given constants and REINFORCE, rewards in symbols, rollouts of one "
        "and two tokens"
    ),
)
def contrasts(group_made=("rloo", "dr_grpo"), fixed=("remax", "reinforce_best_constant", "reinforce")):
    group, alone = slopes(group_made), slopes(fixed)
    for c in group:
        claim.goal("contrast").holds({fixed_slope: alone, group_slope: c})


@claim.step(
    "Rewards exchanged",
    route="enumeration",
    shows=(
        "pairs of three reward levels: the first weight at two values of the other reward, rloo and dr_grpo, "
        "and REINFORCE"
    ),
)
def exchanged(group_made=("rloo", "dr_grpo"), fixed="reinforce"):
    levels = [sp.Integer(0), sp.Integer(1), sp.Rational(5, 2)]
    for name in group_made:
        weights, alone = sy.weights_of(catalogue.get(name)), sy.weights_of(catalogue.get(fixed))
        for r in levels:
            for low, high in ((levels[0], levels[1]), (levels[1], levels[2])):
                rise = [(w((r, high))[0] - w((r, low))[0]) / (high - low) for w in (alone, weights)]
                claim.goal("contrast").holds({fixed_slope: rise[0], group_slope: rise[1]})


def batch_variance(within, size):
    """The variance of N rollouts: N/size groups of a variance within, and the prompts' own spread."""
    return (between + within) * size / N


@claim.step(
    "Any G, by index patterns",
    route="sympy",
    shows=r"$\frac{1}{G} \sum_i (r_i - b) s_i$ and the leave-one-out pair given the prompt; then N/G prompts",
)
def by_patterns(others=1, spread=1):
    X, R, S, RS = sp.symbols("X R S RS")  # sums over the group: of (r - b) s, of r, s and r s
    g, second = sp.Symbol("g", real=True), sp.Symbol("M", positive=True)
    table = {0: sp.Integer(1), 1: g, 2: second}
    within = sy.over_rollouts((X / G) ** 2, {X: {"x": 1}}, G, lambda e: table[e.get("x", 0)]) - g**2
    variance = batch_variance(within, G**spread)
    claim.goal("fixed baseline").holds(
        {fixed_variance: variance, between: between, fixed_part: second - g**2}
    )

    # Rewards about their mean: r has mean zero, variance v; E[r s] = g, E[s^2] = n, E[r^2 s^2] = m.
    v, n, m = sp.symbols("v n m", positive=True)
    moments = {(0, 0): 1, (1, 0): 0, (0, 1): 0, (1, 1): g, (2, 0): v, (0, 2): n, (2, 2): m}
    pair = (RS - others * (R * S - RS)) / 2
    sums = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}

    def moment(e):
        a, b = e.get("r", 0), e.get("s", 0)
        return sp.sympify(moments[a, b]) if (a, b) in moments else sp.Symbol(f"m{a}{b}", real=True)

    within = sy.over_rollouts(pair**2, sums, sp.Integer(2), moment) - g**2
    values = {
        pair_variance: batch_variance(within, 2),
        between: between,
        value_part: m - g**2,
        delta: v * n + g**2,
    }
    claim.goal("pairs").holds(values)


def parts(bandits, baselines):
    """The parts of the variance, averaged over prompts with parameters of their own."""
    count = sp.Integer(len(bandits))
    shares = {between: 0, fixed_part: 0, value_part: 0, delta: 0}
    for bandit, b in zip(bandits, baselines, strict=True):
        rows = [
            (c, r, sum(x * x for x in s))
            for c, r, s in zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True)
        ]
        square = sum(x * x for x in bandit.gradient)
        shares[between] += square / count - square / count**2
        shares[fixed_part] += (sum(c * n * (r - b) ** 2 for c, r, n in rows) - square) / count
        shares[value_part] += (sum(c * n * (r - bandit.value) ** 2 for c, r, n in rows) - square) / count
        spread = sum(c * (r - bandit.value) ** 2 for c, r, _ in rows)
        shares[delta] += (spread * sum(c * n for c, _, n in rows) + square) / count
    return shares


def best_constant(bandit):
    norms = [sum(x * x for x in s) for s in bandit.scores]
    rows = list(zip(bandit.probabilities, bandit.rewards, norms, strict=True))
    return sum(c * r * n for c, r, n in rows) / sum(c * n for c, _, n in rows)


def one_prompt(moments):
    """The variance of one group, its prompt drawn evenly, every prompt with parameters of its own."""
    count = sp.Integer(len(moments))
    return (
        sum(m.second for m in moments) / count - sum(sum(x * x for x in m.mean) for m in moments) / count**2
    )


def constant_weights(b):
    return lambda rewards: [(r - b) / sp.Integer(len(rewards)) for r in rewards]


@claim.step(
    "Two prompts",
    route="enumeration",
    shows=(
        "three reward levels, all groups: the best constant at G = 1, 2, 3 and the shipped leave-one-out in "
        "pairs, N = G"
    ),
)
def two_prompts(name="rloo"):
    constants = [best_constant(bandit) for bandit in TWO]
    shares = parts(TWO, constants)
    by_size = {}
    for size in (1, 2, 3):
        by_size[size] = one_prompt(
            [sy.group_moments(x, size, constant_weights(b)) for x, b in zip(TWO, constants, strict=True)]
        )
        values = {fixed_variance: by_size[size], between: shares[between], fixed_part: shares[fixed_part]}
        claim.goal("fixed baseline").holds(values, at={G: size, N: size})
        # At the same N the variance of groups of `size` is size times that of one group.
        claim.goal("one is best").holds(
            {single: by_size[1], fixed_variance: size * by_size[size]}, at={G: size}
        )
    pair = one_prompt([sy.group_moments(x, 2, sy.weights_of(catalogue.get(name))) for x in TWO])
    rest = {x: shares[x] for x in (between, value_part, delta)}
    claim.goal("pairs").holds({pair_variance: pair, **rest}, at={N: 2})
    claim.goal("below a pair").holds({single: by_size[1], pair_variance: 2 * pair})
    return sy.Exhibit(text=f"per rollout: best constant {by_size[1]}, leave-one-out pair {2 * pair}")


@claim.step(
    "One rollout is best, and beats a pair",
    route="smt",
    shows=(
        r"$(\sigma_b^2 + v_b)/N$ against $(G \sigma_b^2 + v_b)/N$, $G \ge 1$, and against $(2 \sigma_b^2 + v_J "
        r"+ \Delta)/N$"
    ),
)
def compared(prompt_price=0):
    alone = (between + fixed_part + prompt_price) / N
    claim.goal("one is best").holds({single: alone, fixed_variance: (G * between + fixed_part) / N})
    claim.goal("below a pair").holds(
        {
            single: alone,
            pair_variance: (2 * between + value_part + delta) / N,
            fixed_part: fixed_part,
            value_part: value_part,
            delta: delta,
        }
    )


@claim.step(
    "The engine, two prompts",
    route="exact engine",
    shows="reinforce_best_constant at G = 1 and 2 and rloo in pairs: variances per rollout in this order",
)
def engines(order=(("reinforce_best_constant", 1), ("reinforce_best_constant", 2), ("rloo", 2))):
    first, middle, last = (size * sy.engine(catalogue.get(name), TWO, size).trace_cov for name, size in order)
    claim.goal("one is best").holds({single: first, fixed_variance: middle}, at={G: 2}, tolerance=1e-9)
    claim.goal("below a pair").holds({single: first, pair_variance: last}, tolerance=1e-9)
    return sy.Exhibit(text=f"{first:.5f}, {middle:.5f}, {last:.5f}")


@claim.counterexample(
    "A fixed baseline of 3 for rewards up to 1: one rollout per prompt has more variance than leave-one-out pairs.",
    b=3,
)
def bad_baseline(b=3):
    shares = parts(TWO, [b, b])
    alone = one_prompt([sy.group_moments(x, 1, constant_weights(b)) for x in TWO])
    pair = one_prompt([sy.group_moments(x, 2, sy.weights_of(catalogue.get("rloo"))) for x in TWO])
    values = {
        single: alone,
        pair_variance: 2 * pair,
        **{x: shares[x] for x in (fixed_part, value_part, delta)},
    }
    without = "good enough" if shares[fixed_part] >= shares[value_part] + shares[delta] else ""
    claim.goal("below a pair").fails(values, at={G: 1, N: 2}, without=without)


claim.sabotage("a greedy baseline among those made of the group", contrasts, group_made=("rloo", "remax"))
claim.sabotage("leave-one-out among the fixed ones", exchanged, fixed="rloo")
claim.sabotage("the between-prompt part once", by_patterns, spread=0)
claim.sabotage("half of the other reward", by_patterns, others=sp.Rational(1, 2))
claim.sabotage("the group mean for leave-one-out", two_prompts, name="dr_grpo")
claim.sabotage("a price on each prompt", compared, prompt_price=1)
claim.sabotage(
    "the order turned round",
    engines,
    order=(("rloo", 2), ("reinforce_best_constant", 2), ("reinforce_best_constant", 1)),
)
claim.sabotage("the best constant's size", bad_baseline, b=sp.Rational(1, 4))
