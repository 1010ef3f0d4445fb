"""A4: where two-rollout GRPO and DPO pull in the same direction, exactly, and by which factor."""

import jax
import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

claim = sy.Claim(
    id="A4",
    title="GRPO is secretly DPO: on policy, pair by pair, up to a factor that grows with the margin",
    statement=(
        r"For one pair, $r_w > r_l$, the two-rollout GRPO gradient and DPO's are the same direction if and "
        r"only if no token is clipped and all tokens of both rollouts have one common value $\kappa$ of "
        r"ratio times share, $\rho_{it} a_i = \kappa$ (or both rollouts are clipped throughout and GRPO's "
        r"gradient is zero). So on policy ($\theta = \theta_{old}$) with equal shares it holds, for every "
        r"$\theta_{ref}$. GRPO's gradient is then $\frac{c \kappa}{\beta} (1 + e^{\beta m})$ times DPO's, $m$ "
        r"the margin over the reference, $c$ the pair's advantage: with token sums ($\kappa = \frac{1}{2}$) "
        r"$c/\beta$ at $m = 0$, without bound as $m \to \infty$. Everywhere else the ratio differs from token "
        r"to token: $\frac{c \rho_{it} a_i}{\beta} (1 + e^{\beta m})$, and zero where a token is clipped."
    ),
    hypotheses=(
        r"$\theta = \theta_{old}$: all ratios are one (or all equal and inside the clip)",
        (
            "the aggregation gives both rollouts' tokens the same share: equal lengths, or token-mean, or "
            "token-sum"
        ),
        "one pair; or a batch of pairs with one common margin and gap",
    ),
    source=sy.Source("2510.00977", "v3", "title and Section 3"),
    verdict="conditional",
    scope=(
        "all ratios off the clip's boundary, all rewards and margins; rollouts of one and two tokens stand "
        "for any length, since the condition is per token"
    ),
    finding=(
        r"As vectors of token weights; so the gradients in parameters are parallel too, for any policy, and "
        r"only then when the tokens' scores are linearly independent. A batch of pairs with different "
        r"margins already breaks it: DPO weighs them by $\sigma(-\beta m)$, GRPO all the same."
    ),
)
x, y1, y2 = sp.symbols("rho11 rho21 rho22", positive=True)


def grpo_like(rule):
    return compose(
        advantage=lambda rewards: advantage.standardised(rewards, eps=0.0),
        surrogate=surrogate.ppo_clip,
        aggregate=rule,
    )


@claim.step(
    "Exactly when the weights are parallel",
    route="traced code",
    shows=(
        r"DPO's weights are $D, -D, -D$ with $D > 0$ (claim A3); in every region of the traced GRPO "
        r"weights, all $2 \times 2$ minors vanish if and only if the weights are zero or nothing is clipped "
        r"and $\rho_{11} a_1 = \rho_{21} a_2 = \rho_{22} a_2$"
    ),
)
def exact_set(with_shares=True):
    for rule, shares in ((aggregate.sequence_token_mean, (2, 1)), (aggregate.token_mean, (1, 1))):
        first, right = shares if with_shares else (1, 1)
        rollouts = sy.symbolic_group(2, (1, 2), rewards=(1, 0))
        for region in sy.explore(jax.grad(grpo_like(rule)), rollouts.logp, rollouts.batch):
            (w, _), (l1, l2) = region.value[0]
            # The minors of (w, l1, l2) against (1, -1, -1).
            parallel = sp.And(sp.Eq(w, -l1), sp.Eq(w, -l2))
            retained = [v < sp.Rational(6, 5) if v is x else v > sp.Rational(4, 5) for v in (x, y1, y2)]
            common = sp.And(*retained, sp.Eq(first * x, right * y1), sp.Eq(y1, y2))
            nothing = sp.And(*[sp.Not(k) for k in retained])
            answer = sy.smt_valid(region.conditions, sp.Equivalent(parallel, sp.Or(common, nothing)))
            sy.require(
                answer, f"parallel iff one common ratio times share, {rule.__name__}, {region.conditions}"
            )


@claim.step(
    "The ratio of the two gradients",
    route="sympy",
    shows=(
        r"$c \kappa / (\beta \sigma(-\beta m)) = \frac{c \kappa}{\beta} (1 + e^{\beta m})$; $2 c \kappa/\beta$ at "
        r"the reference, increasing in $m$ from $c \kappa/\beta$ to infinity"
    ),
)
def factor(at_reference=2):
    beta, c, kappa = sp.symbols("beta c kappa", positive=True)
    m = sp.Symbol("m", real=True)
    ratio = c * kappa / (beta / (1 + sp.exp(beta * m)))
    sy.equal(ratio, c * kappa / beta * (1 + sp.exp(beta * m)), "the factor")
    sy.equal(ratio.subs(m, 0), at_reference * c * kappa / beta, "the factor at the reference")
    sy.require(sp.diff(ratio, m).is_positive, "increasing in the margin")
    unit = ratio.subs({beta: 1, c: 1, kappa: 1})
    sy.require(sp.limit(unit, m, sp.oo) is sp.oo and sp.limit(unit, m, -sp.oo) == 1, "from one to infinity")
    return sy.Exhibit(formula=sp.latex(sp.factor(ratio)))


@claim.step(
    "Both shipped gradients on policy",
    route="traced code",
    shows=r"their quotient is $(1 + e^{\beta m})/(2\beta)$ token by token",
)
def both_parts(beta_claimed=0.1):
    shape = (1, 2, 2)
    ref = sy.symbols("c", shape)
    rollouts = sy.symbolic_group(2, (2, 2), rewards=(1, 0), on_policy=True, logp_ref=ref)
    h = (rollouts.logp - ref).reshape(2, 2).sum(axis=1)
    point = {s: sp.Rational(i * i, 7) for i, s in enumerate([*ref.flat, *np.ravel(rollouts.batch.logp_old)])}
    dpo = rollouts.weights(catalogue.get("dpo", beta=0.1), assume=sy.Witness(point)).reshape(-1)
    grpo = rollouts.weights(grpo_like(aggregate.sequence_token_sum), assume=sy.Witness(point)).reshape(-1)
    b = sp.Rational(str(beta_claimed))
    for d, g in zip(dpo, grpo, strict=True):
        sy.equal(g, d * (1 + sp.exp(b * (h[0] - h[1]))) / (2 * b), "GRPO is this multiple of DPO")


@claim.step(
    "Both shipped gradients off policy, token by token",
    route="traced code",
    shows=(
        r"in every region of the ratios: GRPO's token weight is $\rho_{it} a_i (1 + e^{\beta m})/\beta$ times "
        r"DPO's where it is not clipped, zero where it is"
    ),
)
def token_by_token(power=1):
    ref = sy.symbols("c", (1, 2, 2))
    rollouts = sy.symbolic_group(2, (1, 2), rewards=(1, 0), logp_ref=ref)
    h, b = rollouts.logp - ref, sp.Integer(1)  # at beta 1 the ratios stay rational
    margin = h[0, 0, 0] - h[0, 1, 0] - h[0, 1, 1]
    # A reference off the tie, so that what DPO's logarithm decides holds around the point and not in it alone.
    off = [*np.asarray(rollouts.batch.logp_old, object).flat, *ref.flat]
    start = {symbol: sp.Rational(i * i + 1, 7) for i, symbol in enumerate(off)}
    for region in sy.explore(
        jax.grad(grpo_like(aggregate.sequence_token_mean)), rollouts.logp, rollouts.batch
    ):
        point = start | {rho: region.point[rho] for rho in rollouts.rho.flat}
        dpo = rollouts.weights(catalogue.get("dpo", beta=1.0), assume=sy.Witness(point))[0]
        for (i, t), share in {(0, 0): 2, (1, 0): 4, (1, 1): 4}.items():
            rho = rollouts.rho[0, i, t]
            retained = point[rho] < sp.Rational(6, 5) if i == 0 else point[rho] > sp.Rational(4, 5)
            ratio = rho**power / share * (1 + sp.exp(b * margin)) / b if retained else 0
            sy.equal(region.value[0, i, t], ratio * dpo[i, t], f"rollout {i + 1}, token {t + 1}")


@claim.counterexample(
    "Three answers, one pair, off policy: ratios 11/10 and 9/10 inside the clip. In the logits' space the "
    "two gradients are not parallel.",
    pi="(1/2, 1/3, 1/6)",
    rho_w="11/10",
    rho_l="9/10",
)
def off_policy(rho_w=sp.Rational(11, 10), rho_l=sp.Rational(9, 10)):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [1, 0, 0])
    s_w, s_l = (sp.Matrix(bandit.scores[i]) for i in (0, 1))
    grpo, dpo = (rho_w * s_w - rho_l * s_l) / 2, s_w - s_l
    sy.require(grpo.row_join(dpo).rank() == 2, "the gradients are not parallel")


@claim.counterexample(
    "On policy, rollouts of one and two tokens, GRPO's own mean over tokens: token weights (1/2; -1/4, -1/4) "
    "against DPO's (1; -1, -1).",
    lengths="(1, 2)",
)
def unequal_lengths(lengths=(1, 2)):
    rollouts = sy.symbolic_group(2, lengths, rewards=(1, 0), on_policy=True)
    weights = rollouts.weights(grpo_like(aggregate.sequence_token_mean))[0]
    retained = [w for row, n in zip(weights, lengths, strict=True) for w in row[:n]]
    sy.require(len({abs(w) for w in retained}) > 1, "the token weights do not have one common size")


@claim.counterexample(
    "Two prompts with two answers and one parameter each, on policy, at different distances from a uniform "
    "reference, beta = 1: expected GRPO (1/8, 3/32) and DPO (1/8, 9/64) have different directions; verified "
    "by the engine.",
    p="(1/2, 1/4)",
    reference="uniform",
)
def batch_of_pairs(second="1/4"):
    import jax.numpy as jnp

    bandits = [sy.SymbolicBandit([p, 1 - sp.Rational(p)], [1, 0]) for p in ("1/2", second)]
    # A mixed pair has probability 2 p (1 - p); GRPO weighs its contrast by 1/2, DPO by sigma(-m) = 1 - p.
    p = [b.probabilities[0] for b in bandits]
    claimed = [[q * (1 - q) for q in p], [2 * q * (1 - q) * (1 - q) for q in p]]
    cross = claimed[0][0] * claimed[1][1] - claimed[0][1] * claimed[1][0]
    sy.require(cross != 0, "the batch gradients are not parallel")
    directions = []
    for name, options in (("grpo", {"eps": 0.0}), ("dpo", {"beta": 1.0})):
        mean = np.asarray(
            sy.engine(catalogue.get(name, **options), bandits, 2, ref_params=jnp.zeros((2, 2))).mean
        )
        directions.append(np.asarray(mean).reshape(2, 2)[:, 0])
    for seen, exact in zip(directions, claimed, strict=True):
        gap = max(abs(a - float(b) / 2) for a, b in zip(seen, exact, strict=True))
        sy.require(gap < 1e-12, f"engine and closed form differ by {gap}: {seen} against {exact}")


claim.sabotage("shares ignored", exact_set, with_shares=False)
claim.sabotage("half the factor at the reference", factor, at_reference=1)
claim.sabotage("the same ratio for all tokens off policy", token_by_token, power=0)
claim.sabotage("another beta", both_parts, beta_claimed=0.2)
claim.sabotage("equal ratios, where the gradients are parallel", off_policy, rho_l=sp.Rational(11, 10))
claim.sabotage("equal lengths, where they are", unequal_lengths, lengths=(2, 2))
claim.sabotage("equal margins, where they are", batch_of_pairs, second="1/2")
