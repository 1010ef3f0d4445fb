"""A19: in which sense clipping and token normalisation preserve the contrast, and in which not."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

preserved = sy.Claim(
    id="A19a",
    title="The clipped, token-normalised objective is still a contrast of two sums",
    statement=(
        r"With clipping and token normalisation the objective of a pair is $\frac{1}{2}[C^+(o_w) - "
        r"C^-(o_l)]$, increasing in every ratio of the better rollout and decreasing in every ratio of the "
        r"worse one."
    ),
    source=sy.Source("2510.00977", "", "authors' reply in the public reviews"),
    verdict="proved",
    scope=(
        "all ratios, rollouts of one and two tokens (the terms are a sum over tokens), symmetric clip and "
        "clip-higher; also DAPO's token-mean"
    ),
    finding=(
        "So the sign structure survives: no token of the better rollout is ever pushed down, none of the "
        "worse one up."
    ),
)


def pair(lengths=(1, 2)):
    return sy.symbolic_group(2, lengths, rewards=(1, 0))


@preserved.step(
    "The objective",
    route="traced code",
    shows=(
        r"traced value $= \frac{1}{2} \min(\rho_{11}, 1 + \epsilon_+) - \frac{1}{4}[\max(\rho_{21}, 1 - "
        r"\epsilon_-) + \max(\rho_{22}, 1 - \epsilon_-)]$"
    ),
)
def objective(kind=sp.Min):
    for high in (0.2, 0.28):
        rollouts = pair()
        (a, _), (b, c) = rollouts.rho[0]
        value = rollouts.value(catalogue.get("grpo", eps=0.0, clip_high=high))
        low, top = sp.Rational(4, 5), 1 + sp.Rational(str(high))
        sy.equal(
            sp.expand(value - (kind(a, top) / 2 - (sp.Max(b, low) + sp.Max(c, low)) / 4)),
            0,
            "the objective of a pair",
        )


@preserved.step(
    "The signs in every region",
    route="traced code",
    shows="traced weights: none negative for the better rollout, none positive for the worse; GRPO and DAPO",
)
def signs(swapped=False):
    for name in ("grpo", "dapo"):
        rollouts = pair()
        for region in rollouts.regions(catalogue.get(name)):
            (w, _), (l1, l2) = region.value[0]
            if swapped:
                w, l1 = l1, w
            for value, side in ((w, 1), (l1, -1), (l2, -1)):
                sy.require(sy.smt_valid(region.conditions, side * value >= 0), f"the sign of {value}")


@preserved.step("Monotone", route="smt", shows=r"$\min(x, u)$ is non-decreasing and so is $\max(x, l)$")
def monotone(flip=1):
    x, y, u, low = sp.symbols("x y u low", real=True)
    sy.require(sy.smt_valid([x <= y], flip * sp.Min(x, u) <= flip * sp.Min(y, u)), "C+ grows with the ratio")
    sy.require(sy.smt_valid([x <= y], sp.Max(x, low) <= sp.Max(y, low)), "C- grows with the ratio")


preserved.sabotage("C+ bounded from below", objective, kind=sp.Max)
preserved.sabotage("the rollouts exchanged", signs, swapped=True)
preserved.sabotage("C+ falling", monotone, flip=-1)


lost = sy.Claim(
    id="A19b",
    title="Clipping and token normalisation leave a difference of log-probability gradients with one factor",
    statement=(
        r"Under the standard clipping schedule and token normalisation the gradient remains $a [\nabla \log "
        r"\pi(o_w) - \nabla \log \pi(o_l)]$ with one factor a."
    ),
    source=sy.Source("2510.00977", "", "authors' reply in the public reviews"),
    verdict="refuted",
    scope="any step after the first of a batch (ratios differ); or rollouts of different length",
    finding=(
        r"Token weights are $\rho_t/(2 |o_w|)$ and $-\rho_t/(2 |o_l|)$ inside the clip and zero beyond: "
        r"different for each token, one-sided when only one rollout is clipped, and they sum to "
        r"$\frac{1}{2}(\bar\rho_w - \bar\rho_l)$, not zero. On the first step after sampling it holds for "
        r"rollouts of equal length, and for all with token-mean (A4)."
    ),
)


@lost.step(
    "When the weights have one size",
    route="smt",
    shows=r"for one token each, inside the clip: $\rho_w/2 = \rho_l/2$ if and only if $\rho_w = \rho_l$",
)
def one_size(tolerance=0):
    a, b = sp.symbols("a b", positive=True)
    inside = [a > sp.Rational(4, 5), a < sp.Rational(6, 5), b > sp.Rational(4, 5), b < sp.Rational(6, 5)]
    close = sp.Abs(a - b) <= tolerance
    sy.require(
        sy.smt_valid(inside, sp.Equivalent(sp.Eq(a / 2 - b / 2, 0), close)), "one size iff equal ratios"
    )


@lost.step(
    "Token weights in a rational point",
    route="traced code",
    shows=r"ratios 11/10; 9/10, 1: shipped weights $11/20$; $-9/40, -1/4$",
)
def point(first=sp.Rational(11, 10), second=sp.Rational(9, 10)):
    rollouts = pair()
    (a, _), (b, c) = rollouts.rho[0]
    unused = {x: sp.Integer(1) for x in rollouts.rho.flat}
    witness = sy.Witness(unused | {a: first, b: second, c: sp.Integer(1)})
    weights = rollouts.weights(catalogue.get("grpo", eps=0.0), assume=witness)[0]
    values = [sp.sympify(w).subs(witness.point) for w in (weights[0, 0], weights[1, 0], weights[1, 1])]
    sy.require(values == [sp.Rational(11, 20), -sp.Rational(9, 40), -sp.Rational(1, 4)], f"weights {values}")
    return sy.Exhibit(
        table=(
            ("token", "weight"),
            ("better 1", str(values[0])),
            ("worse 1", str(values[1])),
            ("worse 2", str(values[2])),
        )
    )


@lost.counterexample(
    "A bandit with three answers, ratios 13/10 (clipped) and 1: only the worse answer is pushed, and its "
    "gradient is not along the difference of the two scores.",
    pi="(1/2, 1/3, 1/6)",
    rho="(13/10, 1)",
)
def one_sided(ratio=sp.Rational(13, 10)):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [1, 0, 0])
    rollouts = sy.symbolic_group(2, rewards=(1, 0))
    a, b = rollouts.rho[0, :, 0]
    witness = sy.Witness({a: ratio, b: sp.Integer(1)})
    w = [
        sp.sympify(x).subs(witness.point)
        for x in rollouts.weights(catalogue.get("grpo", eps=0.0), assume=witness).reshape(-1)
    ]
    s = [sp.Matrix(bandit.scores[i]) for i in (0, 1)]
    update = w[0] * s[0] + w[1] * s[1]
    sy.require(update.row_join(s[0] - s[1]).rank() == 2, f"weights {w}: along the difference of the scores")


lost.sabotage("a tolerance", one_size, tolerance=sp.Rational(1, 100))
lost.sabotage("equal ratios", point, first=sp.Integer(1), second=sp.Integer(1))
lost.sabotage("equal ratios on the bandit", one_sided, ratio=sp.Integer(1))
