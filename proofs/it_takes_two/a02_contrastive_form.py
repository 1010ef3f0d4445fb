"""A2: for binary rewards GRPO's clipped objective is a contrast between the correct and the wrong rollouts."""

import itertools
from typing import Any

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
k = sp.Symbol("k", integer=True, positive=True)
value, silent, plus, minus = sp.symbols("L L_0 C_+ C_-", real=True)
update, contrastive = sp.symbols("m n", real=True)
UP, DOWN = sp.Rational(6, 5), sp.Rational(4, 5)

claim = sy.Claim(
    id="A2",
    title="GRPO with binary rewards is sqrt(p(1 - p)) times a contrast, p the group's success rate",
    statement=sy.Statement(
        setting=(
            "One prompt, binary rewards, k of G rollouts correct, clipped ratios, token means of rollouts of any "
            "length"
        ),
        forall={G: sy.whole(2), k: sy.whole(1)},
        given={
            "mixed": sy.Hypothesis("some rollouts are correct and some wrong", k <= G - 1),
            "population": sy.Hypothesis(
                r"the standard deviation is $\sqrt{\hat p (1 - \hat p)}$ with $\hat p = k/G$, as in the source's "
                "form: the population's, with nothing added to it; and there is no KL term"
            ),
        },
        quantities={
            value: sy.Quantity("L", "GRPO's objective"),
            plus: sy.Quantity(
                "C_+", r"the mean over correct rollouts of $\frac{1}{|o_i|} \sum_t \min(\rho_{it}, 1 + e)$"
            ),
            minus: sy.Quantity(
                "C_-", r"the mean over wrong rollouts of $\frac{1}{|o_i|} \sum_t \max(\rho_{it}, 1 - e)$"
            ),
            silent: sy.Quantity("L_0", "the objective of a group whose rewards are all equal"),
            update: sy.Quantity(
                "m",
                r"GRPO's mean update on policy at G = 2 to 4, for answers of chance 1/2, 3/10, 1/5, the second wrong",
            ),
            contrastive: sy.Quantity("n", "that of the contrastive form as catalogued"),
        },
        ranges={"update": ()},
        goals={
            "contrast": sp.Eq(value, sp.sqrt(k / G * (1 - k / G)) * (plus - minus)),
            "no signal": sp.Eq(silent, 0),
            "update": sp.Eq(update, contrastive),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Section 3, the contrastive form of GRPO",
        says="for binary rewards the objective is the root of the success rate times its complement, times a contrast",
    ),
    verdict="proved",
    scope="every G (symbolic), all ratios including the boundaries of the clip, rollouts of any length",
    proof=(
        r"The mean of k ones and G - k zeros is $k/G$ and their variance $\frac{k}{G}(1 - \frac{k}{G})$, so a "
        r"correct rollout has the advantage $(1 - k/G)/\sigma$ and a wrong one $-(k/G)/\sigma$. A positive advantage "
        r"leaves the upper bound of the clip, a negative one the lower, so the objective is $\frac{1}{G} [k A_+ C_+ "
        r"+ (G - k) A_- C_-]$, which is the contrast times $\frac{k}{G} (1 - \frac{k}{G}) / \sigma = \sigma$. The "
        "shipped objective has this value for every binary reward vector of two to four rollouts, ratios symbolic, "
        "and the catalogue's contrastive form is the same function."
    ),
    finding=(
        r"With the sample standard deviation the whole objective is smaller by $\sqrt{(G-1)/G}$; with an epsilon the "
        r"factor is $\hat p (1 - \hat p) / (\sqrt{\hat p (1 - \hat p)} + \epsilon)$, $\hat p = k/G$. Any two reward "
        "levels give the same objective."
    ),
)


@claim.step(
    "From advantages to the contrast, any G",
    route="sympy",
    shows=(
        r"the variance of k ones and G - k zeros from its definition; $\frac{1}{G} \sum_i A_i C_i = \frac{k}{G} "
        r"\frac{1 - \hat p}{\sigma} C_+ - \frac{G-k}{G} \frac{\hat p}{\sigma} C_-$ with $\hat p = k/G$"
    ),
)
def any_group(root=sp.Rational(1, 2)):
    upper, lower = sp.symbols("c_plus c_minus", real=True)
    share = k / G
    variance = sp.factor((k * (1 - share) ** 2 + (G - k) * share**2) / G)
    std = variance**root
    objective = (k * (1 - share) / std * upper + (G - k) * (0 - share) / std * lower) / G
    claim.goal("contrast").holds({value: objective, plus: upper, minus: lower})
    for reward, clipped in ((1, upper), (0, lower)):
        claim.goal("no signal").holds({silent: G * (reward - G * reward / G) * clipped / G})


@claim.step(
    "The shipped objective, G = 2, 3, 4",
    route="traced code",
    shows="the value for every binary reward vector, ratios symbolic, rollouts of one and two tokens",
)
def traced(ddof=0, eps=0.0, swap=False, estimator=None):
    shown = None
    for group in (2, 3, 4):
        lengths = [1 + i % 2 for i in range(group)]
        for rewards in itertools.product((0, 1), repeat=group):
            rollouts = sy.symbolic_group(group, lengths, rewards=rewards)
            objective = sp.expand(rollouts.value(estimator or catalogue.get("grpo", ddof=ddof, eps=eps)))
            shown = objective if group == 2 and rewards == (1, 0) else shown
            holds(rollouts, rewards, lengths, objective, swap)
    return sy.Exhibit(formula=sp.latex(shown))


def holds(rollouts, rewards, lengths, objective, swap=False):
    """Discharge the goals with an objective's value: each clipped ratio is named by a symbol, so that sums compare."""
    group, right = len(rewards), sum(rewards)
    if right in (0, group):
        claim.goal("no signal").holds({silent: objective})
        return
    bounds = {1: sp.Max, 0: sp.Min} if swap else {1: sp.Min, 0: sp.Max}
    names: dict[Any, Any] = {}
    means = {1: sp.Integer(0), 0: sp.Integer(0)}
    for i, reward in enumerate(rewards):
        for t in range(lengths[i]):
            clipped = bounds[reward](rollouts.rho[0, i, t], UP if reward else DOWN)
            symbol = names.setdefault(clipped, sp.Symbol(f"clipped{i}{t}", real=True))
            means[reward] += symbol / (lengths[i] * (right if reward else group - right))
    values = {value: objective.subs(names), plus: means[1], minus: means[0]}
    claim.goal("contrast").holds(values, at={G: group, k: right})


@claim.step(
    "The catalogue's contrastive form is the same function",
    route="traced code",
    shows="the bare catalogue's grpo_contrastive has the same value",
)
def contrastive_form(name="grpo_contrastive"):
    traced(estimator=catalogue.get(name))


@claim.step(
    "The mean update, by listing groups",
    route="enumeration",
    shows="both catalogued objectives on policy, G = 2, 3, 4",
)
def listed(eps=0.0):
    bandit = sy.SymbolicBandit(["1/2", "3/10", "1/5"], [1, 0, 1])
    for group in (2, 3, 4):
        means = [
            sy.group_moments(bandit, group, sy.weights_of(estimator)).mean
            for estimator in (catalogue.get("grpo", eps=eps), catalogue.get("grpo_contrastive"))
        ]
        claim.goal("update").holds({update: means[0], contrastive: means[1]})


@claim.step("The engine agrees", route="exact engine", shows="mean and covariance at G = 2, 3")
def engines(ddof=0):
    bandit = sy.SymbolicBandit(["1/2", "3/10", "1/5"], [1, 0, 1])
    for group in (2, 3):
        exact = sy.group_moments(bandit, group, sy.weights_of(catalogue.get("grpo_contrastive")))
        moments = sy.engine(catalogue.get("grpo", eps=0.0, ddof=ddof), bandit, group)
        values = {update: np.asarray(moments.mean).reshape(-1), contrastive: exact.mean}
        claim.goal("update").holds(values, tolerance=1e-11)
        sy.engines_agree(moments, exact, f"G = {group}")


claim.sabotage("phat (1 - phat) without its root", any_group, root=1)
claim.sabotage("sample standard deviation", traced, ddof=1)
claim.sabotage("an epsilon added to the standard deviation", traced, eps=1e-4)
claim.sabotage("C+ and C- exchanged", traced, swap=True)
claim.sabotage("Dr. GRPO, which does not divide by the std", contrastive_form, name="dr_grpo")
claim.sabotage("an epsilon in the mean update", listed, eps=1e-4)
claim.sabotage("sample standard deviation in the engine", engines, ddof=1)
