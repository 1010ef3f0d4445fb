"""R18: Adam's step and the scale of the rewards."""

import itertools

import sympy as sp

from gradvar import symbolic as sy

scale = sp.Symbol("c", positive=True)
eps = sp.Symbol("epsilon", nonnegative=True)
scaled, plain, first = sp.symbols("u v f", real=True)

claim = sy.Claim(
    id="R18",
    title="Adam's steps do not depend on the scale of the gradients, but for its epsilon",
    statement=sy.Statement(
        setting=(
            r"One parameter, Adam with bias correction and decoupled weight decay; the gradients $g_1, g_2, \ldots$ do not vanish. A scale of "
            "the rewards scales all of them where no penalty is added"
        ),
        forall={scale: sy.above(0), "step": sy.one_of(1, 2, 3), eps: sy.above(0, closed=True)},
        quantities={
            scaled: sy.Quantity("u", r"the step with gradients $c g_t$, $\epsilon = 0$"),
            plain: sy.Quantity("v", r"the step with gradients $g_t$, $\epsilon = 0$"),
            first: sy.Quantity(
                "f", r"the size of the first step with the gradient c and this $\epsilon$, over the rate"
            ),
        },
        goals={
            "no scale": sp.Eq(scaled, plain),
            "with epsilon": sp.Eq(first, scale / (scale + eps)),
        },
        ranges={"no scale": (scale, "step"), "with epsilon": (scale, eps)},
    ),
    source=sy.Source(
        "2601.05002",
        "v1",
        "abstract",
        relation="implies",
        says="the AdamW optimizer makes the training dynamics largely insensitive to the scale of rewards",
        caveat="largely: its epsilon, gradient clipping and a KL penalty bring the scale back",
    ),
    verdict="proved",
    scope="the first three steps, any decays and gradients",
    proof=(
        "Both averages are sums of the gradients and of their squares, so the first scales with c and the root of the second with c; "
        "their quotient does not. The decay of the weights has no gradient in it. The corrections make the first step $g/(|g| + \\epsilon)$, "
        "so what is left of the scale is a gradient as small as $\\epsilon$."
    ),
    finding=(
        "GRPO's division by the group's standard deviation changes the weights of prompts against each other; a common factor it "
        "removes is one that AdamW removes as well."
    ),
)


def adam(gradients, decays, small=0):
    """The last step of these gradients over the rate, without the decay of the weights."""
    first_decay, second_decay = decays
    m = v = sp.Integer(0)
    for g in gradients:
        m, v = first_decay * m + (1 - first_decay) * g, second_decay * v + (1 - second_decay) * g**2
    t = len(gradients)
    return (m / (1 - first_decay**t)) / (sp.sqrt(v / (1 - second_decay**t)) + small)


@claim.step("Any gradients", route="sympy", shows="symbols for gradients and decays")
def any_gradients(power=2):
    decays = sp.Symbol("beta1", positive=True), sp.Symbol("beta2", positive=True)
    gradients = sp.symbols("g1:4", positive=True)
    inside = [decays[0] < 1, decays[1] < 1]
    for t in (1, 2, 3):
        plainly = adam(gradients[:t], decays)
        both = adam([scale * g for g in gradients[:t]], decays)
        both = both if power == 2 else both * scale
        claim.goal("no scale").holds(
            {scaled: sp.simplify(both), plain: sp.simplify(plainly)}, at={"step": t}, where=inside
        )
    claim.goal("with epsilon").holds({first: sp.simplify(adam([scale], decays, eps))}, where=inside)


@claim.step("In numbers", route="enumeration", shows="gradients of both signs, the usual decays and others")
def in_numbers(small=0):
    usual = sp.Rational(9, 10), sp.Rational(999, 1000)
    other = sp.Rational(1, 2), sp.Rational(3, 4)
    for decays, factor in itertools.product((usual, other), (sp.Rational(1, 7), sp.Integer(30))):
        for gradients in ((1, -2, 3), (-1, sp.Rational(1, 5), 4)):
            for t in (1, 2, 3):
                values = {
                    scaled: adam([factor * g for g in gradients[:t]], decays, small),
                    plain: adam(gradients[:t], decays, small),
                }
                claim.goal("no scale").holds(values, at={"step": t, scale: factor})
        for least in (0, sp.Rational(1, 10**8), 1):
            claim.goal("with epsilon").holds(
                {first: adam([factor], decays, least)}, at={scale: factor, eps: least}
            )


claim.sabotage("a step in proportion to the scale", any_gradients, power=1)
claim.sabotage("with an epsilon of one", in_numbers, small=1)
