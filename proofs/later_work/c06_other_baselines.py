"""C6: does the two-rollout trick serve other baselines? (Our own question.)"""

from itertools import pairwise

import sympy as sp
from _short_sequences import less

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="C6",
    title="Two rollouts per prompt serve only the baselines that are made of the group",
    statement=(
        r"A baseline fixed by prompt and parameters (greedy, value, best constant) makes no "
        r"contrast at $G = 2$ and needs no second rollout: at N rollouts its variance is "
        r"$\frac{1}{N}[G \sigma_b^2 + V_b]$, least at $G = 1$. "
        r"Leave-one-out needs a pair and then has $\frac{1}{N}[2\sigma_b^2 + V_J + \Delta]$: more "
        r"than any fixed baseline with $V_b \le V_J + \Delta$ at $G = 1$, the best constant above "
        r"all."
    ),
    source=sy.Source("this project", "", "a question of the ledger, raised by 2510.00977"),
    verdict="proved",
    ours=True,
    scope=(
        r"all laws of prompt, reward and score, every G; $V_b = \mathrm{E}\|(r-b)s\|^2 - "
        r"\mathrm{E}\|g_x\|^2$ averaged over prompts, $V_J$ with $b = J_x$, $\Delta = "
        r"\mathrm{E}[\mathrm{Var}(r|x) \mathrm{E}\|s\|^2 + \|g_x\|^2] > 0$; cost counted in rollouts "
        r"alone"
    ),
    hypotheses=(
        "independent prompts, on policy, unclipped, sequence scores",
        "no price on a prompt and none on the baseline itself (a greedy rollout, a critic)",
    ),
    finding=(
        r"The trick is about one thing only: the smallest group that still contains a comparison. "
        r"With a critic or a stored pass rate, one rollout per prompt is better still, by "
        r"$\sigma_b^2 + \Delta + (V_J - V_b)$ per rollout. "
        r"A batch-wide baseline (REINFORCE++) also works with $G = 1$ (B18c). With a price per "
        r"prompt the best G moves up for all of them."
    ),
)
TWO = [sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])]


@claim.step(
    "Which baselines contrast a pair",
    route="traced code",
    shows=(
        r"at G = 2, Q = 1 the weights of rloo, dr_grpo are $\pm$ the gap; those of remax and given "
        r"constants are not opposite, and one rollout's weight does not know the other's reward"
    ),
)
def contrasts(group_made=("rloo", "dr_grpo"), fixed=("remax", "reinforce_best_constant", "reinforce")):
    b = sp.Symbol("b", real=True)
    rollouts = sy.symbolic_group(2, on_policy=True, greedy_rewards=[b], baseline=[b])
    _r1, r2 = rollouts.rewards.reshape(-1)
    for name in group_made:
        first, right = rollouts.weights(catalogue.get(name)).reshape(-1)
        sy.equal(first + right, 0, f"{name} contrasts")
        sy.require(sp.simplify(sp.diff(first, r2)) != 0, f"{name} compares")
    for name in fixed:
        first, right = rollouts.weights(catalogue.get(name)).reshape(-1)
        sy.require(sp.simplify(first + right) != 0 and sp.diff(first, r2) == 0, f"{name} does not")


@claim.step(
    "A fixed baseline at any G",
    route="sympy",
    shows=(
        r"given the prompt the G terms are independent: $\frac{1}{G}[\mathrm{E}\|(r-b)s\|^2 - "
        r"\|g\|^2]$ within; over $Q = N/G$ prompts $\frac{1}{N}[G\sigma_b^2 + V_b]$"
    ),
)
def fixed_baseline(self_term=False):
    G, N = sp.symbols("G N", positive=True, integer=True)
    X = sp.Symbol("X")  # the sum of (r - b) s over the group
    g, second, between = (
        sp.Symbol("g", real=True),
        sp.Symbol("M", positive=True),
        sp.Symbol("sigmab2", positive=True),
    )
    table = {0: sp.Integer(1), 1: g, 2: second}
    within = sy.over_rollouts((X / G) ** 2, {X: {"x": 1}}, G, lambda e: table[e.get("x", 0)]) - g**2
    spread = second - g**2
    batch = (between + within) / (N / G)
    sy.equal(batch, (between * (1 if self_term else G) + spread) / N, "the variance of N rollouts")


@claim.step(
    "One rollout is best, and beats a pair",
    route="smt",
    shows=(
        r"$\sigma_b^2 + V_b \le G\sigma_b^2 + V_b$ for $G \ge 1$, and $\sigma_b^2 + V_b < 2\sigma_b^2 "
        r"+ V_J + \Delta$ when $V_b \le V_J + \Delta$ with a strict part"
    ),
)
def best_group(delta_sign=1):
    between, fixed, mean, delta = sp.symbols("sigmab2 Vb VJ Delta", nonnegative=True)
    G = sp.Symbol("G", real=True)
    sy.require(
        sy.smt_valid([G >= 1], between + fixed <= G * between + fixed), "G = 1 is best for a fixed baseline"
    )
    assumptions = [fixed <= mean, delta * delta_sign > 0] if delta_sign > 0 else [fixed <= mean]
    sy.require(
        sy.smt_valid(assumptions, between + fixed < 2 * between + mean + delta),
        "a pair of leave-one-out has more",
    )
    sy.require(
        sy.find_point([fixed > mean + delta + between, between > 0]) is not None,
        "a bad fixed baseline can be worse than the pair",
    )


@claim.step(
    "Leave-one-out at G = 2",
    route="enumeration",
    shows=(
        r"two prompts: $\mathrm{tr}\,\mathrm{Cov} = \sigma_b^2 + \frac{1}{2}[V_J + \Delta]$ for one "
        r"prompt of two rollouts, in rationals; the best constant at G = 1 has $\sigma_b^2 + V_{b^*}$"
    ),
)
def pair(factor=1):
    rows = []
    for bandit in TWO:
        norms = [sum(x * x for x in s) for s in bandit.scores]
        norm = sum(q * n for q, n in zip(bandit.probabilities, norms, strict=True))
        square = sum(x * x for x in bandit.gradient)

        def size(b, bandit=bandit, norms=norms, square=square):
            return (
                sum(
                    q * n * (r - b) ** 2
                    for q, n, r in zip(bandit.probabilities, norms, bandit.rewards, strict=True)
                )
                - square
            )

        star = (
            sum(q * n * r for q, n, r in zip(bandit.probabilities, norms, bandit.rewards, strict=True)) / norm
        )
        delta = bandit.value * (1 - bandit.value) * norm + square
        computed = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("rloo"))).trace_cov
        sy.equal(computed, (size(bandit.value) + factor * delta) / 2, "leave-one-out at G = 2")
        single = sy.group_moments(bandit, 1, less(star)).trace_cov
        sy.equal(single, size(star), "the best constant at G = 1")
        sy.require(single / 2 < computed, "per rollout the single one has less")
        rows.append((str(bandit.value), str(single), str(2 * computed)))
    return sy.Exhibit(table=(("p", "best constant, G = 1 (per rollout)", "leave-one-out, G = 2"), *rows))


@claim.step(
    "The engine, two prompts",
    route="exact engine",
    shows=(
        "variance times rollouts: best constant at G = 1 below best constant at G = 2 below "
        "leave-one-out at G = 2"
    ),
)
def engines(order=(("reinforce_best_constant", 1), ("reinforce_best_constant", 2), ("rloo", 2))):
    cost = [size * sy.engine(catalogue.get(name), TWO, size).trace_cov for name, size in order]
    sy.require(all(a < b - 1e-9 for a, b in pairwise(cost)), "the order of the costs")
    return sy.Exhibit(
        text=", ".join(f"{name} at G = {size}: {c:.5f}" for (name, size), c in zip(order, cost, strict=True))
    )


claim.sabotage("a greedy baseline among those made of the group", contrasts, group_made=("rloo", "remax"))
claim.sabotage("the between-prompt part once", fixed_baseline, self_term=True)
claim.sabotage("no Delta", best_group, delta_sign=0)
claim.sabotage("twice Delta", pair, factor=2)
claim.sabotage("the order turned round", engines, order=(("rloo", 2), ("reinforce_best_constant", 1)))
