"""B20: GSPO's length-normalised sequence ratio is not an importance weight."""

from functools import partial

import sympy as sp
from _short_sequences import mean_agrees, parallel_defect, stopping, stopping_engine

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

claim = sy.Claim(
    id="B20",
    title="GSPO's sequence ratio is an importance weight",
    statement=(
        r"$s(y) = (\pi(y)/\pi_{\text{old}}(y))^{1/|y|}$ is an importance weight: "
        r"$\mathrm{E}_{\text{old}}[s f] = \mathrm{E}_{\pi}[f]$."
    ),
    source=sy.Source(
        "2507.18071",
        "v2",
        "equations (5) and (7), where the ratio is introduced as based on sequence likelihood",
    ),
    verdict="refuted",
    scope=(
        "sequences of two or more tokens and policies that differ; the objective as shipped, "
        "unclipped; true for one-token rollouts"
    ),
    finding=(
        r"$\mathrm{E}_{\text{old}}[s] < 1$ whenever the policies differ on rollouts longer than one "
        r"token (Jensen). On policy $s = 1$ and the gradient is the token-mean one; off policy each "
        r"token's weight is the geometric mean of the rollout's ratios over its length. It damps the "
        r"weight; it does not correct for the sampling policy."
    ),
)

OLD, NEW = stopping("1/2", "1/2", [2, 1, 0]), stopping("5/8", "1/10", [2, 1, 0])
WIDE = partial(surrogate.sequence_clip, low=0.99, high=99.0)


def ratios(new, old):
    return [x / y for x, y in zip(new.probabilities, old.probabilities, strict=True)]


@claim.step(
    "The token weights",
    route="traced code",
    shows=(
        r"two tokens: $w_t = \frac{A}{2} \sqrt{\rho_1 \rho_2}$ each, where an importance weight would "
        r"give $A \rho_1 \rho_2$; the token form has the same"
    ),
)
def weights(power=sp.Rational(1, 2)):
    rollouts = sy.symbolic_group(1, lengths=(2,))
    (reward,) = rollouts.rewards.reshape(-1)
    rho1, rho2 = rollouts.rho.reshape(-1)
    for rule in (WIDE, partial(surrogate.sequence_clip_per_token, low=0.99, high=99.0)):
        shipped = compose(
            advantage=advantage.raw, surrogate=rule, aggregate=aggregate.sequence_token_mean, min_group=1
        )
        point = {rho1: sp.Integer(2), rho2: sp.Integer(3), reward: sp.Integer(1)}
        computed = rollouts.weights(shipped, assume=sy.Witness(point)).reshape(-1)
        sy.equal(computed, [reward * (rho1 * rho2) ** power / 2] * 2, "token weights of GSPO")
    return sy.Exhibit(formula=sp.latex(computed[0]))


@claim.step(
    "The mean weight is below one",
    route="smt",
    shows=(
        r"two tokens: if $\sum_k q_k x_k^2 = 1$ then $\sum_k q_k x_k \le 1$, with equality only for $x "
        r"= 1$"
    ),
)
def jensen(root=True):
    x, y, z = sp.symbols("x y z", nonnegative=True)
    q1, q2 = sp.symbols("q1 q2", positive=True)
    q3 = 1 - q1 - q2
    power = 2 if root else 1
    assumptions = [q1 + q2 < 1, sp.Eq(q1 * x**power + q2 * y**power + q3 * z**power, 1)]
    mean = q1 * x + q2 * y + q3 * z
    sy.require(sy.smt_valid(assumptions, mean <= 1), "the mean weight is at most one")
    sy.require(
        sy.smt_valid([*assumptions, sp.Eq(mean, 1)], sp.And(sp.Eq(x, 1), sp.Eq(y, 1), sp.Eq(z, 1))),
        "equality only where the policies agree",
    )


@claim.step(
    "One token",
    route="sympy",
    shows=r"$\sum_k \pi_{\text{old},k} (\pi_k/\pi_{\text{old},k})^{1/l} f_k = \sum_k \pi_k f_k$ for $l = 1$",
)
def one_token(length=1):
    old, new, f = (
        sp.symbols("q1:4", positive=True),
        sp.symbols("p1:4", positive=True),
        sp.symbols("f1:4", real=True),
    )
    lhs = sum(o * (n / o) ** sp.Rational(1, length) * x for o, n, x in zip(old, new, f, strict=True))
    sy.equal(lhs, sum(n * x for n, x in zip(new, f, strict=True)), "reweighting with one token")


@claim.step(
    "Geometric mean",
    route="enumeration",
    shows=(
        r"$\mathrm{E}_{\text{old}}[s] = 7/8$ for the policies below, while "
        r"$\mathrm{E}_{\text{old}}[\pi/\pi_{\text{old}}] = 1$"
    ),
)
def mean_weight(root=True):
    rho = ratios(NEW, OLD)
    s = [sp.sqrt(r) if n == 2 and root else r for r, n in zip(rho, OLD.lengths, strict=True)]
    sy.equal(
        sum(q * r for q, r in zip(OLD.probabilities, rho, strict=True)),
        1,
        "the importance weights average to one",
    )
    sy.equal(
        sum(q * r for q, r in zip(OLD.probabilities, s, strict=True)),
        sp.Rational(7, 8),
        "the sequence ratios average to 7/8",
    )


@claim.counterexample(
    (
        "Sampled at (1/2, 1/2), differentiated at (5/8, 1/10), rewards 2, 1, 0: the exact mean of the "
        "shipped surrogate's gradient is not along grad J, as it is on policy. The engine agrees."
    ),
    old="(1/2, 1/2)",
    new="(5/8, 1/10)",
    rewards="(2, 1, 0)",
)
def off_policy(new=NEW):
    rho, bandit = ratios(new, OLD), new.bandit
    s = [sp.sqrt(r) / 2 if n == 2 else r for r, n in zip(rho, OLD.lengths, strict=True)]
    terms = list(zip(OLD.probabilities, s, new.rewards, bandit.scores, strict=True))
    mean = [sum(q * w * r * score[j] for q, w, r, score in terms) for j in range(4)]
    sy.require(parallel_defect(mean, bandit.gradient) != 0, "the mean is off the direction of grad J")
    shipped = compose(
        advantage=advantage.raw, surrogate=WIDE, aggregate=aggregate.sequence_token_mean, min_group=1
    )
    mean_agrees(stopping_engine(shipped, new, 1, old=OLD), mean, "the sequence ratio off policy")
    return sy.Exhibit(text=f"mean {mean}, grad J {bandit.gradient}")


@claim.step(
    "GSPO as catalogued",
    route="traced code",
    shows="the catalogue's gspo and gspo_token have the same weights off policy, inside the clip",
)
def catalogued(name="gspo_token"):
    rollouts = sy.symbolic_group(2, lengths=(2, 1), rewards=(1, 0))
    point = {x: sp.Rational(10001 + i, 10001) for i, x in enumerate(rollouts.rho.flat)} | {
        x: sp.Integer(0) for x in rollouts.logp.flat if x.is_Symbol
    }
    point |= {s: sp.Integer(0) for x in rollouts.logp.flat for s in x.free_symbols if s not in point}
    first, second = (
        rollouts.weights(catalogue.get(n, eps=0.0), assume=sy.Witness(point)) for n in ("gspo", name)
    )
    sy.equal(first, second, "the two forms of GSPO")


claim.sabotage("the whole sequence ratio", weights, power=1)
claim.sabotage("one token: no root", jensen, root=False)
claim.sabotage("two tokens", one_token, length=2)
claim.sabotage("without the root", mean_weight, root=False)
claim.sabotage("the sampling policy itself", off_policy, new=OLD)
claim.sabotage("token-level ratios", catalogued, name="grpo")
