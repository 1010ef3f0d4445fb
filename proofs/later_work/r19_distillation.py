"""R19: on-policy distillation as a policy gradient: the value of a state, and its use as a baseline."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

value, divergence, update, gradient = sp.symbols("V K m g", real=True)

claim = sy.Claim(
    id="R19",
    title="In on-policy distillation the value is minus the divergence from the teacher, and an unbiased baseline",
    statement=sy.Statement(
        setting=(
            r"One token, student $\pi$ and teacher $\tau$ with three tokens of positive chance; the reward of a drawn token is "
            r"$\log \tau - \log \pi$, held constant when the log-probability is differentiated"
        ),
        quantities={
            value: sy.Quantity("V", "the mean reward of the student's tokens"),
            divergence: sy.Quantity(r"\mathrm{KL}", "the reverse divergence of the student from the teacher"),
            update: sy.Quantity(
                r"\mathrm{E}[\hat g]",
                "the mean of (reward less V) times the score, V held constant, entry by entry",
            ),
            gradient: sy.Quantity(
                r"\nabla(-\mathrm{KL})", "the gradient by the student's logits, entry by entry"
            ),
        },
        goals={"value": sp.Eq(value, -divergence), "unbiased": sp.Eq(update, gradient)},
    ),
    source=sy.Source(
        "2605.07865",
        "v1",
        "abstract",
        says=(
            "the value function of on-policy distillation is, in closed form, the negative reverse divergence per token between student "
            "and teacher; as a detached baseline it keeps the gradient unbiased"
        ),
        caveat="of one token: a value that counts later tokens too is another number",
    ),
    verdict="proved",
    scope="one token, three in the vocabulary, any chances; leave-one-out as shipped for listed chances",
    proof=(
        r"The mean of $\log \tau - \log \pi$ over the student's tokens is the divergence by definition. Differentiating it gives the mean of "
        "reward times score plus the mean of the reward's own derivative, which is minus the mean score and so zero; a constant baseline "
        "has the mean zero as well. Leave-one-out of such rewards, read from the code, has the same mean over all groups."
    ),
    finding="The value is exact and free, where a group's mean costs rollouts; what it does not know is what the token leads to.",
)


@claim.step("Any chances", route="sympy", shows="logits as logarithms of positive symbols, any teacher")
def any_chances(weight=1):
    x, t = sp.symbols("x1:4", positive=True), sp.symbols("t1:4", positive=True)
    student = [u / sp.Add(*x) for u in x]
    rewards = [sp.log(b) - sp.log(a) for a, b in zip(student, t, strict=True)]
    mean = sp.Add(*[a * r for a, r in zip(student, rewards, strict=True)])
    kl = sp.Add(*[a * (sp.log(a) - sp.log(b)) for a, b in zip(student, t, strict=True)])
    claim.goal("value").holds({value: weight * mean, divergence: kl})
    for j in range(3):
        scores = [int(k == j) - student[j] for k in range(3)]
        terms = zip(student, rewards, scores, strict=True)
        drawn = sp.Add(*[a * (r - mean) * s for a, r, s in terms])
        claim.goal("unbiased").holds({update: weight * drawn, gradient: -x[j] * sp.diff(kl, x[j])})


CHANCES = ((("1/2", "1/3", "1/6"), ("1/4", "1/4", "1/2")), (("1/10", "3/5", "3/10"), ("1/3", "1/3", "1/3")))


@claim.step(
    "Leave-one-out",
    route="traced code",
    shows="`rloo` with its default settings on pairs and threes of tokens",
)
def leave_one_out(power=1):
    for student, teacher in CHANCES:
        pairs = [(sp.Rational(a), sp.Rational(b)) for a, b in zip(student, teacher, strict=True)]
        rewards = [sp.log(b) - power * sp.log(a) for a, b in pairs]
        bandit = sy.SymbolicBandit(student, rewards)
        kl = sp.Add(*[a * sp.log(a / b) for a, b in pairs])
        claim.goal("value").holds({value: bandit.value, divergence: kl})
        # by the logits: pi_j (log tau_j - log pi_j + KL)
        slopes = [a * (sp.log(b / a) + kl) for a, b in pairs]
        for size in (2, 3):
            mean = sy.group_moments(bandit, size, sy.weights_of(catalogue.get("rloo"))).mean
            claim.goal("unbiased").holds({update: mean, gradient: slopes})


claim.sabotage("twice the reward", any_chances, weight=2)
claim.sabotage("an entropy twice as heavy", leave_one_out, power=2)
