"""R6: the first-order change of a softmax policy's entropy is minus a covariance."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

change, covariance = sp.symbols("D c", real=True)

law = sy.Claim(
    id="R6",
    title=(
        "To first order a softmax policy's entropy changes by minus the covariance of log-probability and logit "
        "change"
    ),
    statement=sy.Statement(
        setting="One state, a softmax over finitely many actions, its logits moved in any direction",
        quantities={
            change: sy.Quantity(r"\dot H", "the derivative of the entropy along this direction"),
            covariance: sy.Quantity(
                "c",
                r"the covariance under $\pi$ of $\log \pi(a)$ and the change $z_a$ of the logit of a",
            ),
        },
        goals={"minus the covariance": sp.Eq(change, -covariance)},
    ),
    source=sy.Source(
        "2505.22617",
        relation="not read",
    ),
    verdict="proved",
    scope=(
        "first order in the step, any number of actions; for policy gradient with exact advantages the change of "
        r"the logit is $\eta\, \pi(a) A(a)$, for natural gradient $\eta A(a)$"
    ),
    proof=(
        r"The derivative of $H = -\sum \pi \log \pi$ by the logit of a is $-\pi_a (\log \pi_a + H)$, since the "
        r"terms from the normalisation cancel. Along the direction z this is $-\sum \pi_a z_a (\log \pi_a - "
        r"\mathrm{E} \log \pi)$, which is minus the covariance of $\log \pi$ and z. Softmaxes in symbols are "
        "differentiated along any direction, and policies in numbers along the updates of the shipped RLOO."
    ),
    finding=(
        "Raising an action that is already likely lowers the entropy, raising an unlikely one raises it, whatever "
        "the rewards."
    ),
)


def covariance_of(pi, z):
    logs = [sp.log(x) for x in pi]
    mean = sum(p * x for p, x in zip(pi, logs, strict=True))
    return sum(p * x * (y - mean) for p, x, y in zip(pi, z, logs, strict=True))


@law.step(
    "Two and three actions",
    route="sympy",
    shows="the entropy of a softmax of symbols, differentiated along any direction",
)
def in_symbols(centred=1):
    for size in (2, 3):
        z = sp.symbols(f"z1:{size + 1}", real=True)
        raised = sp.symbols(f"x1:{size + 1}", positive=True)  # the exponentials of the logits
        t = sp.Symbol("t", real=True)
        exponentials = [x * sp.exp(t * d) for x, d in zip(raised, z, strict=True)]
        chances = [e / sum(exponentials) for e in exponentials]
        entropy = -sum(p * sp.log(p) for p in chances)
        slope = sp.diff(entropy, t).subs(t, 0)
        pi = [x / sum(raised) for x in raised]
        found = covariance_of(pi, z)
        if not centred:
            found = sum(p * d * sp.log(p) for p, d in zip(pi, z, strict=True))
        logs = {sp.log(p): sp.log(x) - sp.log(sum(raised)) for p, x in zip(pi, raised, strict=True)}
        law.goal("minus the covariance").holds(
            {change: sp.simplify(slope.subs(logs)), covariance: sp.simplify(found.subs(logs))}
        )


@law.step(
    "Any number of actions",
    route="sympy",
    shows="by one logit, the others in two sums; both sides are linear in the direction, so it holds for all",
)
def any_number(rest_too=1):
    x, others = sp.symbols("x S", real=True)  # a logit; the sum of the others' logits times exponentials
    rest = sp.Symbol("R", positive=True)  # the sum of the others' exponentials
    total = sp.exp(x) + rest
    entropy = sp.log(total) - (x * sp.exp(x) + others) / total
    chance = sp.exp(x) / total
    found = chance * ((x - sp.log(total)) + rest_too * entropy)  # the mean of log pi is minus the entropy
    law.goal("minus the covariance").holds({change: sp.diff(entropy, x), covariance: found})


POLICIES = (
    sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"]),
    sy.SymbolicBandit(["7/10", "1/10", "1/10", "1/10"], [1, 0, 1, 0]),
)


def slopes_of_entropy(pi):
    """By each logit: through the chances, dH/dpi_k = -log pi_k - 1 and dpi_k/dz_j = pi_k ([k = j] - pi_j)."""
    size = range(len(pi))
    return [sum((-sp.log(pi[i]) - 1) * pi[i] * (int(i == j) - pi[j]) for i in size) for j in size]


@law.step(
    "Policies in numbers",
    route="enumeration",
    shows="along the exact policy gradient, its natural form and single actions",
)
def in_numbers(step=1):
    for bandit in POLICIES:
        pi = bandit.probabilities
        value = bandit.value
        natural = [r - value for r in bandit.rewards]
        singles = [[int(i == j) for j in range(len(pi))] for i in range(len(pi))]
        for z in (bandit.gradient, natural, *singles):
            slope = sum(a * b for a, b in zip(slopes_of_entropy(pi), z, strict=True))
            law.goal("minus the covariance").holds({change: step * slope, covariance: covariance_of(pi, z)})


@law.step(
    "Updates of the shipped RLOO",
    route="traced code",
    shows="the mean update of all groups of two, as the direction",
)
def traced(name="rloo"):
    for bandit in POLICIES:
        z = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get(name))).mean
        # minus the covariance, in terms of the gradient that the update estimates without a bias
        slope = sum(a * b for a, b in zip(slopes_of_entropy(bandit.probabilities), z, strict=True))
        found = covariance_of(bandit.probabilities, bandit.gradient)
        law.goal("minus the covariance").holds({change: slope, covariance: found})


law.sabotage("the logarithms not centred", in_symbols, centred=0)
law.sabotage("the mean of the logarithms left out", any_number, rest_too=0)
law.sabotage("twice the step", in_numbers, step=2)
law.sabotage("a group mean with its reward, half the update", traced, name="dr_grpo")
