"""A3: DPO's gradient is a one-against-one contrast with a coefficient in closed form."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="A3",
    title="DPO's gradient is a contrast, and its coefficient",
    statement=(
        r"For a pair with $r_w > r_l$ the gradient of $\log \sigma(\beta m)$, with the margin $m = \log "
        r"\frac{\pi(o_w)}{\pi_{ref}(o_w)} - \log \frac{\pi(o_l)}{\pi_{ref}(o_l)}$, is $\beta \sigma(-\beta "
        r"m) \left[ \nabla \log \pi(o_w) - \nabla \log \pi(o_l) \right]$, sums over tokens without a "
        r"length."
    ),
    source=sy.Source("2510.00977", "v3", "Section 3, DPO's gradient (after 2305.18290, equation (7))"),
    verdict="proved",
    scope="all log-ratios of either sign, rollouts of any length, any beta > 0 (traced at 0.1 and 1)",
    finding=(
        r"The coefficient falls from $\beta$ to $0$ as the margin grows and is $\beta/2$ at $\theta = "
        r"\theta_{ref}$."
    ),
)


def rollouts(lengths=(1, 2)):
    shape = (1, 2, max(lengths))
    ref = sy.symbols("c", shape)
    return sy.symbolic_group(2, lengths, rewards=(1, 0), logp_ref=ref), ref


@claim.step(
    "The shipped gradient",
    route="traced code",
    shows=r"every token's weight is $\pm \beta \sigma(-\beta m)$, margins of both signs",
)
def traced(sign=-1, half=1):
    shown = None
    for beta in (0.1, 1.0):
        s, ref = rollouts()
        h = s.logp - ref
        margin = h[0, 0, 0] - h[0, 1, 0] - h[0, 1, 1]
        b = sp.Rational(str(beta))
        coefficient = half * b / (1 + sp.exp(-sign * b * margin))
        free = sorted(margin.free_symbols, key=str)
        for tilt in (sp.Rational(1, 3), sp.Rational(7, 2)):
            point = {x: sp.Rational(2, 5) for x in free} | {s.rho[0, 0, 0]: tilt, s.rho[0, 1, 0]: 1 / tilt}
            point |= {
                x: sp.Integer(1) for x in [*s.rho.flat, *s.batch.logp_old.flat, *ref.flat] if x not in point
            }
            weights = s.weights(catalogue.get("dpo", beta=beta), assume=sy.Witness(point))[0]
            sy.require(weights[0, 1] == 0, "padding has weight zero")
            sy.equal(
                [weights[0, 0], weights[1, 0], weights[1, 1]],
                [coefficient, -coefficient, -coefficient],
                "DPO's weights",
            )
            shown = coefficient
    return sy.Exhibit(formula=sp.latex(shown))


@claim.step(
    "By hand",
    route="sympy",
    shows=(
        r"$\frac{d}{dm} \log \sigma(\beta m) = \beta \sigma(-\beta m)$, falling in $m$, limits $\beta$ and "
        r"$0$"
    ),
)
def calculus(at_reference=sp.Rational(1, 2)):
    beta, m = sp.Symbol("beta", positive=True), sp.Symbol("m", real=True)
    slope = sp.diff(sp.log(1 / (1 + sp.exp(-beta * m))), m)
    sy.equal(slope, beta / (1 + sp.exp(beta * m)), "the slope")
    sy.equal(
        sp.diff(slope, m),
        -beta * slope * (1 - slope / beta),
        "the slope's slope, negative as 0 < slope < beta",
    )
    sy.equal(slope.subs(m, 0), beta * at_reference, "at the reference")
    sy.require(
        sp.limit(slope.subs(beta, 1), m, sp.oo) == 0 and sp.limit(slope.subs(beta, 1), m, -sp.oo) == 1,
        "limits",
    )


@claim.step(
    "An expected update in rationals",
    route="exact engine",
    shows=(
        r"$\pi = (1/2, 1/3, 1/6)$ against a uniform reference, $\beta = 1$: $\sigma(-m) = \pi_l / (\pi_w + "
        r"\pi_l)$"
    ),
)
def engines(power=1):
    import jax.numpy as jnp

    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, 2])

    def weights(answers):
        j, k = answers
        if j == k:
            return 0, 0
        p, r = bandit.probabilities, bandit.rewards
        w, loser = (j, k) if r[j] > r[k] else (k, j)
        size = (p[loser] / (p[w] + p[loser])) ** power
        return (size, -size) if w == j else (-size, size)

    exact = sy.group_moments(bandit, 2, weights, by_answer=True)
    moments = sy.engine(catalogue.get("dpo", beta=1.0), bandit, 2, ref_params=jnp.zeros((1, 3)))
    sy.engines_agree(moments, exact, "DPO on all pairs")


claim.sabotage("sigma of plus the margin", traced, sign=1)
claim.sabotage("twice the coefficient", traced, half=2)
claim.sabotage("the full beta at the reference", calculus, at_reference=1)
claim.sabotage("the coefficient squared", engines, power=2)
