"""B11: GRPO's exact iterates for binary rewards: a fixed point above p_ref exists; when they converge to it."""

import sympy as sp

from gradvar import symbolic as sy

SOURCE = sy.Source(
    "2503.06639",
    "v4",
    "the recursion for the probability of success (definition seen in the author's summary of the paper) and the convergence stated in its abstract",
)
p, q, beta, ref = sp.symbols("p q beta p_ref", positive=True)
eps = sp.Symbol("epsilon", nonnegative=True)


def lift(chance, smoothing):
    """The divisor sqrt(p(1-p) + epsilon)."""
    return sp.sqrt(chance * (1 - chance) + smoothing)


exists = sy.Claim(
    id="B11a",
    title="The exact iterate is logit p_ref + 1/(beta sigma), and its fixed points lie above p_ref",
    statement=(
        r"Let $\pi_n$ maximise $\mathrm{E}_\pi[A_{n-1}] - \beta\, \mathrm{KL}(\pi \| \pi_{\mathrm{ref}})$ with $A_{n-1} = (r - p_{n-1})/\sqrt{p_{n-1}(1-p_{n-1}) + \epsilon}$. Then $p_n = h(p_{n-1})$, "
        r"$\mathrm{logit}\, h(p) = \mathrm{logit}\, p_{\mathrm{ref}} + \frac{1}{\beta \sqrt{p(1-p) + \epsilon}}$; for $\epsilon > 0$, h has a fixed point in $(0, 1)$, and every fixed point exceeds $p_{\mathrm{ref}}$."
    ),
    source=SOURCE,
    verdict="proved",
    scope="every 0 < p_ref < 1, beta > 0, epsilon > 0; policies without a parametric constraint, population advantages, no clip",
    hypotheses=(
        "the maximisation at every iterate is exact and over all policies",
        r"$\epsilon > 0$ for the existence",
    ),
    finding=r"With $\epsilon = 0$ there may be none inside: the advantage grows without bound as $p \to 1$, and for small $\beta$ the iterates run to $p = 1$. The fixed point need not be unique.",
)


@exists.step(
    "The maximiser",
    route="sympy",
    shows=r"$\pi \propto \pi_{\mathrm{ref}}\, e^{A/\beta}$, so the odds of success are multiplied by $e^{(A^+ - A^-)/\beta}$ and $A^+ - A^- = 1/\sqrt{p(1-p)+\epsilon}$; the objective as a function of the success chance q is stationary there and strictly concave",
)
def maximiser(gap=1):
    sigma = sp.Symbol("sigma", positive=True)
    divergence = q * (sp.log(q) - sp.log(ref)) + (1 - q) * (sp.log(1 - q) - sp.log(1 - ref))
    value = q * (1 - p) / sigma - (1 - q) * p / sigma - beta * divergence
    x = gap / (beta * sigma)
    best = ref * sp.exp(x) / (ref * sp.exp(x) + 1 - ref)
    sy.equal(sp.simplify(sp.diff(value, q, 2)), -beta / (q * (1 - q)), "strictly concave")
    # The derivative is 1/sigma - beta (logit q - logit ref): zero iff the odds are ref/(1-ref) e^x.
    sy.equal(
        sp.diff(value, q),
        1 / sigma - beta * (sp.log(q) - sp.log(1 - q) - sp.log(ref) + sp.log(1 - ref)),
        "the derivative",
    )
    sy.equal(best / (1 - best), ref / (1 - ref) * sp.exp(1 / (beta * sigma)), "the odds at the maximum")


@exists.step(
    "Within success and failure nothing moves",
    route="enumeration",
    shows="three answers, exact: the optimum keeps the reference's shares among wrong answers, and a rational perturbation lowers the objective",
)
def shares(moved=False):
    reference = [sp.Rational(1, 6), sp.Rational(1, 3), sp.Rational(1, 2)]
    factor = sp.Integer(4)  # e^{(A+ - A-)/beta}
    best = [reference[0] * factor, *reference[1:]]
    best = [x / sum(best) for x in best]
    if moved:
        best = [best[0], best[1] + sp.Rational(1, 20), best[2] - sp.Rational(1, 20)]
    scaled = [sp.log(factor), 0, 0]  # advantages over beta, up to a constant

    def value(pi):
        return sp.Add(*[x * (a - sp.log(x / r)) for x, a, r in zip(pi, scaled, reference, strict=True)])

    for i in range(3):
        for j in range(3):
            if i != j:
                other = list(best)
                other[i] += sp.Rational(1, 50)
                other[j] -= sp.Rational(1, 50)
                sy.require(
                    sy.exact_sign(value(best) - value(other)) > 0, f"mass moved from {j} to {i} is worse"
                )
    sy.equal(best[1] / best[2], reference[1] / reference[2], "the shares of the wrong answers")


@exists.step(
    "A crossing above p_ref",
    route="smt",
    shows=r"$x = \frac{1}{\beta\sigma}$ satisfies $0 < x \le \frac{1}{\beta\sqrt{\epsilon}}$, so $h > p_{\mathrm{ref}}$ everywhere and h stays below a number less than 1: $h(p) - p$ is positive at $p_{\mathrm{ref}}$ and negative at 1, and continuous",
)
def crossing(smoothed=True):
    factor, top, chance, h = sp.symbols("factor top p h", real=True)
    odds = [ref > 0, ref < 1, h > 0, h < 1, sp.Eq(h * (1 - ref), ref * factor * (1 - h))]
    sy.require(sy.smt_valid([*odds, factor > 1], h > ref), "h exceeds p_ref")
    sy.require(
        sy.smt_valid([*odds, factor <= top, top > 1], h * (1 - ref + ref * top) <= ref * top),
        "h is bounded away from 1",
    )
    s, root, e2 = sp.symbols("s root epsilon", positive=True)
    least = [
        sp.Eq(s**2, chance * (1 - chance) + (e2 if smoothed else 0)),
        chance >= 0,
        chance <= 1,
        sp.Eq(root**2, e2),
    ]
    sy.require(sy.smt_valid(least, s >= root), "the divisor is at least sqrt(epsilon)")


exists.sabotage("twice the gap", maximiser, gap=2)
exists.sabotage("mass moved among the wrong answers", shares, moved=True)
exists.sabotage("no epsilon", crossing, smoothed=False)


converges = sy.Claim(
    id="B11b",
    title="The iterates converge when p_ref is not too small; otherwise they can alternate for ever",
    statement=r"Started at $p_0 = p_{\mathrm{ref}}$, the iterates $p_n = h(p_{n-1})$ converge to a fixed point $p^* > p_{\mathrm{ref}}$.",
    source=SOURCE,
    verdict="conditional",
    scope="every beta > 0 and epsilon > 0 under the hypothesis; the counterexample's interval holds for every epsilon from 0 to 1/100000",
    hypotheses=(
        r"$\mathrm{logit}\, p_{\mathrm{ref}} \ge -\frac{2}{\beta\sqrt{1 + 4\epsilon}}$, that is $h(1/2) \ge 1/2$ (in particular $p_{\mathrm{ref}} \ge 1/2$)",
    ),
    finding=(
        r"Under the hypothesis all iterates after the first lie in $[1/2, 1)$, where h rises, so they are monotone and converge. Without it h falls at the fixed point, with slope $-\frac{1-2p}{2\beta\sqrt{p(1-p)}}$ ($\epsilon = 0$), and a slope "
        r"below $-1$ gives a cycle. For the $\beta$ of practice, 0.04, the hypothesis asks for $p_{\mathrm{ref}} \ge e^{-50}$: harmless there; it bites for $\beta$ of order 1 and more on hard prompts."
    ),
)


@converges.step(
    "h falls up to 1/2 and rises after",
    route="smt",
    shows=r"$p(1-p)$ rises up to 1/2 and falls after, and h falls in it: $h(p) \ge h(1/2)$ for all p, and h is monotone on $[1/2, 1]$",
)
def shape(half=sp.S.Half):
    a, b = sp.symbols("a b", real=True)
    sy.require(
        sy.smt_valid([a >= 0, b > a, b <= half], a * (1 - a) < b * (1 - b)),
        "the variance rises up to one half",
    )
    sy.require(
        sy.smt_valid([a >= half, b > a, b <= 1], a * (1 - a) > b * (1 - b)),
        "the variance falls after one half",
    )
    s, t = sp.symbols("s t", positive=True)
    sy.require(
        sy.smt_valid([s < t, beta > 0], 1 / (beta * s) > 1 / (beta * t)), "a larger divisor, a smaller lift"
    )


@converges.step(
    "So from the second iterate on they are monotone",
    route="sympy",
    shows=r"$h(1/2) \ge 1/2$ iff $\mathrm{logit}\, p_{\mathrm{ref}} + \frac{2}{\beta\sqrt{1+4\epsilon}} \ge 0$; then $h([0, 1]) \subset [1/2, 1)$, h rises there, and $p_1 \le p_2$ or $p_1 \ge p_2$ carries on by induction: bounded and monotone, so convergent, to a fixed point by continuity",
)
def threshold(factor=2):
    sy.equal(
        1 / (beta * lift(sp.S.Half, eps)), factor / (beta * sp.sqrt(1 + 4 * eps)), "the lift at one half"
    )


@converges.step(
    "The slope at a fixed point",
    route="sympy",
    shows=r"$h'(p) = -h(1-h) \frac{1-2p}{2\beta (p(1-p)+\epsilon)^{3/2}}$; at a fixed point with $\epsilon = 0$: $-\frac{1-2p}{2\beta\sqrt{p(1-p)}}$",
)
def slope(factor=2):
    x = sp.exp(1 / (beta * lift(p, eps)))
    h = ref * x / (ref * x + 1 - ref)
    claimed = -h * (1 - h) * (1 - 2 * p) / (factor * beta * (p * (1 - p) + eps) ** sp.Rational(3, 2))
    sy.equal(sp.diff(h, p), claimed, "the slope of h", where=[p < 1, ref < 1])


def above(chance, bound, odds, strength, smoothing):
    """Whether h(chance) > bound, exactly: the logit of both sides, an algebraic number against the log of a rational."""
    left = sp.log(odds) + 1 / (strength * lift(sp.sympify(chance), smoothing))
    return sy.exact_sign(left - sp.log(sp.sympify(bound) / (1 - bound))) > 0


@converges.counterexample(
    "beta = 4, p_ref = 1/1251 (odds 1/1250), epsilon = 0, 1/1000000 or 1/100000: h maps [1/1300, 1/500] into [1/6, 9/10] and that back into it, so the iterates from p_ref never settle.",
    beta=4,
    p_ref="1/1251",
)
def alternating(strength=4, odds=sp.Rational(1, 1250)):
    low, high = (sp.Rational(1, 1300), sp.Rational(1, 500)), (sp.Rational(1, 6), sp.Rational(9, 10))
    for smoothing in (sp.Integer(0), sp.Rational(1, 10**6), sp.Rational(1, 10**5)):
        assumptions = (odds, strength, smoothing)
        sy.require(low[0] < odds / (1 + odds) < low[1], "the iteration starts in the low interval")
        # h falls on the low interval, so its ends give the image's ends.
        sy.require(
            above(low[1], high[0], *assumptions) and not above(low[0], high[1], *assumptions),
            "low goes into high",
        )
        # On the high interval h is least at 1/2 and largest at an end.
        sy.require(above(sp.S.Half, low[0], *assumptions), "high goes above the low interval's lower end")
        sy.require(
            not any(above(x, low[1], *assumptions) for x in high),
            "high goes below the low interval's upper end",
        )


@converges.counterexample(
    "A cycle in closed form (epsilon = 0): beta = 5/(6 log 36), p_ref = 1/419905 swap 1/10 and 4/5; each is the exact maximiser given the other.",
    p="(1/10, 4/5)",
)
def cycle(other=sp.Rational(4, 5)):
    first, strength = sp.Rational(1, 10), 5 / (6 * sp.log(36))
    log_odds = -sp.log(419904)
    for now, following in ((first, other), (other, first)):
        reached = log_odds + 1 / (strength * lift(now, 0))
        sy.require(
            sy.exact_sign(
                sp.simplify(sp.expand_log(reached - sp.log(following / (1 - following)), force=True))
            )
            == 0,
            f"{now} goes to {following}",
        )


@converges.counterexample(
    "The engine's gradient of the first iterate's objective (GRPO's advantage at p = 1/10 frozen, k1 reward penalty) vanishes at the cycle's 4/5 and not at 3/4.",
    p="4/5",
)
def stationary(chance=sp.Rational(4, 5)):
    from gradvar.core.compose import compose
    from gradvar.pieces import aggregate, surrogate

    now, strength, odds = sp.Rational(1, 10), 5 / (6 * sp.log(36)), sp.Rational(1, 419904)
    reference = odds / (1 + odds)
    # The policy gradient of E[A] - beta KL is that of the reward A - beta log(pi/ref), a number for each answer.
    right = (1 - now) / lift(now, 0) - strength * sp.log(chance / reference)
    wrong = -now / lift(now, 0) - strength * sp.log((1 - chance) / (1 - reference))
    plain = compose(
        advantage=lambda rewards: rewards,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
    )
    bandit = sy.SymbolicBandit([chance, 1 - chance], [sp.Rational(float(right)), sp.Rational(float(wrong))])
    seen = max(abs(x) for x in sy.engine(plain, bandit, 2).mean.reshape(-1))
    sy.require(seen < 1e-12, f"the gradient there is {seen}")
    return sy.Exhibit(text=f"largest entry of the gradient: {seen:.1e}")


converges.sabotage("another turning point", shape, half=sp.Rational(2, 5))
converges.sabotage("half of the lift at one half", threshold, factor=1)
converges.sabotage("the slope without its one half", slope, factor=1)
converges.sabotage("a stronger penalty, which converges", alternating, strength=40)
converges.sabotage("another partner in the cycle", cycle, other=sp.Rational(3, 4))
converges.sabotage("a point that is not stationary", stationary, chance=sp.Rational(3, 4))
