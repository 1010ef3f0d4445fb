"""R16: a baseline shrunk towards the other prompts, with the own rollout left out of all of it."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

noise, distance = sp.symbols("v d", positive=True)
error, update, gradient, constant = sp.symbols("e m g c", real=True)

claim = sy.Claim(
    id="R16",
    title="A baseline shrunk towards the other prompts is unbiased if the own rollout is left out, and errs less",
    statement=sy.Statement(
        setting=(
            "Two prompts with groups on policy; the baseline of a rollout is $(1 - S)$ times the mean reward of the others in its group "
            "plus S times the mean reward of the other prompt, S any function of these rewards"
        ),
        forall={noise: sy.above(0), distance: sy.above(0)},
        quantities={
            error: sy.Quantity(
                "e",
                r"the mean square of the baseline's error with $S = v / (v + d^2)$, where v is the variance of the mean of the others "
                "and d the distance of the value shrunk to",
            ),
            update: sy.Quantity(r"\mathrm{E}[\hat g]", "the mean update of the first prompt, entry by entry"),
            gradient: sy.Quantity(r"\nabla J", "the gradient of its expected reward"),
        },
        goals={
            "smaller error": error < noise,
            "smaller than the distance": error < distance**2,
            "unbiased": sp.Eq(update, gradient),
        },
        ranges={"unbiased": ()},
    ),
    source=sy.Source(
        "2511.03710",
        "v2",
        "abstract",
        relation="reading",
        says=(
            "shrinkage estimators that combine means per prompt and across prompts estimate a prompt's mean better, and a baseline made "
            "of them provably lowers the variance of the update"
        ),
        caveat="that everything but the own rollout enters is reported by summaries; its coefficient was not read",
    ),
    verdict="proved",
    scope="the error for one prompt with S from the population; unbiasedness with S computed from the batch, two prompts, G = 2 and 3",
    proof=(
        "The error of the shrunk mean has the mean square $(1-S)^2 v + S^2 d^2$, which is $v d^2/(v + d^2)$ at this S: below both "
        "v and $d^2$. Whatever S is, a baseline that does not look at the own rollout is independent of its score, whose mean is zero. "
        "All batches of two prompts are listed with a coefficient computed from the batch without the own rollout."
    ),
    finding=(
        "With the own reward left in, the mean is shrunk as the group mean's is, by another factor for each prompt (`ebpo` is of that "
        "kind). How much a smaller error of the baseline lowers the variance depends on the squared scores (B4)."
    ),
)


def mean_square(share, v, d):
    return (1 - share) ** 2 * v + share**2 * d**2


@claim.step("Any variance and distance", route="smt", shows="the mean square at this S, against both ends")
def any_numbers(power=1):
    value = mean_square(noise**power / (noise**power + distance**2), noise, distance)
    for name in ("smaller error", "smaller than the distance"):
        claim.goal(name).holds({error: sp.together(value)})


@claim.step("In numbers", route="enumeration", shows="variances and distances from 1/16 to 9")
def in_numbers(share=None):
    for v, d in itertools.product(map(sp.Rational, ("1/16", "1/4", "1", "9")), repeat=2):
        value = mean_square(v / (v + d**2) if share is None else share, v, d)
        for name in ("smaller error", "smaller than the distance"):
            claim.goal(name).holds({error: value}, at={noise: v, distance: d})


PROMPTS = (
    sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"]),
    sy.SymbolicBandit(["1/4", "3/4"], [1, 0]),
)


def coefficient(others, foreign):
    """Variance of the mean over itself and the squared distance, from what is given; one where nothing varies."""
    middle = sp.Add(*others) / len(others)
    far = (middle - sp.Add(*foreign) / len(foreign)) ** 2
    v = sp.Add(*[(x - middle) ** 2 for x in others]) / len(others) + sp.Rational(1, 4)
    return v / (v + far)


@claim.step(
    "All batches", route="enumeration", shows="two prompts of two rollouts, and of three in the first"
)
def all_batches(own=False):
    for size in (2, 3):
        first, second = PROMPTS
        mean = [sp.Integer(0)] * len(first.scores[0])
        for rows, others in itertools.product(
            itertools.product(range(3), repeat=size), itertools.product(range(2), repeat=2)
        ):
            chance = sp.Mul(
                *[first.probabilities[k] for k in rows], *[second.probabilities[k] for k in others]
            )
            foreign = [second.rewards[k] for k in others]
            for i, k in enumerate(rows):
                known = [first.rewards[m] for j, m in enumerate(rows) if own or j != i]
                share = coefficient(known, foreign)
                level = (1 - share) * sp.Add(*known) / len(known) + share * sp.Add(*foreign) / len(foreign)
                weight = chance * (first.rewards[k] - level) / size
                mean = [m + weight * s for m, s in zip(mean, first.scores[k], strict=True)]
        claim.goal("unbiased").holds({update: mean, gradient: first.gradient})


@claim.step(
    "Leave-one-out and a constant",
    route="traced code",
    shows="leave-one-out with any constant added to the mean of the others",
)
def given_baseline(centre=1):
    weights = sy.weights_of(catalogue.get("rloo"))
    for size in (2, 3):

        def shifted(rewards, size=size):
            return [w - constant * centre / size for w in weights(rewards)]

        moments = sy.group_moments(PROMPTS[0], size, shifted)
        slopes = [x * centre for x in PROMPTS[0].gradient]
        claim.goal("unbiased").holds({update: moments.mean, gradient: slopes})


claim.sabotage("the square of the variance in S", any_numbers, power=2)
claim.sabotage("S = 1/2 whatever the numbers", in_numbers, share=sp.Rational(1, 2))
claim.sabotage("the own reward in the baseline", all_batches, own=True)
claim.sabotage("twice the gradient", given_baseline, centre=2)
