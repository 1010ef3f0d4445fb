"""R17: answers that were not drawn, outside and inside the support of the policy."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

drawn_right, drawn_wrong = sp.symbols("p q", positive=True)
after, change = sp.symbols("a c", real=True)

claim = sy.Claim(
    id="R17",
    title="An answer outside the support stays outside; inside, one that a pair has not drawn gains if the wrong one is likelier",
    statement=sy.Statement(
        setting=(
            "One prompt. First a policy that is multiplied by positive factors and normalised, as the optimum of a reward with a KL "
            "penalty is; then a softmax policy after a small step of leave-one-out on a pair, the first rollout right and the second wrong"
        ),
        forall={drawn_right: sy.between(0, 1), drawn_wrong: sy.between(0, 1)},
        given={
            "a third answer": sy.Hypothesis("$p + q < 1$", drawn_right + drawn_wrong < 1, stated_by="ours")
        },
        quantities={
            after: sy.Quantity("a", "the new chance of an answer whose chance was zero"),
            change: sy.Quantity(
                "c",
                "the derivative, by the size of the step, of the log-chance of an answer that was not drawn; p and q are the "
                "chances of the right and of the wrong answer that were",
            ),
        },
        goals={
            "outside": sp.Eq(after, 0),
            "inside": sp.Eq(change, (drawn_wrong - drawn_right) / 2),
            "gains": sp.Equivalent(change > 0, drawn_wrong > drawn_right),
        },
        ranges={"outside": ()},
    ),
    source=sy.Source(
        "2507.14843",
        "v1",
        "abstract",
        relation="reading",
        says="learning from verifiable rewards is limited by the base model's support: solutions of zero initial chance cannot be drawn",
        caveat="v4 is an empirical study; a softmax over finite logits has no chance of zero, which its empirical support accounts for",
    ),
    verdict="proved",
    scope="logits as parameters; four answers of different chances in the listed policies",
    proof=(
        "A factor times zero is zero, and so is the share. With leave-one-out the two weights are 1/2 and $-1/2$, read from the shipped "
        "code; the probabilities cancel between the two scores, so the step is up in the right answer's logit and down by the same in "
        "the wrong one's. The log-chance of a third answer changes by minus the mean change of the logits, $(q - p)/2$."
    ),
    finding=(
        "What is not drawn is moved without being judged: it gains where the policy is mostly wrong and loses where it is mostly right. "
        "Early steps spread, late steps sharpen, with no reward for either."
    ),
)


@claim.step("Factors", route="sympy", shows="three answers, one of chance zero, any positive factors")
def factors(chance=0):
    x, y, u, v, w = sp.symbols("x y u v w", positive=True)
    claim.goal("outside").holds({after: chance * w / (x * u + y * v + chance * w)})


@claim.step(
    "Factors in numbers", route="enumeration", shows="the optimum of reward less KL for two levels of reward"
)
def factors_in_numbers(chance=0):
    for reward, beta in itertools.product((1, 5), (sp.Rational(1, 10), 1)):
        masses = [
            sp.Rational(1, 4),
            sp.Rational(3, 4) * sp.exp(reward / beta),
            chance * sp.exp(2 * reward / beta),
        ]
        claim.goal("outside").holds({after: masses[2] / sp.Add(*masses)})


def slope(weights, chances, drawn, asked):
    """The change of the asked answer's log-chance along sum_i w_i s_i."""
    width = range(len(chances))
    step = [
        sp.Add(*[w * (int(k == j) - chances[j]) for w, k in zip(weights, drawn, strict=True)]) for j in width
    ]
    return step[asked] - sp.Add(*[chances[j] * step[j] for j in width])


@claim.step("Any chances", route="smt", shows="the weights $1/2$, $-1/2$, three answers")
def any_chances(second=sp.Rational(-1, 2)):
    p, q = drawn_right, drawn_wrong
    value = sp.expand(slope((sp.S.Half, second), (p, q, 1 - p - q), (0, 1), 2))
    for name in ("inside", "gains"):
        claim.goal(name).holds({change: value})
    sy.require(sy.smt_valid([q > p], value > 0), "it gains")


@claim.step(
    "Shipped weights",
    route="traced code",
    shows="`rloo` with its default settings, four answers, two of them not drawn",
)
def shipped_weights(right=1):
    weights = sy.weights_of(catalogue.get("rloo"))((sp.Integer(right), sp.Integer(0)))
    for chances in (
        ("1/2", "1/4", "1/8", "1/8"),
        ("1/10", "6/10", "1/5", "1/10"),
        ("1/3", "1/3", "1/6", "1/6"),
    ):
        numbers = tuple(map(sp.Rational, chances))
        for asked in (2, 3):
            value = slope(weights, numbers, (0, 1), asked)
            for name in ("inside", "gains"):
                claim.goal(name).holds({change: value}, at={drawn_right: numbers[0], drawn_wrong: numbers[1]})


claim.sabotage("a small chance for zero", factors, chance=sp.Rational(1, 100))
claim.sabotage("the same in numbers", factors_in_numbers, chance=sp.Rational(1, 100))
claim.sabotage("weights that do not sum to zero", any_chances, second=sp.Rational(-1, 4))
claim.sabotage("another reward", shipped_weights, right=2)
