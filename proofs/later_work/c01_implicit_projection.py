"""C1: a group's policy gradient as a step towards a target on the group's simplex (LPO, proposition 1)."""

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

K = sp.Symbol("K", integer=True, positive=True)
coefficient, advantage, mean_advantage, update, sampled = sp.symbols("c A Abar u g", real=True)

claim = sy.Claim(
    id="C1",
    title="A group update is a reverse-KL step towards softmax(A)",
    statement=sy.Statement(
        setting=r"One group of K rollouts, whole responses, on policy; $P_\theta = \mathrm{softmax}_k(\log "
        r"\pi_\theta(y_k)/\pi_{\text{old}}(y_k))$ and $w^* = \mathrm{softmax}(A)$, at $\theta = \theta_{\text{old}}$",
        forall={K: sy.whole(2)},
        quantities={
            coefficient: sy.Quantity(
                "c_k",
                r"the coefficient of $\nabla \log \pi_\theta(y_k)$ in $-\nabla \mathrm{KL}(P_\theta \| w^*)$",
            ),
            advantage: sy.Quantity("A_k", "the advantage of rollout k"),
            mean_advantage: sy.Quantity(
                r"\bar A", "the mean of the group's advantages, zero if they are centred"
            ),
        },
        goals={"group update": sp.Eq(coefficient, (advantage - mean_advantage) / K)},
    ),
    source=sy.Source(
        "2605.06139",
        "v2",
        "Proposition 1",
        says=(
            "group-based policy gradients are first steps towards a target on the group's simplex; the reverse form's "
            "gradient is the group's policy gradient, with the advantage's divisor as temperature"
        ),
    ),
    verdict="proved",
    scope=(
        "every K, all real advantages, whole-rollout log-ratios (scores summed over tokens, not GRPO's mean), "
        "on policy"
    ),
    proof=(
        "One rollout's log-ratio s is moved while the other K - 1 stay at zero: $P_k = e^s/(e^s + K - 1)$, and "
        r"each other share is $1/(e^s + K - 1)$. Only the sum of the others' log-targets enters, and $\log "
        r"w^*_j = A_j - \log Z$. The derivative at s = 0 is $-(A_k - \bar A)/K$ for every K, and "
        "differentiating all K log-ratios gives the same for K = 2, 3, 4. The shipped reverse form has these "
        "weights for rewards in symbols and rollouts of unequal length, and with its default temperature for "
        "three reward levels; the engine agrees."
    ),
    finding=(
        r"The forward KL is another vector, $\sum_k (w^*_k - 1/K) s_k$: it agrees only to first order "
        r"in A. And the target is one of many: every w with $\log w_k = A_k + o(A)$ has the same first "
        r"step, so it is implied by the gradient only at one point."
    ),
)


@claim.step(
    "Any K",
    route="sympy",
    shows=(
        r"$-\frac{d}{ds} \mathrm{KL}$ at $s = 0$, K a symbol, the other log-ratios zero, the sum of their "
        "log-targets free"
    ),
)
def any_size(forward=False):
    s, a, average, log_z = sp.symbols("s A Abar logZ", real=True)
    total = sp.exp(s) + K - 1
    log_share, log_other = s - sp.log(total), -sp.log(total)
    log_target = a - log_z
    others = (K * average - a) - (K - 1) * log_z  # the sum of the others' log-targets
    if forward:
        # For one other target t of the K - 1 equal ones, KL(w || P) up to what s does not move.
        target = sp.exp(log_target)
        divergence = -target * log_share - (1 - target) * log_other
    else:
        divergence = sp.exp(log_share) * (log_share - log_target) + ((K - 1) * log_other - others) / total
    claim.goal("group update").holds(
        {coefficient: -sp.diff(divergence, s).subs(s, 0), advantage: a, mean_advantage: average}
    )


@claim.step(
    "By differentiation",
    route="sympy",
    shows=r"$-\partial_{s_k} \mathrm{KL}(\mathrm{softmax}(s) \| \mathrm{softmax}(A))$ at $s = 0$, K = 2, 3, 4",
)
def differentiated(forward=False):
    for size in (2, 3, 4):
        s, a = sp.symbols(f"s1:{size + 1}", real=True), sp.symbols(f"a1:{size + 1}", real=True)

        def log_softmax(x):
            return [v - sp.log(sum(sp.exp(u) for u in x)) for v in x]

        logs = log_softmax(s), log_softmax(a)
        first, second = reversed(logs) if forward else logs
        kl = sum(sp.exp(x) * (x - y) for x, y in zip(first, second, strict=True))
        computed = [-sp.diff(kl, x).subs(dict.fromkeys(s, 0)) for x in s]
        claim.goal("group update").holds(
            {coefficient: computed, advantage: list(a), mean_advantage: sum(a) / size}, at={K: size}
        )


@claim.step(
    "The shipped reverse form",
    route="traced code",
    shows=(
        "rollouts of one and two tokens: rewards in symbols at temperature 1, K = 2, 3; its default, the "
        "standard deviation, at three reward levels"
    ),
)
def traced(name="lpo_reverse", temperature=1.0):
    for size in (2, 3):
        rollouts = sy.symbolic_group(size, lengths=[1 + i % 2 for i in range(size)], on_policy=True)
        rewards = rollouts.rewards.reshape(-1)
        weights = rollouts.weights(catalogue.get(name, temperature=temperature))[0]
        for t in (0, 1):
            row = [i for i in range(size) if t <= i % 2]  # the rollouts that have this token
            claim.goal("group update").holds(
                {
                    coefficient: [weights[i, t] for i in row],
                    advantage: rewards[row],
                    mean_advantage: sum(rewards) / size,
                },
                at={K: size},
            )
    levels = [sp.Integer(0), sp.Integer(1), sp.Rational(5, 2)]
    mean = sum(levels) / 3
    std = sp.sqrt(sum((r - mean) ** 2 for r in levels) / 3)
    weights = sy.symbolic_group(3, (2, 1, 2), rewards=levels, on_policy=True).weights(catalogue.get(name))
    values = {
        coefficient: weights[0, :, 0],
        advantage: [(r - mean) / std for r in levels],
        mean_advantage: 0,
    }
    claim.goal("group update").holds(values, at={K: 3})


@claim.step(
    "The engine",
    route="exact engine",
    shows="two prompts, K = 3: the mean update of lpo_reverse against the means with the advantages by hand",
)
def engines(scale=1):
    prompts = [
        sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"]),
        sy.SymbolicBandit(["1/10", "2/5", "1/2"], [2, 1, 0]),
    ]
    moments = sy.engine(catalogue.get("lpo_reverse", temperature=1.0), prompts, 3)
    mean = np.asarray(moments.mean).reshape(-1)
    # The mean of sum_k (A_k - mean) s_k / K over groups, A the rewards: linear in the coefficients.
    expected = [
        scale * x / 2
        for bandit in prompts
        for x in sy.group_moments(bandit, 3, lambda r: [(3 * x - sum(r)) / sp.Integer(3) for x in r]).mean
    ]
    values = {coefficient: mean, advantage: expected, mean_advantage: 0}
    claim.goal("group update").holds(values, at={K: 3}, tolerance=1e-11)


claim.sabotage("the forward KL at any K", any_size, forward=True)
claim.sabotage("the forward KL", differentiated, forward=True)
claim.sabotage("the shipped forward form", traced, name="lpo_forward")
claim.sabotage("another temperature", traced, temperature=2.0)
claim.sabotage("leave-one-out's scale", engines, scale=sp.Rational(3, 2))
