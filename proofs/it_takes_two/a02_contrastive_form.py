"""A2: for binary rewards GRPO's clipped objective is a contrast between the correct and the wrong
rollouts."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="A2",
    title="GRPO with binary rewards in contrastive form",
    statement=(
        r"For $G$ rollouts with binary rewards, $k$ of them correct and $\hat p = k/G$, the clipped, "
        r"length-normalised objective is $\sqrt{\hat p (1 - \hat p)} \left[ \frac{1}{k} \sum_{r_i = 1} "
        r"C^+_i - \frac{1}{G-k} \sum_{r_i = 0} C^-_i \right]$ with $C^+_i = \frac{1}{|o_i|} \sum_t "
        r"\min(\rho_{it}, 1+\epsilon)$ and $C^-_i = \frac{1}{|o_i|} \sum_t \max(\rho_{it}, 1-\epsilon)$; "
        r"zero when all rewards are equal."
    ),
    hypotheses=(
        "population standard deviation",
        "no epsilon beside the standard deviation",
        "two reward levels",
        "no KL term",
    ),
    source=sy.Source("2510.00977", "v3", "Section 3, the contrastive form of GRPO"),
    verdict="proved",
    scope="every G (symbolic), all ratios including the boundaries of the clip, rollouts of any length",
    finding=(
        r"With the sample standard deviation the whole objective is smaller by $\sqrt{(G-1)/G}$; with an "
        r"epsilon the factor is $\hat p (1 - \hat p) / (\sqrt{\hat p (1 - \hat p)} + \epsilon)$. Any two "
        r"reward levels give the same objective."
    ),
)


@claim.step(
    "From advantages to the contrast, any G",
    route="sympy",
    shows=(
        r"correct rollouts have $A = (1 - \hat p)/\sigma$ and wrong ones $A = -\hat p/\sigma$, $\sigma = "
        r"\sqrt{\hat p (1 - \hat p)}$; so $\frac{1}{G} \sum_i A_i C_i = \frac{k}{G} \frac{1 - \hat "
        r"p}{\sigma} \bar C^+ - \frac{G-k}{G} \frac{\hat p}{\sigma} \bar C^-$"
    ),
)
def any_group(root=sp.Rational(1, 2)):
    G, k = sp.symbols("G k", positive=True)
    plus, minus = sp.symbols("Cplus Cminus", real=True)
    share = k / G
    # The variance of k ones and G - k zeros, from its definition.
    variance = (k * (1 - share) ** 2 + (G - k) * share**2) / G
    sy.equal(variance, share * (1 - share), "the variance of binary rewards")
    std = sp.sqrt(share * (1 - share))
    mean = (k * (1 - share) / std * plus - (G - k) * share / std * minus) / G
    sy.equal(mean, (share * (1 - share)) ** root * (plus - minus), "the contrastive form", where=[k < G])


@claim.step(
    "The shipped objective, G = 2, 3, 4",
    route="traced code",
    shows=(
        "value of the traced objective, ratios symbolic, every binary reward vector, rollouts of one and "
        "two tokens"
    ),
)
def traced(ddof=0, eps=0.0, swap=False):
    shown = None
    for group in (2, 3, 4):
        scene_lengths = [1 + i % 2 for i in range(group)]
        for rewards in itertools.product((0, 1), repeat=group):
            rollouts = sy.symbolic_group(group, scene_lengths, rewards=rewards)
            value = rollouts.value(catalogue.get("grpo", ddof=ddof, eps=eps))
            sy.equal(
                sp.expand(value - contrast(rollouts, rewards, scene_lengths, swap)),
                0,
                f"objective at rewards {rewards}",
            )
            shown = value if group == 2 and rewards == (1, 0) else shown
    return sy.Exhibit(formula=sp.latex(shown))


def contrast(rollouts, rewards, lengths, swap=False):
    up, down = sp.Rational(6, 5), sp.Rational(4, 5)
    correct = [i for i, r in enumerate(rewards) if r]
    wrong = [i for i, r in enumerate(rewards) if not r]
    if not correct or not wrong:
        return sp.Integer(0)

    def mean(rows, bound, kind):
        rows_mean = [
            sp.Add(*[kind(rollouts.rho[0, i, t], bound) for t in range(lengths[i])]) / lengths[i]
            for i in rows
        ]
        return sp.Add(*rows_mean) / len(rows)

    share = sp.Rational(len(correct), len(rewards))
    kinds = (sp.Max, sp.Min) if swap else (sp.Min, sp.Max)
    return sp.sqrt(share * (1 - share)) * (mean(correct, up, kinds[0]) - mean(wrong, down, kinds[1]))


@claim.step(
    "The catalogue's contrastive form is the same function",
    route="traced code",
    shows="both shipped objectives traced and subtracted",
)
def two_codes(name="grpo"):
    for rewards in ((1, 0), (1, 0, 0), (0, 1, 1)):
        rollouts = sy.symbolic_group(len(rewards), [1 + i % 2 for i in range(len(rewards))], rewards=rewards)
        settings = {"eps": 0.0} if name.startswith("grpo") else {}
        difference = rollouts.value(catalogue.get(name, **settings)) - rollouts.value(
            catalogue.get("grpo_contrastive")
        )
        sy.equal(sp.expand(difference), 0, f"{name} and the contrastive form at {rewards}")


@claim.step(
    "On policy, by enumeration and by the engine",
    route="exact engine",
    shows="mean and covariance at G = 2, 3",
)
def engines(ddof=0):
    bandit = sy.SymbolicBandit(["1/2", "3/10", "1/5"], [1, 0, 1])
    for group in (2, 3):
        exact = sy.group_moments(bandit, group, sy.weights_of(catalogue.get("grpo_contrastive")))
        sy.engines_agree(
            sy.engine(catalogue.get("grpo", eps=0.0, ddof=ddof), bandit, group), exact, f"G = {group}"
        )
    sy.require(sy.vanishes(sum(exact.mean)), "the logits' updates sum to zero")


claim.sabotage("phat (1 - phat) without its root", any_group, root=1)
claim.sabotage("sample standard deviation", traced, ddof=1)
claim.sabotage("an epsilon beside the standard deviation", traced, eps=1e-4)
claim.sabotage("C+ and C- exchanged", traced, swap=True)
claim.sabotage("Dr. GRPO, which does not divide by the std", two_codes, name="dr_grpo")
claim.sabotage("sample standard deviation in the engine", engines, ddof=1)
