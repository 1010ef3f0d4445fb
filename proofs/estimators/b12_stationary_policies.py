"""B12: GRPO's stationary policies for two answers, and which KL divergence its penalty follows."""

import sympy as sp
from _binary import OUR_ON_POLICY, standardised

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, penalty, surrogate

PAPER = "2502.18548"
p, q = sp.symbols("p q", positive=True)
beta = sp.Symbol("beta", positive=True)
margin = sp.Symbol("gamma", positive=True)
pull, star, balance, residual = sp.symbols("u p_star f r", real=True)

stationary = sy.Claim(
    id="B12a",
    title="Two answers, groups of two: the stationary policy in closed form",
    statement=sy.Statement(
        setting=(
            r"A softmax over two answers a and b, a preferred with the margin $\gamma = P(r_a > r_b) "
            r"- P(r_a < r_b)$, the reference's chance of a is q; GRPO with G = 2, population standard "
            r"deviation, no epsilon, "
            r"and the penalty $\beta$ times k3; $p^* = \frac{1}{2}\left[1 - c + \sqrt{(1-c)^2 + "
            r"4cq}\right]$ with $c = \beta/\gamma$"
        ),
        forall={
            p: sy.between(0, 1),
            q: sy.between(0, 1),
            beta: sy.above(0),
            margin: sy.between(0, 1, closed=True),
        },
        given={
            "on policy": OUR_ON_POLICY,
            "margin": sy.Hypothesis("a is preferred, $\\gamma > 0$", margin > 0, "ours"),
        },
        quantities={
            pull: sy.Quantity("u", r"the factor of $\nabla p$ in the expected update at p"),
            star: sy.Quantity("p^*", "the claimed stationary chance of a"),
            balance: sy.Quantity("f", r"$u\, p(1-p)$, with the sign of the update"),
            residual: sy.Quantity("f^*", r"its value at $p^*$"),
        },
        goals={
            "update": sp.Eq(pull, margin - beta * (p - q) / (p * (1 - p))),
            "stationary": sp.And(sp.Eq(residual, 0), star > q, star < 1),
            "it attracts": sp.And(sp.Implies(p < star, balance > 0), sp.Implies(p > star, balance < 0)),
        },
    ),
    source=sy.Source(
        PAPER,
        "v3",
        "abstract",
        relation="reading",
        says="the stationary policy is given explicitly for binary questions and for groups of two, in "
        "terms of the penalty's constant and the margin",
        caveat="the paper's equations were not read here: the closed form is derived, and not compared with theirs",
    ),
    verdict="proved",
    scope="every q, beta and margin; at the stationary point the policy is the one that samples",
    proof=(
        r"A mixed pair has the advantages $\pm 1$, so the rewards pull with $\gamma$ on $\nabla p$. "
        r"The penalty's expected slope is that of $\mathrm{KL}(\mathrm{ref} \| \pi)$ (B12b), "
        r"$\frac{p-q}{p(1-p)}$ times $\beta$. The balance of the two is "
        r"$-\gamma (p^2 + (c-1)p - cq)$, a parabola that is positive at q and negative at 1. Its one "
        r"root above zero is $p^*$; below it the update raises p, above it lowers p. All pairs of a "
        r"bandit with random "
        "rewards, and the engine with its penalty, give the same update."
    ),
    finding=(
        r"It is no logarithmic pooling: $p^* - q = \frac{\gamma}{\beta} p^*(1-p^*)$, so an answer "
        r"that the reference never gives stays at p = 0, or jumps to $1 - c$ once $\beta < \gamma$. "
        r"The sample standard deviation replaces $\beta$ by $\sqrt{2}\beta$."
    ),
)


def root(strength, gap, reference):
    """The closed form."""
    c = strength / gap
    return (1 - c + sp.sqrt((1 - c) ** 2 + 4 * c * reference)) / 2


@stationary.step(
    "The update",
    route="sympy",
    shows=r"the pair's weight from the definition, and the derivative of $\mathrm{KL}(\mathrm{ref}\|\pi)$",
)
def equation(ddof=0):
    divergence = q * sp.log(q / p) + (1 - q) * sp.log((1 - q) / (1 - p))
    reward = sy.prompt_weight(standardised(2, ddof), 2, p) * margin
    stationary.goal("update").holds({pull: reward - beta * sp.diff(divergence, p)})
    best = root(beta, margin, q)
    value = margin * best * (1 - best) - beta * (best - q)
    sy.equal(value, 0, "the closed form solves the quadratic")


@stationary.step(
    "One root, between q and 1", route="smt", shows="signs of the balance on both sides of the closed form"
)
def root_place(strength=1):
    best, value = root(beta, margin, q), margin * p * (1 - p) - strength * beta * (p - q)
    at_best = margin * best * (1 - best) - strength * beta * (best - q)
    stationary.goal("stationary").holds({residual: at_best, star: best})
    stationary.goal("it attracts").holds({balance: value, star: best})


RATES = [sp.Rational(x, 10) for x in (1, 3, 5, 7, 9)]


@stationary.step(
    "Random rewards",
    route="traced code",
    shows="all pairs of four outcomes, margin 5/12, weights traced, less the penalty's slope from the "
    "traced k3; signs at p in tenths",
)
def random_rewards(name="grpo"):
    weights = sy.weights_of(catalogue.get(name, eps=0.0))
    good, bad = (sp.Rational(2, 3), sp.Rational(1, 3)), (sp.Rational(1, 4), sp.Rational(3, 4))
    gap = good[0] * bad[1] - good[1] * bad[0]
    reference, strength = sp.Rational(3, 8), sp.Rational(1, 2)
    best = root(strength, gap, reference)
    at_best = gap * best * (1 - best) - strength * (best - reference)
    place = {q: reference, beta: strength, margin: gap}
    stationary.goal("stationary").holds({residual: at_best, star: best}, at=place)
    for x in RATES:
        chances = [x * good[0], x * good[1], (1 - x) * bad[0], (1 - x) * bad[1]]
        scores = [[1 - x], [1 - x], [-x], [-x]]
        bandit = sy.SymbolicBandit(chances, [1, 0, 1, 0], scores=scores)
        slopes = [1 - reference / x, 1 - (1 - reference) / (1 - x)]  # of k3 by log pi (B12b)
        penalised = strength * x * (1 - x) * (slopes[0] - slopes[1])
        value = sy.group_moments(bandit, 2, weights).mean[0] - penalised
        stationary.goal("update").holds({pull: value / (x * (1 - x))}, at={p: x, **place})
        stationary.goal("it attracts").holds({balance: value, star: best}, at={p: x, **place})
    bare, half = sy.weights_of(catalogue.get(name)), sp.S.Half
    for rewards in ((1, 0), (0, 1), (1, 1)):
        scaled = [w * half / (half + sp.Rational(1, 10**6)) for w in weights(rewards)]
        sy.equal(
            list(bare(rewards)), scaled, "with its default epsilon a pair's weights have one factor more"
        )


@stationary.step(
    "The shipped GRPO with its penalty",
    route="exact engine",
    shows=r"q = 3/8, $\beta = 1/2$, fixed rewards: the update at p = 3/4, where it vanishes, and at 7/10",
)
def shipped_engine(strength=0.5):
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        reference = jnp.log(jnp.asarray([[0.375, 0.625]]))
    estimator = catalogue.get("grpo", eps=0.0, beta=strength)
    for x in (sp.Rational(3, 4), sp.Rational(7, 10)):
        bandit = sy.SymbolicBandit([x, 1 - x], [1, 0])
        seen = sy.engine(estimator, bandit, 2, ref_params=reference).mean.reshape(-1)[0]
        place = {p: x, q: sp.Rational(3, 8), beta: sp.S.Half, margin: 1}
        stationary.goal("update").holds({pull: float(seen) / float(x * (1 - x))}, at=place, tolerance=1e-11)
    sy.equal(root(sp.S.Half, sp.Integer(1), sp.Rational(3, 8)), sp.Rational(3, 4), "the closed form")


stationary.sabotage("the sample standard deviation", equation, ddof=1)
stationary.sabotage("twice the penalty", root_place, strength=2)
stationary.sabotage("the sample standard deviation in the code", random_rewards, name="grpo_sample_std")
stationary.sabotage("a weaker penalty in the engine", shipped_engine, strength=0.25)


drift, slope, value, divergence = sp.symbols("d g v D", real=True)

pull_claim = sy.Claim(
    id="B12b",
    title="The k3 penalty as a loss pulls with the gradient of KL(ref || pi), not of KL(pi || ref)",
    statement=sy.Statement(
        setting=(
            r"A softmax over any number of answers, $k_3 = \frac{\pi_{\mathrm{ref}}}{\pi} - 1 - "
            r"\log\frac{\pi_{\mathrm{ref}}}{\pi}$, on policy; entries by the logit of an answer j"
        ),
        given={"on policy": OUR_ON_POLICY},
        quantities={
            drift: sy.Quantity(r"\mathrm{E}_\pi[\partial_j k_3]", "the mean of the penalty's derivative"),
            slope: sy.Quantity(
                r"\partial_j \mathrm{KL}(\pi_{\mathrm{ref}} \| \pi)", "the derivative of this divergence"
            ),
            value: sy.Quantity(r"\mathrm{E}_\pi[k_3]", "the mean of the penalty"),
            divergence: sy.Quantity(r"\mathrm{KL}(\pi \| \pi_{\mathrm{ref}})", "the other divergence"),
        },
        goals={"pull": sp.Eq(drift, slope), "value": sp.Eq(value, divergence)},
    ),
    source=sy.Source(
        PAPER,
        "v3",
        "abstract",
        relation="reading",
        says="the penalty essentially corresponds to the reverse KL divergence between the policy and the "
        "reference, against the direct one of other methods",
        caveat="the abstract does not say which direction is meant, nor that it is the gradient that corresponds; the "
        "paper's equations were not read here",
    ),
    verdict="proved",
    scope="policies and references with the same support; on policy, that is at the first step",
    proof=(
        r"The derivative of $k_3$ by $\log \pi$ is $1 - \pi_{\mathrm{ref}}/\pi$. Its mean product "
        r"with the score of the logit j is $(\pi_j - \mathrm{ref}_j) - \pi_j (1 - 1) = \pi_j - "
        r"\mathrm{ref}_j$, sums of chances being 1, which is the derivative of "
        r"$-\sum \mathrm{ref} \log \pi$. The mean of $k_3$ itself is $1 - 1 + \sum \pi "
        r"\log(\pi/\mathrm{ref})$, the other divergence. Three answers, the traced penalty and the "
        r"engine agree."
    ),
    finding=(
        "The value is that of one divergence, the gradient that of the other. The two agree to first "
        "order at pi = ref, and differ most where the reference gives chances that pi has dropped: "
        "the "
        "pull back is strong there."
    ),
)


@pull_claim.step(
    "Any number of answers",
    route="sympy",
    shows="sums over answers with the total chances of pi and ref left as symbols, then set to 1",
)
def by_answer(total=1):
    x, r, others, left = sp.symbols("x r P R", positive=True)  # answer j, and the sums over the other answers
    L = sp.Symbol("L", real=True)  # log pi
    k3 = r / sp.exp(L) - 1 - (sp.log(r) - L)
    by_log = sp.diff(k3, L).subs(L, sp.log(x))
    sy.equal(by_log, 1 - r / x, "the slope in log pi")
    # sum_i pi_i (1 - ref_i/pi_i)(delta_ij - pi_j), and -sum_i ref_i (delta_ij - pi_j)
    mean = x * by_log * (1 - x) - x * (others - left)
    claimed = -r * (1 - x) + left * x
    sums = {others: total - x, left: 1 - r}
    pull_claim.goal("pull").holds({drift: mean.subs(sums), slope: claimed.subs(sums)})
    # An answer's part of the mean of k3 is ref_i - pi_i + pi_i log(pi_i/ref_i); y is the sum of the others' last parts.
    y = sp.Symbol("y", real=True)
    here = x * (r / x - 1 - sp.log(r / x))
    values = {
        value: (here + left - others + y).subs(sums),
        divergence: x * (sp.log(x) - sp.log(r)) + y,
    }
    pull_claim.goal("value").holds(values)


CHANCES = [sp.Rational(1, 2), sp.Rational(1, 3), sp.Rational(1, 6)]
REFERENCE = [sp.Rational(1, 4), sp.Rational(1, 4), sp.Rational(1, 2)]


def derivatives(reverse=False):
    """The derivatives by the logits of KL(ref || softmax), or of KL(softmax || ref), by differentiating."""
    logits = sp.symbols("l1:4", real=True)
    total = sp.Add(*map(sp.exp, logits))
    pi = [sp.exp(x) / total for x in logits]
    pairs = list(zip(pi, REFERENCE, strict=True))
    backward = sp.Add(*[x * sp.log(x / r) for x, r in pairs])
    forward = sp.Add(*[r * sp.log(r / x) for x, r in pairs])
    place = dict(zip(logits, map(sp.log, CHANCES), strict=True))
    return [sp.simplify(sp.diff(backward if reverse else forward, x).subs(place)) for x in logits]


@pull_claim.step(
    "The shipped penalty on three answers",
    route="traced code",
    shows="value and derivative of the traced penalty at each answer, averaged over the policy",
)
def traced(kind="k3"):
    import jax

    x, y = sy.symbols("x", (1, 1, 1)), sy.symbols("y", (1, 1, 1))
    shipped = getattr(penalty, kind)
    slopes = sy.trace(jax.grad(lambda u, v: shipped(u, v).sum()), x, y).reshape(-1)[0]
    level = sy.trace(lambda u, v: shipped(u, v).sum(), x, y)
    mean, drifts = sp.Integer(0), [sp.Integer(0)] * 3
    for i, (chance, reference) in enumerate(zip(CHANCES, REFERENCE, strict=True)):
        place = {x.flat[0]: sp.log(chance), y.flat[0]: sp.log(reference)}
        mean += chance * level.subs(place)
        for j in range(3):
            drifts[j] += chance * slopes.subs(place) * ((1 if i == j else 0) - CHANCES[j])
    pull_claim.goal("pull").holds({drift: drifts, slope: derivatives()})
    exact = sp.Add(*[c * sp.log(c / r) for c, r in zip(CHANCES, REFERENCE, strict=True)])
    pull_claim.goal("value").holds({value: mean, divergence: exact})


@pull_claim.step(
    "The engine on three answers",
    route="exact engine",
    shows="no reward, penalty only: the expected update is minus the derivative of the divergence",
)
def three(reverse=False):
    import jax
    import jax.numpy as jnp
    import numpy as np

    bandit = sy.SymbolicBandit(CHANCES, [0, 0, 0])
    only = compose(
        advantage=advantage.group_mean,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        penalty=penalty.k3,
    )
    with jax.enable_x64(True):
        logits = jnp.log(jnp.asarray([[float(x) for x in REFERENCE]]))
    computed = np.asarray(sy.engine(only, bandit, 2, ref_params=logits).mean).reshape(-1)
    pull_claim.goal("pull").holds({drift: -computed, slope: derivatives(reverse)}, tolerance=1e-11)


pull_claim.sabotage("chances that sum to two", by_answer, total=2)
pull_claim.sabotage("k2 in place of k3", traced, kind="k2")
pull_claim.sabotage("the gradient of KL(pi || ref) in the engine", three, reverse=True)
