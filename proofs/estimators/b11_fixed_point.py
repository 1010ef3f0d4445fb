"""B11: GRPO's exact iterates for binary rewards: a fixed point above p_ref exists; when they settle."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

PAPER = "2503.06639"
p, a, b, ref = sp.symbols("p p_a p_b p_ref", positive=True)
beta = sp.Symbol("beta", positive=True)
eps = sp.Symbol("epsilon", nonnegative=True)
reached, fixed, at_ref, at_one, divisor = sp.symbols("h p_star h_ref h_one sigma", real=True)


def lift(chance, smoothing):
    """The divisor sqrt(p(1-p) + epsilon)."""
    return sp.sqrt(chance * (1 - chance) + smoothing)


def success(odds_factor, reference):
    """The chance of success when the reference's odds are multiplied by a factor."""
    return reference * odds_factor / (reference * odds_factor + 1 - reference)


exists = sy.Claim(
    id="B11a",
    title="The exact iterate is logit p_ref + 1/(beta sigma), and its fixed points lie above p_ref",
    statement=sy.Statement(
        setting=(
            r"Binary rewards, a reference with success rate $p_{\mathrm{ref}}$; the next policy "
            r"maximises $\mathrm{E}_\pi[A] - \beta\, \mathrm{KL}(\pi \| \pi_{\mathrm{ref}})$ over all "
            r"policies, with $A = (r - p)/\sqrt{p(1-p) + \epsilon}$ and p the success rate of the policy before"
        ),
        forall={
            p: sy.between(0, 1, closed=True),
            ref: sy.between(0, 1),
            beta: sy.above(0),
            eps: sy.above(0),
        },
        quantities={
            reached: sy.Quantity("h(p)", "the success rate of the next policy"),
            divisor: sy.Quantity(r"\sigma", "the divisor of the advantage"),
            at_ref: sy.Quantity(r"h(p_{\mathrm{ref}})", "its value at the reference's rate"),
            at_one: sy.Quantity("h(1)", "its value at p = 1"),
            fixed: sy.Quantity(
                "p^*", "a solution of $h(p) = p$; the first two goals and continuity give one"
            ),
        },
        goals={
            "odds": sp.Eq(
                reached / (1 - reached), ref / (1 - ref) * sp.exp(1 / (beta * sp.sqrt(p * (1 - p) + eps)))
            ),
            "above the reference": sp.Gt(reached, ref),
            "fixed point": sp.And(fixed > ref, fixed < 1),
        },
        lemmas={
            "divisor": sy.Lemma(sp.And(divisor >= sp.sqrt(eps), divisor > 0)),
            "intermediate value": sy.Lemma(
                sp.Implies(sp.And(at_ref > ref, at_one < 1), sp.And(fixed > ref, fixed < 1)),
                cited="Intermediate value theorem, for h(p) - p between the reference's rate and 1",
            ),
        },
    ),
    source=sy.Source(
        PAPER,
        "v4",
        "the recursion for the probability of success",
        says="each iterate maximises the advantage under the last policy less a KL penalty, which gives a "
        "recursion for the success rate with fixed points",
        caveat="read in the author's summary of the paper and its abstract",
    ),
    verdict="proved",
    scope="policies without a parametric constraint, population advantages, no clip",
    proof=(
        r"The maximiser is $\pi \propto \pi_{\mathrm{ref}}\, \mathrm{exp}(A/\beta)$, and $A^+ - A^- = "
        r"1/\sigma$, so the odds of success are multiplied by $\mathrm{exp}(1/(\beta\sigma))$: the "
        r"objective as a function of the success rate is strictly "
        r"concave and its derivative vanishes there. The exponent is positive, so h exceeds "
        r"$p_{\mathrm{ref}}$ everywhere, and with it every fixed point. As $\sigma \ge "
        r"\sqrt{\epsilon}$, the exponent is bounded and h stays below 1, at p = 1 too. "
        r"So $h(p) - p$ is positive at $p_{\mathrm{ref}}$ and negative at 1, and by the intermediate "
        r"value theorem it vanishes in between."
    ),
    finding=(
        r"With $\epsilon = 0$ there may be no fixed point inside: the advantage grows without bound "
        r"as $p \to 1$, and for small $\beta$ the iterates run to $p = 1$. The fixed point need not "
        r"be unique."
    ),
)


@exists.step(
    "The maximiser",
    route="sympy",
    shows="the objective as a function of the success rate q: its derivative, and strict concavity",
)
def maximiser(gap=1):
    q, x = sp.symbols("q x", positive=True)
    deviation = lift(p, eps)
    divergence = q * (sp.log(q) - sp.log(ref)) + (1 - q) * (sp.log(1 - q) - sp.log(1 - ref))
    value = gap * (q * (1 - p) / deviation - (1 - q) * p / deviation) - beta * divergence
    sy.equal(sp.simplify(sp.diff(value, q, 2)), -beta / (q * (1 - q)), "strictly concave")
    # Zero of the derivative: gap/sigma = beta (logit q - logit ref).
    slope = gap / deviation - beta * (sp.log(q) - sp.log(1 - q) - sp.log(ref) + sp.log(1 - ref))
    sy.equal(sp.diff(value, q), slope, "the derivative")
    best = success(x, ref)
    sy.equal(best / (1 - best), x * ref / (1 - ref), "the odds at the maximum")
    exists.goal("odds").holds({reached: success(sp.exp(gap / (beta * deviation)), ref)})


@exists.step(
    "Above the reference",
    route="smt",
    shows=r"a factor $x > 1$ of the odds: the exponential of a positive number",
)
def above_reference(least=1):
    x = sp.Symbol("x", positive=True)
    exists.goal("above the reference").holds({reached: success(x, ref)}, where=[x > least])


@exists.step(
    "The divisor",
    route="smt",
    shows=r"$\sigma \ge \sqrt{\epsilon}$, so the exponent is at most $1/(\beta\sqrt{\epsilon})$",
)
def smoothed(kept=1):
    exists.goal("divisor").holds({divisor: lift(p, kept * eps)})


@exists.step("A crossing", route="smt", shows=r"the signs of $h(p) - p$ at $p_{\mathrm{ref}}$ and at 1")
def crossing(least=1):
    x, top, root = sp.symbols("x top p_star", positive=True)
    deviation = sp.Symbol("sigma", positive=True)
    exists.goal("fixed point").holds(
        {fixed: root},
        where=[x > least, top > 1],
        using={
            "divisor": {divisor: deviation},
            "intermediate value": {at_ref: success(x, ref), at_one: success(top, ref), fixed: root},
        },
    )


# At p = 1/2 and epsilon = 3/4 the divisor is 1, so beta = 1/log 4 multiplies the odds by four.
PLACE = {p: sp.S.Half, eps: sp.Rational(3, 4), beta: 1 / sp.log(4), ref: sp.Rational(1, 6)}


@exists.step(
    "Three answers, exactly",
    route="enumeration",
    shows="the best policy beats every move of 1/50 of mass and keeps the wrong answers' shares; a fixed point at 4/5",
)
def shares(moved=False):
    reference = [sp.Rational(1, 6), sp.Rational(1, 3), sp.Rational(1, 2)]
    factor = sp.Integer(4)
    best = [reference[0] * factor, *reference[1:]]
    best = [x / sum(best) for x in best]
    if moved:
        best = [best[0] + sp.Rational(1, 20), best[1] - sp.Rational(1, 20), best[2]]
    scaled = [sp.log(factor), 0, 0]  # advantages over beta, up to a constant

    def value(pi):
        return sp.Add(*[x * (g - sp.log(x / r)) for x, g, r in zip(pi, scaled, reference, strict=True)])

    exists.goal("odds").holds({reached: best[0]}, at=PLACE)
    exists.goal("above the reference").holds({reached: best[0]}, at=PLACE)
    for i in range(3):
        for j in range(3):
            if i != j:
                other = list(best)
                other[i] += sp.Rational(1, 50)
                other[j] -= sp.Rational(1, 50)
                sy.require(sy.exact_sign(value(best) - value(other)) > 0, f"mass from {j} to {i} is worse")
    # ref = 1/2, epsilon = 9/100, beta = 2/log 4: at 4/5 the divisor is 1/2 and the odds are multiplied by 4.
    place = {ref: sp.S.Half, eps: sp.Rational(9, 100), beta: 2 / sp.log(4)}
    exponent = 1 / (place[beta] * lift(sp.Rational(4, 5), place[eps]))
    root = success(sp.exp(exponent), place[ref])
    sy.equal(root, sp.Rational(4, 5), "h maps 4/5 to itself")
    exists.goal("fixed point").holds({fixed: root}, at=place)


@exists.step(
    "The engine's gradient vanishes at the iterate",
    route="exact engine",
    shows="the shipped REINFORCE on the reward A - beta log(pi/ref): two answers, p = 1/2, next rate 4/9",
)
def stationary(chance=sp.Rational(4, 9)):
    strength, reference = PLACE[beta], PLACE[ref]
    # The policy gradient of E[A] - beta KL is that of the reward A - beta log(pi/ref), a number for each answer.
    right = sp.S.Half - strength * sp.log(chance / reference)
    wrong = -sp.S.Half - strength * sp.log((1 - chance) / (1 - reference))
    rewards = [sp.Rational(float(right)), sp.Rational(float(wrong))]
    bandit = sy.SymbolicBandit([chance, 1 - chance], rewards)
    sy.near(sy.engine(catalogue.get("reinforce"), bandit, 2).mean.reshape(-1), 0, 1e-12, "the gradient there")
    exists.goal("odds").holds({reached: float(chance)}, at=PLACE, tolerance=1e-11)


exists.sabotage("twice the advantages", maximiser, gap=2)
exists.sabotage("a factor below one", above_reference, least=sp.S.Half)
exists.sabotage("half of epsilon", smoothed, kept=sp.S.Half)
exists.sabotage("a crossing from below", crossing, least=sp.S.Half)
exists.sabotage("mass moved to the right answer", shares, moved=True)
exists.sabotage("a point that is not stationary", stationary, chance=sp.S.Half)


level, logit, logit_a, logit_b, swing = sp.symbols("l L L_a L_b s", real=True)
HALF = sp.S.Half

converges = sy.Claim(
    id="B11b",
    title="The iterates settle when p_ref is not too small",
    statement=sy.Statement(
        setting=(
            r"The iterates $p_n = h(p_{n-1})$ of B11a, $\mathrm{logit}\, h(p) = \mathrm{logit}\, "
            r"p_{\mathrm{ref}} + \frac{1}{\beta\sqrt{p(1-p)+\epsilon}}$, from any start in $(0, 1)$"
        ),
        forall={
            p: sy.between(0, 1),
            a: sy.between(0, 1),
            b: sy.between(0, 1),
            beta: sy.above(0),
            eps: sy.above(0, closed=True),
        },
        given={
            "not too hard": sy.Hypothesis(
                r"$\mathrm{logit}\, p_{\mathrm{ref}} \ge -\frac{2}{\beta\sqrt{1+4\epsilon}}$, that is $h(1/2) \ge 1/2$",
                sp.Ge(level + 2 / (beta * sp.sqrt(1 + 4 * eps)), 0),
                stated_by="ours",
            )
        },
        quantities={
            level: sy.Quantity(r"\mathrm{logit}\, p_{\mathrm{ref}}", "the reference's logit"),
            logit: sy.Quantity(r"\mathrm{logit}\, h(p)", "the next iterate's logit"),
            logit_a: sy.Quantity(r"\mathrm{logit}\, h(p_a)", "the same from $p_a$"),
            logit_b: sy.Quantity(r"\mathrm{logit}\, h(p_b)", "the same from $p_b$"),
            swing: sy.Quantity("s", r"any number that $|p_{n+1} - p_n|$ never falls below, $n \ge 2$"),
        },
        goals={
            "at least one half": sp.Ge(logit, 0),
            "rising": sp.Implies(sp.And(a >= HALF, a <= b), logit_a <= logit_b),
            "settles": sp.Le(swing, 0),
        },
    ),
    source=sy.Source(
        PAPER,
        "v4",
        "abstract",
        relation="ours",
        says="the success rate is said to converge to a fixed point above the reference's, locally and "
        "under mild conditions",
        caveat="the author says locally; the question here is convergence from every start",
    ),
    verdict="proved",
    scope=r"every beta > 0 and epsilon from 0 on; then the limit is a fixed point of h, by continuity, "
    r"where $\epsilon > 0$",
    proof=(
        r"$p(1-p)$ is at most 1/4, so under the hypothesis the logit of every next iterate is at "
        r"least 0: from $p_1$ on all iterates are at least 1/2. There $p(1-p)$ falls, so h rises, and "
        r"$p_1 \le p_2$ or $p_1 \ge p_2$ carries on to all later ones: the "
        r"iterates are monotone. They lie between 1/2 and 1, so the sum of n distances is at most "
        r"1/2, and no positive number is below all of them; a bounded monotone sequence converges. "
        r"Without the hypothesis h can "
        r"throw the iterates from a low to a high interval and back for ever, and two rates can swap exactly."
    ),
    finding=(
        r"Without the hypothesis h falls at the fixed point, with slope "
        r"$-\frac{1-2p}{2\beta\sqrt{p(1-p)}}$ ($\epsilon = 0$), and a slope below $-1$ gives a cycle. "
        r"For the $\beta$ of practice, 0.04, the hypothesis asks for "
        r"$p_{\mathrm{ref}} \ge e^{-50}$: harmless there; it bites for $\beta$ of order 1 and more on hard prompts."
    ),
)


def next_logit(chance, reference=level, strength=beta, smoothing=eps):
    """The logit of h."""
    return reference + 1 / (strength * lift(chance, smoothing))


@converges.step(
    "At least one half, and rising from there",
    route="smt",
    shows=r"from $p(1-p) \le 1/4$, and its fall above 1/2",
)
def shape(turn=1):
    values = {logit: next_logit(p), level: level}
    converges.goal("at least one half").holds(values)
    values = {logit_a: next_logit(turn * a), logit_b: next_logit(turn * b), level: level}
    converges.goal("rising").holds(values)


@converges.step(
    "So they settle", route="smt", shows=r"n equal distances fit into 1/2 for every n: none is positive"
)
def settle(room=HALF):
    distance, count = sp.Symbol("s", real=True), sp.Symbol("N", positive=True)
    # N distances of at least s fit into the room; N may be any number, so also one with N s >= 1.
    converges.goal("settles").holds(
        {swing: distance, level: level},
        where=[sp.Or(distance <= 0, count * distance >= 1), count * distance <= room],
    )


@converges.step(
    "In numbers",
    route="enumeration",
    shows="beta = 1, epsilon = 1/10, reference 1/4: exact signs for p in tenths; s is at most 1/(2n)",
)
def numbers(reference=sp.Rational(1, 4)):
    place = {beta: sp.Integer(1), eps: sp.Rational(1, 10)}
    known = sp.log(reference / (1 - reference))
    tenths = [sp.Rational(x, 10) for x in range(1, 10)]
    found = {x: next_logit(x, known, place[beta], place[eps]) for x in tenths}
    for x in tenths:
        sy.require(sy.exact_sign(found[x]) >= 0, f"the iterate from {x} is below one half")
        converges.goal("at least one half").holds({logit: found[x], level: known}, at={p: x, **place})
        for y in tenths:
            values = {logit_a: found[x], logit_b: found[y], level: known}
            converges.goal("rising").holds(values, at={a: x, b: y, **place})
    n = sp.Symbol("n", positive=True)
    converges.goal("settles").holds({swing: sp.limit(HALF / n, n, sp.oo), level: known}, at=place)


def exceeds(chance, bound, odds, strength, smoothing):
    """Whether h(chance) > bound, exactly: an algebraic number against the log of a rational."""
    left = next_logit(sp.sympify(chance), sp.log(odds), strength, smoothing)
    return sy.exact_sign(left - sp.log(sp.sympify(bound) / (1 - bound))) > 0


@converges.counterexample(
    "beta = 4, p_ref = 1/1251 (odds 1/1250), epsilon = 0, 1/1000000 or 1/100000: h maps [1/1300, "
    "1/500] into [1/6, 9/10] "
    "and that back into it, so the iterates from p_ref never settle.",
    beta=4,
    p_ref="1/1251",
)
def alternating(strength=4, odds=sp.Rational(1, 1250)):
    low, high = (sp.Rational(1, 1300), sp.Rational(1, 500)), (sp.Rational(1, 6), sp.Rational(9, 10))
    for smoothing in (sp.Integer(0), sp.Rational(1, 10**6), sp.Rational(1, 10**5)):
        known = (odds, strength, smoothing)
        sy.require(low[0] < odds / (1 + odds) < low[1], "the iteration starts in the low interval")
        # h falls on the low interval, so its ends give the image's ends.
        falls = exceeds(low[1], high[0], *known) and not exceeds(low[0], high[1], *known)
        sy.require(falls, "low goes into high")
        # On the high interval h is least at 1/2 and largest at an end.
        sy.require(exceeds(HALF, low[0], *known), "high goes above the low interval's lower end")
        back = not any(exceeds(x, low[1], *known) for x in high)
        sy.require(back, "high goes below the low interval's upper end")
        converges.goal("settles").fails(
            {swing: high[0] - low[1], level: sp.log(odds)},
            at={beta: strength, eps: smoothing},
            without="not too hard",
        )


@converges.counterexample(
    "A cycle in closed form (epsilon = 0): beta = 5/(6 log 36), p_ref = 1/419905 swap 1/10 and 4/5; each is the exact "
    "maximiser given the other.",
    p="(1/10, 4/5)",
)
def cycle(other=sp.Rational(4, 5)):
    rate, strength = sp.Rational(1, 10), 5 / (6 * sp.log(36))
    log_odds = -sp.log(419904)
    for now, following in ((rate, other), (other, rate)):
        missed = next_logit(now, log_odds, strength, 0) - sp.log(following / (1 - following))
        missed = sp.simplify(sp.expand_log(missed, force=True))
        sy.require(sy.exact_sign(missed) == 0, f"{now} goes to {following}")
    converges.goal("settles").fails(
        {swing: other - rate, level: log_odds}, at={beta: strength, eps: 0}, without="not too hard"
    )


converges.sabotage("rates below one half", shape, turn=HALF)
converges.sabotage("a room of one", settle, room=1)
converges.sabotage("a harder prompt", numbers, reference=sp.Rational(1, 50))
converges.sabotage("a stronger penalty, which converges", alternating, strength=40)
converges.sabotage("another partner in the cycle", cycle, other=sp.Rational(3, 4))
