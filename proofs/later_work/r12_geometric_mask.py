"""R12: where a mask by a rollout's geometric mean drops the signal: long rollouts of an engine that is a little apart."""

from functools import cache, partial

import numpy as np
import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate
from gradvar.pieces import correction as c

T = sp.Symbol("T", integer=True, positive=True)
share, divergence, spread, edge, far, distance = sp.symbols("k D v b f d", real=True)

claim = sy.Claim(
    id="R12",
    title=(
        "A mask by the geometric mean of the ratios leaves a share of the rollouts that goes to zero with their length, if "
        "the engine is farther from the trainer than the band's lower end"
    ),
    statement=sy.Statement(
        setting=(
            r"T tokens drawn independently from an engine; a rollout stays if the mean over its tokens of $\log w$, w the "
            r"ratio of trainer to engine, is at least $-b$ and at most the band's upper end"
        ),
        forall={T: sy.whole(1)},
        quantities={
            share: sy.Quantity("k", "the share of the rollouts that stays"),
            divergence: sy.Quantity(
                "D", "the divergence of engine from trainer in nats per token, the mean of $-\\log w$"
            ),
            spread: sy.Quantity("v", r"the variance of a token's $\log w$"),
            edge: sy.Quantity("b", "minus the logarithm of the band's lower end"),
            far: sy.Quantity(
                "f", "the chance that a mean of T independent numbers is d or more from its expectation"
            ),
            distance: sy.Quantity("d", "a positive distance"),
        },
        lemmas={
            "Chebyshev": sy.Lemma(
                sp.Implies(distance > 0, far <= spread / (T * distance**2)),
                cited="Chebyshev's inequality for a mean of T independent numbers of variance v",
            )
        },
        goals={
            "few stay": sp.Implies(divergence > edge, share <= spread / (T * (divergence - edge) ** 2)),
        },
    ),
    source=sy.Source(
        "NeMo-RL, OpenRLHF",
        place="sequence-masked truncated importance sampling, band 0.999 to 1.002",
        relation="ours",
        says="the rollouts whose geometric mean of the ratios is outside the band are dropped",
    ),
    verdict="proved",
    scope="independent tokens of one distribution; any upper end of the band; a batch's rollouts have one length",
    proof=(
        r"Under the engine the mean of $\log w$ has the expectation $-D$, not zero: the engine's own tokens are those that "
        r"it likes more than the trainer does. It stays near there as rollouts grow, with variance v/T. To stay, a rollout's "
        r"mean has to be at least $-b$, which is $D - b$ away, and Chebyshev's inequality bounds the chance of that."
    ),
    finding=(
        "The band 0.999 to 1.002 asks for less than 0.001 nats per token. With a trainer of (1/2, 1/2) and an engine of "
        "(11/20, 9/20), which is 0.005 nats per token, no rollout of 10 tokens stays, and of those of 100 tokens 14 % do; "
        "an engine that is exactly the trainer loses none. A wider band, or one around the measured divergence, keeps the "
        "signal."
    ),
)


@claim.step(
    "Any length", route="smt", shows="the chance that stays is at most the chance of so large a deviation"
)
def any_length(edge_shift=0):
    d, v, b, f = sp.symbols("D_0 v_0 b_0 f_0", real=True)
    claim.goal("few stay").holds(
        {share: f, divergence: d, spread: v, edge: b + edge_shift},
        where=[v > 0],
        using={"Chebyshev": {far: f, distance: d - b, spread: v}},
    )


HALF, ENGINE = sp.Rational(1, 2), sp.Rational(11, 20)
BAND = (sp.Rational(999, 1000), sp.Rational(1002, 1000))
WIDER = (sp.Rational(998, 1000), sp.Rational(1002, 1000))
LENGTHS = (1, 2, 10, 40)


@cache
def stays(length, band, engine):
    """Whether a rollout with 0 to ``length`` tokens of the first kind stays, by the shipped mask run in floats."""
    estimator = compose(
        advantage=advantage.raw,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        correction=partial(c.geometric_mask, low=float(band[0]), high=float(band[1])),
        min_group=1,
    )
    kinds = [sp.log(engine), sp.log(1 - engine)]
    rows = [[kinds[t >= n] for t in range(length)] for n in range(length + 1)]
    trainer = np.full((1, length + 1, length), sp.log(HALF), object)
    rewards = np.full((1, length + 1), sp.Integer(1), object)
    batch = sy.symbolic_batch(rewards, trainer, logp_sampler=np.asarray([rows], object))
    return [bool(x) for x in np.asarray(sy.executed_weights(estimator, trainer, batch))[0, :, 0] != 0]


def by_counts(length, band, engine):
    """The same from exact logarithms."""
    lower, upper = (sp.log(x) for x in band)
    means = [
        (n * sp.log(HALF / engine) + (length - n) * sp.log(HALF / (1 - engine))) / length
        for n in range(length + 1)
    ]
    return [bool((m - lower).evalf(30) >= 0 and (upper - m).evalf(30) >= 0) for m in means]


def share_of(passes, length, engine):
    chances = [sp.binomial(length, n) * engine**n * (1 - engine) ** (length - n) for n in range(length + 1)]
    return sp.Add(*[chance for chance, is_left in zip(chances, passes, strict=True) if is_left])


def discharge(rule, lengths, engine=ENGINE, scale=1):
    logs = [sp.log(engine / HALF), sp.log((1 - engine) / HALF)]
    mean = engine * logs[0] + (1 - engine) * logs[1]
    variance = scale * (engine * logs[0] ** 2 + (1 - engine) * logs[1] ** 2 - mean**2)
    for length in lengths:
        for band in (BAND, WIDER):
            value = share_of(rule(length, band, engine), length, engine)
            claim.goal("few stay").holds(
                {share: value, divergence: mean, spread: variance, edge: -sp.log(band[0])}, at={T: length}
            )
    sy.equal(share_of(rule(10, BAND, engine), 10, engine), 0, "none of ten tokens")


@claim.step("The shipped mask", route="executed code", shows="two tokens, rollouts of 2 and of 40, two bands")
def shipped(scale=1):
    discharge(stays, (2, 40), scale=scale)


@claim.step("Exact logarithms", route="enumeration", shows="the same share by counts of the first token")
def counted(scale=1):
    discharge(by_counts, (*LENGTHS, 100), scale=scale)
    of_hundred = share_of(by_counts(100, BAND, ENGINE), 100, ENGINE)
    sy.require(sp.Rational(13, 100) < of_hundred < sp.Rational(15, 100), "14 % of 100 tokens")


claim.sabotage("the lower end taken for another one", any_length, edge_shift=sp.Rational(-1, 100))
claim.sabotage("a thousandth of the variance, by the mask", shipped, scale=sp.Rational(1, 1000))
claim.sabotage("a thousandth of the variance, counted", counted, scale=sp.Rational(1, 1000))
