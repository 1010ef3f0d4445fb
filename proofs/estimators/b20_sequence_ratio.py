"""B20: GSPO's length-normalised sequence ratio is not an importance weight."""

from functools import partial

import numpy as np
import sympy as sp
from _short_sequences import stopping, stopping_engine

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

length = sp.Symbol("l", integer=True, positive=True)
reweighted, target, mean_ratio, power, ratio = sp.symbols("E_s E_pi m x s", real=True)
weight, shipped_mean, value, rho1, rho2 = sp.symbols("w u A rho1 rho2", real=True)
longest, shortest = sp.symbols("l_max l_min", real=True)
RATIO = {
    reweighted: sy.Quantity(
        r"\mathrm{E}_{\text{old}}[s f]", "the mean of a function f of the rollout with the weight s"
    ),
    target: sy.Quantity(r"\mathrm{E}_{\pi}[f]", "its mean under the policy"),
    mean_ratio: sy.Quantity(r"\mathrm{E}_{\text{old}}[s]", "the mean of the ratio s itself"),
    power: sy.Quantity(r"\frac{\pi}{\pi_{\text{old}}}", "the ratio of a rollout's probabilities"),
    ratio: sy.Quantity("s", r"the ratio $(\pi(y)/\pi_{\text{old}}(y))^{1/|y|}$ of a rollout"),
    weight: sy.Quantity("w_t", "the weight of each of two tokens in the shipped objective, inside the clip"),
    value: sy.Quantity("A", "the rollout's advantage"),
    rho1: sy.Quantity(r"\rho_1", "the first token's ratio"),
    rho2: sy.Quantity(r"\rho_2", "the second token's ratio"),
    longest: sy.Quantity(r"l_{\max}", "the length of the longest rollout"),
    shortest: sy.Quantity(r"l_{\min}", "the length of the shortest"),
}
SETTING = (
    r"Rollouts y of a policy $\pi_{\text{old}}$, weighted with $s(y) = (\pi(y)/\pi_{\text{old}}(y))^{1/|y|}$"
)

claim = sy.Claim(
    id="B20",
    title="GSPO's sequence ratio is an importance weight",
    statement=sy.Statement(
        setting=SETTING,
        quantities=RATIO,
        goals={"importance weight": sp.Eq(reweighted, target)},
    ),
    instead=sy.Statement(
        setting=SETTING + ", of l tokens",
        forall={length: sy.whole(1)},
        given={
            "one length": sy.Hypothesis(
                "all rollouts have one length", sp.Eq(longest, shortest), stated_by="ours"
            )
        },
        quantities=RATIO,
        goals={
            "at most one": sp.Le(mean_ratio, 1),
            "geometric mean": sp.Eq(weight, value * sp.sqrt(rho1 * rho2) / 2),
        },
        lemmas={"tangent": sy.Lemma(sp.Ge(power, 1 + length * (ratio - 1)))},
    ),
    source=sy.Source(
        "2507.18071",
        "v2",
        "equations (5) and (7)",
        relation="implies",
        says=(
            "the ratio of a whole sequence is introduced as an importance ratio, on the principle that "
            "importance weights correct for the policy that sampled; its root by the length is taken in the "
            "same place"
        ),
        caveat="the root is said to lower the variance and to keep ratios of different lengths in one range",
    ),
    verdict="refuted",
    scope=(
        "sequences of two or more tokens and policies that differ; the objective as shipped; true for "
        "one-token rollouts"
    ),
    proof=(
        r"An importance weight averages to one. By Bernoulli's inequality, proved by induction, $s^l \ge 1 + "
        r"l (s - 1)$; its mean under the sampling policy is $1 \ge 1 + l (\mathrm{E}[s] - 1)$, so "
        r"$\mathrm{E}_{\text{old}}[s] \le 1$ where all rollouts have one length l, and below one where they "
        r"differ. On a policy with rollouts of one and two tokens it is 7/8, and the exact mean of the "
        r"shipped objective's gradient is not $\nabla J$. The traced token weights are $A \sqrt{\rho_1 "
        r"\rho_2}/2$ where an importance weight would give $A \rho_1 \rho_2$."
    ),
    finding=(
        r"Where all rollouts have one length of two tokens or more, $\mathrm{E}_{\text{old}}[s] < 1$ whenever "
        r"the policies differ. Rollouts of different lengths can bring it above one. On policy $s = 1$ and "
        r"the gradient is the token-mean one; off policy each token's weight is the geometric mean of the "
        r"rollout's ratios over its length. It damps the weight; it does not correct for the sampling policy."
    ),
)

OLD, NEW = stopping("1/2", "1/2", [2, 1, 0]), stopping("5/8", "1/10", [2, 1, 0])
WIDE = partial(surrogate.sequence_clip, low=0.99, high=99.0)
ONE_LENGTH = {longest: 2, shortest: 2}


@claim.step(
    "The token weights",
    route="traced code",
    shows=(
        "two tokens, symbolic ratios: both forms of the shipped surrogate, with a range so wide that "
        "nothing is clipped"
    ),
)
def weights(names=("sequence_clip", "sequence_clip_per_token"), token_ratios=False):
    rollouts = sy.symbolic_group(1, lengths=(2,))
    (reward,) = rollouts.rewards.reshape(-1)
    first, second = rollouts.rho.reshape(-1)
    for name in names:
        shipped = compose(
            advantage=advantage.raw,
            surrogate=partial(getattr(surrogate, name), low=0.99, high=99.0)
            if not token_ratios
            else surrogate.importance_ratio,
            aggregate=aggregate.sequence_token_mean,
            min_group=1,
        )
        point = {first: sp.Integer(2), second: sp.Integer(3), reward: sp.Integer(1)}
        computed = rollouts.weights(shipped, assume=sy.Witness(point)).reshape(-1)
        values = {weight: computed, value: reward, rho1: first, rho2: second, **ONE_LENGTH}
        claim.goal("geometric mean").holds(values)
    return sy.Exhibit(formula=sp.latex(computed[0]))


@claim.step(
    "From the definition",
    route="sympy",
    shows=r"the derivative of $A e^{(x_1 + x_2)/2}$ by the tokens' log-ratios $x_1, x_2$",
)
def definition(root=2):
    x, y, a = sp.symbols("x1 x2 a", real=True)
    surrogate_value = a * sp.exp((x + y) / root)
    for variable in (x, y):
        values = {
            weight: sp.diff(surrogate_value, variable),
            value: a,
            rho1: sp.exp(x),
            rho2: sp.exp(y),
            **ONE_LENGTH,
        }
        claim.goal("geometric mean").holds(values)


@claim.step(
    "The mean ratio, any length",
    route="smt",
    shows=r"$s^l \ge 1 + l (s - 1)$ by induction on l; averaged, with $\mathrm{E}_{\text{old}}[s^l] = 1$",
)
def bernoulli(mass=1, start=1):
    mean = sp.Symbol("M", nonnegative=True)
    claim.goal("tangent").induction(
        length,
        start=1,
        base={power: ratio**start, ratio: ratio},
        step={power: power * ratio, ratio: ratio},
        where=[ratio >= 0],
    )
    averaged = {
        power: sp.Integer(mass),
        ratio: mean,
    }  # the inequality is linear in both, so it holds for the means
    claim.goal("at most one").holds(
        {mean_ratio: mean, longest: length, shortest: length}, using={"tangent": averaged}
    )


@claim.step(
    "The mean ratio in numbers",
    route="enumeration",
    shows=(
        r"two-token rollouts with the chances $a^2, a(1-a), \ldots$: $\sum_y \sqrt{\pi(y) "
        r"\pi_{\text{old}}(y)}$ in exact numbers"
    ),
)
def mean_weight(scale=1):
    for old, new in (("1/2", "1/5"), ("2/3", "1/4"), ("1/2", "1/2")):
        one_token = chances(sp.Rational(old), sp.Rational(new))
        rows = [(x * y, u * v) for x, u in one_token for y, v in one_token]
        total = scale * sum(q * sp.sqrt(now / q) for q, now in rows)
        claim.goal("at most one").holds({mean_ratio: total, **ONE_LENGTH}, at={length: 2})


def chances(old, new):
    """The two answers of a token with their chances under both policies."""
    return [(old, new), (1 - old, 1 - new)]


def ratios(new, old):
    return [x / y for x, y in zip(new.probabilities, old.probabilities, strict=True)]


@claim.counterexample(
    "Sampled at (1/2, 1/2), judged at (5/8, 1/10), f = 1: the mean of the weights is 7/8. With f the rewards "
    "2, 1, 0 times the scores the mean of the shipped objective's gradient is not grad J; the engine has the "
    "same mean.",
    old="(1/2, 1/2)",
    new="(5/8, 1/10)",
    rewards="(2, 1, 0)",
)
def off_policy(new=NEW):
    rho, bandit = ratios(new, OLD), new.bandit
    s = [r ** sp.Rational(1, n) for r, n in zip(rho, OLD.lengths, strict=True)]
    total = sum(q * x for q, x in zip(OLD.probabilities, s, strict=True))
    claim.goal("importance weight").fails({reweighted: total, target: sum(new.probabilities)})
    terms = list(zip(OLD.probabilities, s, OLD.lengths, new.rewards, bandit.scores, strict=True))
    mean = [sum(q * w / n * r * score[j] for q, w, n, r, score in terms) for j in range(4)]
    claim.goal("importance weight").fails({reweighted: mean, target: bandit.gradient})
    shipped = compose(
        advantage=advantage.raw, surrogate=WIDE, aggregate=aggregate.sequence_token_mean, min_group=1
    )
    computed = np.asarray(stopping_engine(shipped, new, 1, old=OLD).mean).reshape(-1)
    gap = max(abs(float(x) - y) for x, y in zip(mean, computed, strict=True))
    sy.require(gap < 1e-11, f"the engine's mean differs by {gap}")
    return sy.Exhibit(text=f"mean weight {total}, mean {mean}, grad J {bandit.gradient}")


@claim.counterexample(
    (
        "Rollouts of one and two tokens: go on with 1/2 before and 2/5 now, then both tokens alike: the "
        "mean ratio is above one."
    ),
    old="(1/2, 1/2)",
    new="(2/5, 1/2)",
)
def above_one(new="2/5"):
    rho = ratios(stopping(new, "1/2", [2, 1, 0]), OLD)
    total = sum(
        q * r ** sp.Rational(1, n) for q, r, n in zip(OLD.probabilities, rho, OLD.lengths, strict=True)
    )
    values = {mean_ratio: total, longest: max(OLD.lengths), shortest: min(OLD.lengths)}
    claim.goal("at most one").fails(values, at={length: 2}, without="one length")


@claim.step(
    "GSPO as catalogued",
    route="traced code",
    shows=(
        "gspo and gspo_token, bare, off policy inside the clip: the correct rollout's two tokens over "
        "its advantage on policy"
    ),
)
def catalogued(names=("gspo", "gspo_token")):
    rollouts = sy.symbolic_group(2, lengths=(2, 1), rewards=(1, 0))
    point = {x: sp.Rational(10001 + i, 10001) for i, x in enumerate(rollouts.rho.flat)}
    point |= {s: sp.Integer(0) for x in rollouts.logp.flat for s in x.free_symbols if s not in point}
    first, second = rollouts.rho.reshape(-1)[:2]
    on_policy = sy.symbolic_group(2, lengths=(2, 1), rewards=(1, 0), on_policy=True)
    for name in names:
        computed = rollouts.weights(catalogue.get(name), assume=sy.Witness(point))[0, 0]
        # On policy a token has half of its rollout's share of the advantage.
        share = 2 * on_policy.weights(catalogue.get(name))[0, 0, 0]
        values = {weight: computed, value: share, rho1: first, rho2: second, **ONE_LENGTH}
        claim.goal("geometric mean").holds(values)


claim.sabotage("token ratios", weights, token_ratios=True)
claim.sabotage("the whole sequence's ratio", definition, root=1)
claim.sabotage("an induction that starts from the square root", bernoulli, start=sp.Rational(1, 2))
claim.sabotage("weights that average to two", bernoulli, mass=2)
claim.sabotage("twice the ratio", mean_weight, scale=2)
claim.sabotage("the sampling policy itself", off_policy, new=OLD)
claim.sabotage("more long rollouts than before", above_one, new="3/5")
claim.sabotage("token-level ratios", catalogued, names=("grpo",))
