"""A3: DPO's gradient is a one-against-one contrast with a coefficient in closed form."""

import jax.numpy as jnp
import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

beta, m = sp.Symbol("beta", positive=True), sp.Symbol("m", real=True)
up, down, mean_update, mean_contrast = sp.symbols("g_w g_l E M", real=True)

claim = sy.Claim(
    id="A3",
    title="DPO's gradient is a contrast, with a coefficient that falls with the margin",
    statement=sy.Statement(
        setting=(
            r"A pair of rollouts with $r_w > r_l$, the objective $\log \sigma(\beta m)$ with the margin $m = \log "
            r"\frac{\pi(o_w)}{\pi_{ref}(o_w)} - \log \frac{\pi(o_l)}{\pi_{ref}(o_l)}$ of whole answers"
        ),
        forall={beta: sy.above(0), m: sy.real()},
        quantities={
            up: sy.Quantity("g_w", "the weight of each token of the preferred answer"),
            down: sy.Quantity("g_l", "the weight of each token of the other"),
            mean_update: sy.Quantity(
                r"\mathrm{E}[\hat g]",
                "the mean update of a logit for answers of chance 1/2, 1/3, 1/6 with rewards 0, 1, 2 against a "
                r"uniform reference, $\beta = 1$",
            ),
            mean_contrast: sy.Quantity(
                "M",
                r"the sum over pairs of answers with different rewards of their chance $2 \pi_w \pi_l$ times $s_w - "
                r"s_l$ and $\pi_l / (\pi_w + \pi_l)$, which is $\sigma(-m)$ there",
            ),
        },
        ranges={"mean": ()},
        goals={
            "contrast": sp.And(
                sp.Eq(up, beta / (1 + sp.exp(beta * m))), sp.Eq(down, -beta / (1 + sp.exp(beta * m)))
            ),
            "falls": sp.Lt(sp.Derivative(up, m), 0),
            "limits": sp.And(sp.Eq(sp.Limit(up, m, -sp.oo), beta), sp.Eq(sp.Limit(up, m, sp.oo), 0)),
            "mean": sp.Eq(mean_update, mean_contrast),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Section 3 and Appendix B.5, after 2305.18290, equation (7)",
        says="DPO's gradient is a contrast of the two answers, weighed by how wrong the implicit reward is",
        caveat="the coefficient in B.5 has the whole answer's probability in the denominator where a token's is meant",
    ),
    verdict="proved",
    scope=r"all log-ratios of either sign, rollouts of any length, any $\beta > 0$ (traced at 1/10 and 1)",
    proof=(
        r"The derivative of $\log \sigma(\beta m)$ by $m$ is $\beta \sigma(-\beta m) = \beta / (1 + e^{\beta m})$, "
        "and the margin has the derivative 1 by each token's log-probability in the preferred answer, -1 in the "
        r"other: sums over tokens, no length. The coefficient falls in $m$, from $\beta$ to 0. The shipped objective "
        "has these weights with symbols for all log-probabilities, margins of both signs, and its mean over all "
        "pairs of a bandit is the sum of contrasts."
    ),
    finding=(
        r"The coefficient falls from $\beta$ to $0$ as the margin grows and is $\beta/2$ at $\theta = \theta_{ref}$."
    ),
)


@claim.step(
    "By hand",
    route="sympy",
    shows=r"the derivative of $\log \sigma(\beta(x - y - z + c))$ by a token of either answer; its slope and limits",
)
def calculus(sign=1):
    x, y, z, c = sp.symbols("x y z c", real=True)  # one token of the preferred answer, two of the other
    objective = sp.log(1 / (1 + sp.exp(-beta * sign * (x - y - z - c))))
    at_margin = {c: x - y - z - m}
    weights = [sp.simplify(sp.diff(objective, token).subs(at_margin)) for token in (x, y, z)]
    for other in weights[1:]:
        claim.goal("contrast").holds({up: weights[0], down: other})
    claim.goal("falls").holds({up: weights[0]})
    claim.goal("limits").holds({up: weights[0]})


@claim.step(
    "The shipped gradient",
    route="traced code",
    shows="every token's weight, margins of both signs, rollouts of one and two tokens, as catalogued and at 1",
)
def traced(sign=1, multiple=1):
    shown = None
    for settings, b in (({}, sp.Rational(1, 10)), ({"beta": 1.0}, sp.Integer(1))):
        reference = sy.symbols("c", (1, 2, 2))
        rollouts = sy.symbolic_group(2, (1, 2), rewards=(1, 0), logp_ref=reference)
        h = rollouts.logp - reference
        # The reference of the first token is the one at which the margin is m.
        at_margin = {reference[0, 0, 0]: rollouts.logp[0, 0, 0] - h[0, 1, 0] - h[0, 1, 1] - sign * m}
        for tilt in (sp.Rational(1, 3), sp.Rational(7, 2)):
            free = [*rollouts.rho.flat, *np.asarray(rollouts.batch.logp_old).flat, *reference.flat]
            point = dict.fromkeys(free, sp.Integer(1)) | {
                rollouts.rho[0, 0, 0]: tilt,
                rollouts.rho[0, 1, 0]: 1 / tilt,
            }
            weights = rollouts.weights(catalogue.get("dpo", **settings), assume=sy.Witness(point))[0]
            sy.require(weights[0, 1] == 0, "padding has weight zero")
            first, *others = (
                sp.simplify(sp.expand_log(multiple * w.subs(at_margin)))
                for w in (weights[0, 0], weights[1, 0], weights[1, 1])
            )
            for other in others:
                claim.goal("contrast").holds({up: first, down: other}, at={beta: b})
            claim.goal("falls").holds({up: first}, at={beta: b})
            claim.goal("limits").holds({up: first}, at={beta: b})
            shown = first
    return sy.Exhibit(formula=sp.latex(shown))


BANDIT = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, 2])


def mean_contrasts(power=1):
    """For each logit, the sum over pairs of answers of their chance as a pair, sigma(-m) and the contrast of scores."""
    rows = list(zip(BANDIT.probabilities, BANDIT.rewards, BANDIT.scores, strict=True))
    pairs = [(2 * p * q * (q / (p + q)) ** power, s, t) for p, r, s in rows for q, u, t in rows if r > u]
    return [sp.Add(*[weight * (s[i] - t[i]) for weight, s, t in pairs]) for i in range(3)]


@claim.step(
    "An expected update, by listing pairs",
    route="enumeration",
    shows="the shipped weights at the exact log-probabilities of every ordered pair of answers",
)
def listed(reference=(1, 1, 1)):
    slope = sy.gradient(catalogue.get("dpo", beta=1.0))

    def weights(answers):
        logp = np.asarray([[[sp.log(BANDIT.probabilities[j])] for j in answers]], object)
        rewards = np.asarray([[BANDIT.rewards[j] for j in answers]], object)
        uniform = np.asarray([[[sp.log(reference[j])] for j in answers]], object)
        return [
            sp.simplify(w)
            for w in sy.trace(slope, logp, sy.symbolic_batch(rewards, logp, logp_ref=uniform)).reshape(-1)
        ]

    moments = sy.group_moments(BANDIT, 2, weights, by_answer=True)
    claim.goal("mean").holds({mean_update: moments.mean, mean_contrast: mean_contrasts()})


@claim.step(
    "An expected update", route="exact engine", shows="the engine's mean of the shipped objective at G = 2"
)
def engines(power=1):
    moments = sy.engine(catalogue.get("dpo", beta=1.0), BANDIT, 2, ref_params=jnp.zeros((1, 3)))
    values = {mean_update: np.asarray(moments.mean).reshape(-1), mean_contrast: mean_contrasts(power)}
    claim.goal("mean").holds(values, tolerance=1e-11)


claim.sabotage("a margin of the other sign in the code", traced, sign=-1)
claim.sabotage("twice the coefficient", traced, multiple=2)
claim.sabotage("a margin of the other sign by hand", calculus, sign=-1)
claim.sabotage("a reference that is not uniform", listed, reference=(1, 2, 3))
claim.sabotage("the coefficient squared", engines, power=2)
