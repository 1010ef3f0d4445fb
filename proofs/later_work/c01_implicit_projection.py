"""C1: a group's policy gradient as a step towards a target on the group's simplex (LPO, proposition 1)."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="C1",
    title="A group update is a reverse-KL step towards softmax(A)",
    statement=(
        r"With $P_\theta = \mathrm{softmax}_k(\log \pi_\theta(y_k)/\pi_{\text{old}}(y_k))$ over "
        r"the K rollouts and $w^* = \mathrm{softmax}(A)$, $\sum_k A_k = 0$: at $\theta = "
        r"\theta_{\text{old}}$, "
        r"$-\nabla \mathrm{KL}(P_\theta \| w^*) = \frac{1}{K} \sum_k A_k \nabla \log \pi_\theta(y_k)$."
    ),
    source=sy.Source(
        "2605.06139", "v2", "Proposition 1 (read through a summary; the proof in the paper was not at hand)"
    ),
    verdict="proved",
    scope="every K, all real advantages, whole-rollout log-ratios (scores summed over tokens), on policy",
    hypotheses=(
        r"$\sum_k A_k = 0$ (else $A_k$ becomes $A_k - \bar A$)",
        "scores summed over tokens: not GRPO's mean over a rollout's tokens",
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
        r"$\partial_k \mathrm{KL} = P_k [\log(P_k/w_k) - \mathrm{KL}]$ at $P_k = 1/K$: $\log(P_k/w_k) "
        r"= -\log K - A_k + Z$, minus its mean $-\log K - \bar A + Z$"
    ),
)
def any_size(mean=0):
    K, a, z, average = (
        sp.Symbol("K", positive=True),
        sp.Symbol("A", real=True),
        sp.Symbol("Z", real=True),
        sp.Symbol("Abar", real=True),
    )
    self_term = -sp.log(K) - a + z
    total = -sp.log(K) - average + z
    sy.equal((-(self_term - total) / K).subs(average, mean), a / K, "the coefficient of one score")


@claim.step(
    "By differentiation",
    route="sympy",
    shows=(
        r"$-\partial_{s_k} \mathrm{KL}(\mathrm{softmax}(s) \| \mathrm{softmax}(A))$ at $s = 0$ is "
        r"$(A_k - \bar A)/K$, K = 2, 3, 4"
    ),
)
def differentiated(forward=False):
    for size in (2, 3, 4):
        s, a = sp.symbols(f"s1:{size + 1}", real=True), sp.symbols(f"a1:{size + 1}", real=True)

        def log_softmax(x):
            return [v - sp.log(sum(sp.exp(u) for u in x)) for v in x]

        logs = log_softmax(s), log_softmax(a)
        first, second = reversed(logs) if forward else logs
        kl = sum(sp.exp(x) * (x - y) for x, y in zip(first, second, strict=True))
        centred = [x - sum(a) / size for x in a]
        computed = [-sp.diff(kl, x).subs(dict.fromkeys(s, 0)) for x in s]
        sy.equal(computed, [x / size for x in centred], f"the gradient with K = {size}")


@claim.step(
    "The shipped reverse form is Dr. GRPO on policy",
    route="traced code",
    shows=(
        "rewards symbols, rollouts of one and two tokens, K = 2, 3: lpo_reverse at temperature 1 and "
        "mean-centred advantages on whole rollouts"
    ),
)
def traced(name="lpo_reverse", temperature=1.0):
    for size in (2, 3):
        rollouts = sy.symbolic_group(size, lengths=[1 + i % 2 for i in range(size)], on_policy=True)
        sy.equal(
            rollouts.weights(catalogue.get(name, temperature=temperature)),
            rollouts.weights(catalogue.get("dr_grpo")),
            f"weights at K = {size}",
        )
    return sy.Exhibit(formula=sp.latex(sp.simplify(rollouts.weights(catalogue.get("dr_grpo"))[0, 0, 0])))


BANDIT = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])


@claim.step(
    "The engine",
    route="exact engine",
    shows="lpo_reverse at K = 3: mean and covariance are Dr. GRPO's exact ones",
)
def engines(name="dr_grpo"):
    sy.engines_agree(
        sy.engine(catalogue.get("lpo_reverse", temperature=1.0), BANDIT, 3),
        sy.group_moments(BANDIT, 3, sy.weights_of(catalogue.get(name))),
        "reverse LPO",
    )


claim.sabotage("advantages with a mean", any_size, mean=1)
claim.sabotage("the forward KL", differentiated, forward=True)
claim.sabotage("the shipped forward form", traced, name="lpo_forward")
claim.sabotage("another temperature", traced, temperature=2.0)
claim.sabotage("leave-one-out's scale", engines, name="rloo")
