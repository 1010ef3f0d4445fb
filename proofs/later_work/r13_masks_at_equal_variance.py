"""R13: DPPO's mask and PPO's clip at an equal cut of the second moment: which of them costs more bias."""

from functools import partial

import numpy as np
import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

NAMES = ("mu_x", "pi_x", "mu_y", "pi_y", "epsilon", "delta", "a_x", "a_y")
mu_x, pi_x, mu_y, pi_y, clip, band, a_x, a_y = (sp.Symbol(name, positive=True) for name in NAMES)
bias_x, bias_y, cut_x, cut_y = sp.symbols("B_x B_y V_x V_y", real=True)

claim = sy.Claim(
    id="R13",
    title="At an equal cut of the second moment DPPO's mask costs more bias than PPO's clip, response against response",
    statement=sy.Statement(
        setting=(
            r"Whole responses drawn from $\mu$, the weight $\pi/\mu$ times a positive advantage; x is a response that PPO's clip at "
            r"$1 + \epsilon$ drops and DPPO's mask at $\delta$ leaves, y one that the mask drops and the clip leaves"
        ),
        forall={
            mu_x: sy.between(0, 1),
            pi_x: sy.between(0, 1),
            mu_y: sy.between(0, 1),
            pi_y: sy.between(0, 1),
            clip: sy.above(0),
            band: sy.above(0),
            a_x: sy.above(0),
            a_y: sy.above(0),
        },
        given={
            "the clip drops x": sy.Hypothesis(
                r"$\pi_x / \mu_x > 1 + \epsilon$", pi_x > (1 + clip) * mu_x, stated_by="ours"
            ),
            "the mask leaves x": sy.Hypothesis(
                r"$\pi_x - \mu_x \le \delta$", pi_x - mu_x <= band, stated_by="ours"
            ),
            "the clip leaves y": sy.Hypothesis(
                r"$\pi_y / \mu_y \le 1 + \epsilon$", pi_y <= (1 + clip) * mu_y, stated_by="ours"
            ),
            "the mask drops y": sy.Hypothesis(
                r"$\pi_y - \mu_y > \delta$", pi_y - mu_y > band, stated_by="ours"
            ),
        },
        quantities={
            bias_x: sy.Quantity("B_x", "the squared length of what dropping x takes from the mean"),
            bias_y: sy.Quantity("B_y", "the same of y"),
            cut_x: sy.Quantity("V_x", "what dropping x takes from the second moment"),
            cut_y: sy.Quantity("V_y", "the same of y"),
        },
        goals={
            "price of the clip": sp.Eq(bias_x, mu_x * cut_x),
            "price of the mask": sp.Eq(bias_y, mu_y * cut_y),
            "likelier": sp.Lt(mu_x, mu_y),
            "at an equal cut": sp.Implies(sp.Eq(cut_x, cut_y), bias_y > bias_x),
        },
    ),
    source=sy.Source(
        "2602.04879",
        relation="ours",
        says=(
            "a mask on the divergence in place of a clip on the ratio leaves rare tokens their gradient and bounds likely ones"
        ),
        caveat="the paper argues by the trust region and by training, not by bias at equal variance",
    ),
    verdict="proved",
    scope=(
        r"a is the squared advantage times the score's squared length; one response against another; for negative advantages "
        "with the lower bounds likewise"
    ),
    proof=(
        r"Without masks the mean is the gradient, so what a mask takes away is bias. Dropping y takes $\pi_y A s$ from the mean, of "
        r"squared length $\pi_y^2 a$, and $\mu_y (\pi_y/\mu_y)^2 a$ from the second moment: the first is $\mu_y$ times the second. "
        r"The clip drops x and the mask does not, so $\epsilon \mu_x < \pi_x - \mu_x \le \delta$; for y it is the other way round, "
        r"$\delta < \pi_y - \mu_y \le \epsilon \mu_y$. So $\mu_x < \delta/\epsilon < \mu_y$: at an equal cut of the second moment "
        r"the mask's bias is $\mu_y / \mu_x$ times as large, in squares."
    ),
    finding=(
        "A rare response with a large ratio is much variance and little bias, and it is what the clip drops. The mask drops likely "
        "responses of moderate ratios, which carry the gradient. That mask may still be the better trust region: this is about "
        "one step's bias and variance."
    ),
)


@claim.step("Any two responses", route="smt", shows="both cuts by their definition, in symbols")
def in_symbols(power=2):
    cuts = {cut_x: mu_x * (pi_x / mu_x) ** power * a_x, cut_y: mu_y * (pi_y / mu_y) ** power * a_y}
    biases = {bias_x: pi_x**2 * a_x, bias_y: pi_y**2 * a_y}
    claim.goal("price of the clip").holds(cuts | biases)
    claim.goal("price of the mask").holds(cuts | biases)
    claim.goal("likelier").holds({})
    claim.goal("at an equal cut").holds(cuts | biases)


# mu and pi of x, y and a rest, then the clip and the mask's band
CASES = (
    (("1/100", "49/100", "1/2"), ("1/50", "56/100", "42/100"), "1/5", "1/20"),
    (("1/20", "2/5", "11/20"), ("1/10", "1/2", "2/5"), "1/2", "3/40"),
    (("1/200", "3/4", "49/200"), ("1/40", "4/5", "7/40"), "1/10", "3/100"),
)


def shipped(mu, pi, epsilon, delta):
    """The weight of each response with a positive advantage of one, by the shipped clip and mask."""
    size = len(pi)
    new, old = (np.asarray([[[sp.log(x)] for x in row]], object) for row in (pi, mu))
    batch = sy.symbolic_batch(np.asarray([[sp.Integer(1)] * size], object), old, logp_sampler=old)
    weights = []
    for piece in (
        partial(surrogate.ppo_clip, high=float(epsilon)),
        partial(surrogate.dppo_tv, high=float(delta), cap=1e6),
        surrogate.importance_ratio,
    ):
        estimator = compose(
            advantage=advantage.raw, surrogate=piece, aggregate=aggregate.sequence_token_sum, min_group=1
        )
        weights.append(size * sy.trace(sy.gradient(estimator), new, batch)[0, :, 0])
    return weights


def from_weights(case, rule, scale=(1, 1)):
    """What each mask takes from mean and second moment, as differences with the weights without a mask."""
    mu, pi = ([sp.Rational(x) for x in row] for row in case[:2])
    epsilon, delta = (sp.Rational(x) for x in case[2:])
    clipped, masked, plain = rule(mu, pi, epsilon, delta)
    scores = [[int(j == y) - pi[j] for j in range(3)] for y in range(3)]
    lengths = [sum(x * x for x in s) for s in scores]
    # advantages for which both masks take the same from the second moment
    advantages = [1, sp.sqrt(pi[0] ** 2 / mu[0] * lengths[0] / (pi[1] ** 2 / mu[1] * lengths[1])), 1]
    values = {}
    for bias, cut, weights in ((bias_x, cut_x, clipped), (bias_y, cut_y, masked)):
        gaps = [
            [m * (u - v) * a * x for x in s]
            for m, u, v, a, s in zip(mu, plain, weights, advantages, scores, strict=True)
        ]
        values[bias] = sp.nsimplify(sum(sum(row[j] for row in gaps) ** 2 for j in range(3)))
        values[cut] = sp.nsimplify(
            sum(
                m * (u**2 - v**2) * a**2 * n
                for m, u, v, a, n in zip(mu, plain, weights, advantages, lengths, strict=True)
            )
        )
    squares = [x**2 * n for x, n in zip(advantages, lengths, strict=True)]
    at = {
        mu_x: mu[0] * scale[0], mu_y: mu[1] * scale[1], pi_x: pi[0], pi_y: pi[1], clip: epsilon, band: delta,
        a_x: squares[0], a_y: squares[1],
    }  # fmt: skip
    return {name: sp.simplify(x) for name, x in values.items()}, at


def discharge(rule, scale=(1, 1)):
    for case in CASES:
        values, at = from_weights(case, rule, scale)
        for name in ("price of the clip", "price of the mask", "at an equal cut"):
            claim.goal(name).holds(values, at=at)
        claim.goal("likelier").holds({}, at=at)
        sy.equal(values[cut_x], values[cut_y], "the same cut")


@claim.step(
    "The shipped clip and mask",
    route="traced code",
    shows="`ppo_clip` and `dppo_tv` on three policies of three responses, both cuts of the second moment equal",
)
def traced(scale=(1, 1)):
    discharge(shipped, scale)


claim.sabotage("the second moment with the ratio's first power", in_symbols, power=1)
claim.sabotage("the engine's chance of x half as large again", traced, scale=(sp.Rational(3, 2), 1))
