"""R1: weights of whole responses, cut at a cap: verl's documentation calls them unbiased."""

import numpy as np
import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

C = sp.Symbol("C", positive=True)
update, full, gradient, excess, largest = sp.symbols("u f g e M", real=True)
QUANTITIES = {
    update: sy.Quantity("u", r"the mean of $\min(W, C)\, r\, s$, $W = \pi/\mu$ of the whole response"),
    full: sy.Quantity("f", r"the mean of $W r s$"),
    gradient: sy.Quantity(r"\nabla J", "the gradient of the expected reward"),
    excess: sy.Quantity(r"\beta", r"$\sum_y \max(\pi(y) - C \mu(y), 0)\, r(y)\, s(y)$"),
    largest: sy.Quantity(r"\max W", "the largest weight of a response"),
}
SETTING = r"Whole responses drawn from a sampler $\mu$ that gives each a positive chance, policy $\pi$, entry by entry"

claim = sy.Claim(
    id="R1",
    title="A sequence weight truncated at C gives an unbiased gradient",
    statement=sy.Statement(
        setting=SETTING,
        forall={C: sy.above(1)},
        quantities=QUANTITIES,
        goals={"unbiased": sp.Eq(update, gradient)},
    ),
    instead=sy.Statement(
        setting=SETTING,
        forall={C: sy.above(1)},
        quantities=QUANTITIES,
        goals={
            "without a cap": sp.Eq(full, gradient),
            "bias": sp.Eq(update, gradient - excess),
            "cap out of reach": sp.Implies(sp.Le(largest, C), sp.Eq(update, gradient)),
        },
    ),
    source=sy.Source(
        "verl",
        place="docs/algo/rollout_corr_math.md, table of section 5.2 (January 2026)",
        says=(
            "the row Seq-TIS, whose mechanism is that the sequence ratio is replaced by its minimum with C, ends "
            "in: clean data with moderate mismatch; unbiased. The usage guide recommends it as unbiased, too"
        ),
        caveat=(
            "section 3.3.1 calls sequence-level correction unbiased without a word on the cap, where it is "
            "right; the bias that a cap brings stands nowhere in the document, and an earlier version (November "
            "2025) does not say unbiased"
        ),
    ),
    verdict="refuted",
    scope="any finite set of responses, any rewards; the weight held, as the document and its loss have it",
    proof=(
        r"With the whole weight, the sampler's chance cancels and the mean is $\sum_y \pi r s = \nabla J$. The "
        r"cap lowers a response's contribution from $\pi r s$ to $C \mu r s$ where $\pi > C \mu$, so what is "
        r"missing is the sum over those responses of $(\pi - C \mu) r s$. Nothing is missing if no response "
        r"reaches the cap. Two responses with $\mu = (9/10, 1/10)$, $\pi = (1/2, 1/2)$, rewards 0 and 1 and $C = "
        "2$ have the gradient 1/4 and the mean 1/10."
    ),
    finding=(
        "The cap takes from responses that the policy likes much more than the sampler did, here the only "
        "correct one. It is a trade of bias against variance, as for single tokens; unbiased is the weight "
        "without a cap."
    ),
)


def rows(mu, pi, rewards):
    """(chance under the sampler, policy, reward, score by the first logits) of each response."""
    size = range(len(pi))
    return [(mu[y], pi[y], rewards[y], [int(j == y) - pi[j] for j in size]) for y in size]


@claim.step(
    "Two and three responses in symbols",
    route="smt",
    shows="chances, rewards and the cap are symbols; the first logit",
)
def in_symbols(floor=0, renormalise=False):
    def bandit(count):
        mu, pi = (list(sp.symbols(f"{name}1:{count}", positive=True)) for name in ("mu", "pi"))
        where = [1 - sum(mu) > 0, 1 - sum(pi) > 0]
        return [*mu, 1 - sum(mu)], [*pi, 1 - sum(pi)], sp.symbols(f"r1:{count + 1}", real=True), where

    for count in (2, 3):
        mu, pi, rewards, where = bandit(count)
        terms = [(m, q, r, s[0]) for m, q, r, s in rows(mu, pi, rewards)]
        weights = [sp.Min(q / m, C) for m, q, _, _ in terms]
        values = {
            update: sum(m * w * r * s for w, (m, _, r, s) in zip(weights, terms, strict=True)),
            full: sum(m * (q / m) * r * s for m, q, r, s in terms),
            gradient: sum(sp.diff(q, pi[0]) * r for _, q, r, _ in terms) * pi[0] * (1 - pi[0])
            if count == 2
            else sum(q * r * s for _, q, r, s in terms),
            excess: sum(sp.Max(q - C * m, floor) * r * s for m, q, r, s in terms),
            largest: sp.Max(*[q / m for m, q, _, _ in terms]),
        }
        if renormalise:
            values[full] = values[update]
        used = {
            "without a cap": (full, gradient),
            "bias": (update, gradient, excess),
            "cap out of reach": (largest, update, gradient),
        }
        for name, symbols in used.items():
            if count == 2 or name != "cap out of reach":
                claim.goal(name).holds({x: values[x] for x in symbols}, where=where)


CASES = (
    (("9/10", "1/10"), ("1/2", "1/2"), (0, 1), 2),
    (("1/2", "1/4", "1/4"), ("1/5", "1/5", "3/5"), (1, -2, "5/2"), "3/2"),
    (("1/100", "1/2", "49/100"), ("1/4", "1/4", "1/2"), (1, 0, 3), 5),
    (("1/2", "1/3", "1/6"), ("1/3", "1/3", "1/3"), (2, 0, 1), 3),  # no response reaches the cap
)


def case_values(case, cap=None):
    mu, pi, rewards = ([sp.Rational(x) for x in part] for part in case[:3])
    cap = sp.Rational(case[3]) if cap is None else cap
    terms = rows(mu, pi, rewards)
    width = range(len(pi))
    return {
        update: [sum(m * min(q / m, cap) * r * s[j] for m, q, r, s in terms) for j in width],
        full: [sum(m * (q / m) * r * s[j] for m, q, r, s in terms) for j in width],
        gradient: sy.SymbolicBandit(pi, rewards).gradient,
        excess: [sum(max(q - cap * m, sp.Integer(0)) * r * s[j] for m, q, r, s in terms) for j in width],
        largest: max(q / m for m, q, _, _ in terms),
    }


@claim.step("Policies in numbers", route="enumeration", shows="two and three responses, all logits")
def in_numbers(cap=None):
    for case in CASES:
        values, at = case_values(case, cap), {C: sp.Rational(case[3])}
        claim.goal("without a cap").holds({x: values[x] for x in (full, gradient)}, at=at)
        claim.goal("bias").holds({x: values[x] for x in (update, gradient, excess)}, at=at)
        claim.goal("cap out of reach").holds({x: values[x] for x in (largest, update, gradient)}, at=at)


@claim.step(
    "The shipped correction",
    route="traced code",
    shows="`truncated_importance` around the likelihood, one token a response: its weights, averaged over the sampler",
)
def traced(ratio=1):
    for case in CASES:
        values, mu = case_values(case), [sp.Rational(x) for x in case[0]]
        pi, rewards = ([sp.Rational(x) for x in part] for part in case[1:3])
        cap = sp.Rational(case[3])
        shipped, uncapped = (
            [
                sum(m * w * s[j] for m, w, (_, _, _, s) in zip(mu, row, rows(mu, pi, rewards), strict=True))
                for j in range(len(pi))
            ]
            for row in (
                len(pi) * weights_of(corrected(float(cap)), mu, pi, rewards, ratio),
                len(pi) * weights_of(corrected(1e6), mu, pi, rewards, ratio),
            )
        )
        claim.goal("bias").holds(
            {update: shipped, gradient: values[gradient], excess: values[excess]}, at={C: cap}
        )
        claim.goal("without a cap").holds({full: uncapped, gradient: values[gradient]}, at={C: cap})


def corrected(cap):
    return compose(
        advantage=advantage.raw,
        surrogate=surrogate.truncated_importance(surrogate.likelihood, cap=cap),
        aggregate=aggregate.sequence_token_sum,
        min_group=1,
    )


def weights_of(estimator, mu, pi, rewards, ratio=1):
    """The weight of each response in a group that has every response once."""
    logs = [np.asarray([[[sp.log(x)] for x in row]], object) for row in (mu, pi)]
    batch = sy.symbolic_batch(
        np.asarray([rewards], object), logs[1], logp_sampler=logs[0] - sp.log(sp.Integer(ratio))
    )
    return sy.trace(sy.gradient(estimator), logs[1], batch)[0, :, 0]


@claim.counterexample(
    (
        "Two responses, the second one correct: the gradient by its logit is 1/4, the mean with all weights 1/4, "
        "with the weight 5 cut to 2 it is 1/10."
    ),
    mu="(9/10, 1/10)",
    pi="(1/2, 1/2)",
    r="(0, 1)",
    C="2",
)
def two_responses(cap=2):
    values = case_values(CASES[0], sp.Integer(cap))
    sy.equal([values[full][1], values[update][1]], [sp.Rational(1, 4), sp.Rational(1, 10)], "the numbers")
    claim.goal("unbiased").fails({x: values[x] for x in (update, gradient)}, at={C: cap})
    return sy.Exhibit(text=f"gradient {values[gradient][1]}, truncated {values[update][1]}")


claim.sabotage("the excess without its floor at zero", in_symbols, floor=-10)
claim.sabotage("the capped mean taken for the full one", in_symbols, renormalise=True)
claim.sabotage("another cap than the statement's", in_numbers, cap=sp.Rational(11, 10))
claim.sabotage("the sampler's chances halved", traced, ratio=2)
claim.sabotage("a cap of five, which nothing exceeds", two_responses, cap=5)
