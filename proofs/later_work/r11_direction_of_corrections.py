"""R11: which corrections between engine and trainer change the direction of the mean gradient, not only its size."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.compose import compose, no_correction
from gradvar.pieces import advantage, aggregate, surrogate
from gradvar.pieces import correction as c

NAMES = ("none", "truncated", "band", "mask", "geometric mask", "rejection")
cross, update, gradient = sp.symbols("d u g", real=True)
SETTING = (
    r"Responses of one token, drawn from an engine $\mu$ that gives each a positive chance, a policy $\pi$ with a logit "
    "for each response, raw rewards"
)
QUANTITIES = {
    cross: sy.Quantity(
        "d", r"the first logit's mean update times the second's derivative of J, less the two exchanged"
    ),
    update: sy.Quantity("u", "the mean update, logit by logit"),
    gradient: sy.Quantity(r"\nabla J", "the gradient of the expected reward"),
}

claim = sy.Claim(
    id="R11",
    title="A correction that cuts or drops weights changes the size of the mean gradient, and not its direction",
    statement=sy.Statement(
        setting=SETTING,
        forall={"correction": sy.one_of(*NAMES)},
        quantities=QUANTITIES,
        goals={"same direction": sp.Eq(cross, 0)},
    ),
    instead=sy.Statement(
        setting=SETTING,
        forall={"correction": sy.one_of(*NAMES)},
        quantities=QUANTITIES,
        goals={
            "the full ratio": sp.Eq(update, gradient),
            "two responses": sp.Eq(cross, 0),
        },
        ranges={"the full ratio": ()},
    ),
    source=sy.Source(
        "the field", relation="ours", says="how much bias a correction leaves is seldom told apart"
    ),
    verdict="refuted",
    scope="any chances and rewards for what holds; the weight held, as every trainer has it",
    proof=(
        r"The mean update is the sum of $\pi(y)\, \omega(y)\, r(y)\, s(y)$ with $\omega$ the weight over the true ratio, and "
        r"the gradient is the same with $\omega = 1$. They are parallel for all rewards only if $\omega$ is one number. It "
        "is 1 for the full ratio. Every rule that cuts or drops some responses, and to correct nothing, has other numbers "
        "for other responses; three responses show a change of direction for each. With two responses a gradient has one "
        "direction, up to its sign, so nothing can change it."
    ),
    finding=(
        "Examples with two actions cannot show what a correction does to the direction. With three, all of those that are "
        "shipped change it but the full ratio (and its multiples)."
    ),
)

CORRECTIONS: dict[str, Callable[..., Any]] = {
    "none": no_correction,
    "truncated": partial(c.token_truncation, cap=2.0),
    "band": partial(c.token_band, low=0.5, high=2.0),
    "mask": partial(c.sequence_mask, cap=2.0),
    "geometric mask": partial(c.geometric_mask, low=0.5, high=2.0),
    "rejection": partial(c.rejection, divergence="k2", level="token", high=0.1),
    "ratio": c.sequence_ratio,
}
THREE = (("1/2", "3/8", "1/8"), ("1/4", "1/4", "1/2"), (1, 2, 4))
OTHERS = (
    (("1/10", "9/10"), ("1/2", "1/2"), (0, 1)),
    (("1/5", "4/5"), ("3/5", "2/5"), (2, "-1/2")),
)


def omegas(name, mu, pi, rewards):
    """The weight times the reward of each response, by the shipped correction; the estimator's mean is undone."""
    estimator = compose(
        advantage=advantage.raw,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        correction=CORRECTIONS[name],
        min_group=1,
    )
    logs = [np.asarray([[[sp.log(x)] for x in row]], object) for row in (mu, pi)]
    batch = sy.symbolic_batch(np.asarray([rewards], object), logs[1], logp_sampler=logs[0])
    return len(pi) * sy.trace(sy.gradient(estimator), logs[1], batch)[0, :, 0]


def moments(case, weights):
    """The mean update and the gradient of a case; ``weights`` are each response's weight times its reward."""
    mu, pi, _ = case
    size = range(len(pi))
    mean = [sum(mu[y] * weights[y] * (int(j == y) - pi[j]) for y in size) for j in size]
    return mean, sy.SymbolicBandit(list(pi), list(case[2])).gradient


def numbers(case):
    return tuple([sp.Rational(x) for x in part] for part in case)


def defect(mean, gradient):
    return mean[0] * gradient[1] - mean[1] * gradient[0]


@claim.step(
    "The shipped corrections",
    route="traced code",
    shows="the full ratio with two and three responses, and every correction with two",
)
def traced(exact="ratio"):
    for case in map(numbers, (THREE, *OTHERS)):
        mean, truth = moments(case, omegas(exact, *case))
        claim.goal("the full ratio").holds({update: mean, gradient: truth})
    for case in map(numbers, OTHERS):
        for name in NAMES:
            mean, truth = moments(case, omegas(name, *case))
            claim.goal("two responses").holds({cross: defect(mean, truth)}, at={"correction": name})


@claim.step(
    "Any weights in symbols", route="sympy", shows="chances, rewards and each response's weight are symbols"
)
def in_symbols(shift=0):
    mu, pi, omega, rewards = (
        [sp.Symbol(f"{x}{i}", real=True) for i in (1, 2, 3)] for x in ("m", "p", "o", "r")
    )
    for count in (2, 3):
        p = [*pi[: count - 1], 1 - sum(pi[: count - 1])]
        m = [*mu[: count - 1], 1 - sum(mu[: count - 1])]
        where = [x > 0 for x in (*p, *m)]
        size = range(count)
        truth = [sum(p[y] * rewards[y] * (int(j == y) - p[j]) for y in size) for j in size]
        full = [
            sum(m[y] * (p[y] / m[y] + shift) * rewards[y] * (int(j == y) - p[j]) for y in size) for j in size
        ]
        claim.goal("the full ratio").holds({update: full, gradient: truth}, where=where)
        if count == 2:
            mean = [
                sum(m[y] * omega[y] * rewards[y] * (int(j == y) - p[j] + shift) for y in size) for j in size
            ]
            for name in NAMES:
                claim.goal("two responses").holds(
                    {cross: defect(mean, truth)}, at={"correction": name}, where=where
                )


@claim.counterexample(
    "Three responses: every correction turns the mean update away from the gradient.",
    mu="(1/2, 3/8, 1/8)",
    pi="(1/4, 1/4, 1/2)",
    r="(1, 2, 4)",
)
def three_responses(case=THREE):
    rows = []
    for name in NAMES:
        mean, truth = moments(numbers(case), omegas(name, *numbers(case)))
        claim.goal("same direction").fails({cross: defect(mean, truth)}, at={"correction": name})
        inner = sum(a * b for a, b in zip(mean, truth, strict=True))
        cosine = inner / sp.sqrt(sum(a * a for a in mean) * sum(b * b for b in truth))
        rows.append(f"{name}: cosine {float(cosine):.3f}")
    return sy.Exhibit(text="; ".join(rows))


claim.sabotage("a truncated ratio for the full one", traced, exact="truncated")
claim.sabotage("a ratio that is shifted", in_symbols, shift=sp.Rational(1, 3))
claim.sabotage("two responses", three_responses, case=OTHERS[0])
