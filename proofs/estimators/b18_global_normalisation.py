"""B18: normalising in the group (a), the update that follows (b), and normalising over the batch (c)."""

import numpy as np
import sympy as sp
from _binary import shipped, standardised
from _short_sequences import batch_moments

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import aggregate, surrogate

G, k = sp.symbols("G k", positive=True, integer=True)
p = sp.Symbol("p", positive=True)
TWO = [sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])]
DIRECTION = [x / 2 for bandit in TWO for x in bandit.gradient]
BINOMIAL = "the binomial theorem"


def given_correct(advantages, size, chance):
    """E[A | r = 1]: the other size - 1 rollouts are independent."""
    return sy.over_binomial(lambda j: advantages(j + 1)[0], size - 1, chance)


def mean_square(advantages, size, chance):
    """E[A^2 | r = 1]."""
    return sy.over_binomial(lambda j: advantages(j + 1)[0] ** 2, size - 1, chance)


def defect_of(a, b):
    """|a|^2 |b|^2 - (a.b)^2, zero if and only if the vectors are parallel."""
    dot = [sp.Add(*[x * y for x, y in zip(u, v, strict=True)]) for u, v in ((a, a), (b, b), (a, b))]
    return sp.expand(dot[0] * dot[1] - dot[2] ** 2)


mean, square, total = sp.symbols("m q2 T", real=True)

advantage_bias = sy.Claim(
    id="B18a",
    title="The group-standardised advantage is a biased estimate of (r - p)/sigma",
    statement=sy.Statement(
        setting="Binary rewards with success rate p, population standard deviation without epsilon",
        forall={G: sy.whole(2), p: sy.between(0, 1)},
        quantities={
            mean: sy.Quantity(
                r"\mathrm{E}[A | r = 1]", "the mean standardised advantage of a correct rollout"
            ),
            square: sy.Quantity(r"\mathrm{E}[A^2 | r = 1]", "its mean square"),
            total: sy.Quantity(r"T", r"the sum of $\binom{G-1}{j} p^j (1-p)^{G-1-j}$ over j from 0 to G - 1"),
        },
        goals={
            "mean square": sp.Eq(square, (1 - p) / p * (1 - (1 - p) ** (G - 1))),
            "shrunk": sp.Lt(mean, sp.sqrt((1 - p) / p)),
        },
        lemmas={
            "chances sum to one": sy.Lemma(sp.Eq(total, 1), cited=BINOMIAL),
            "Jensen": sy.Lemma(sp.Le(mean**2, square), cited="Jensen's inequality"),
        },
    ),
    source=sy.Source(
        "2501.03262",
        "v9",
        "abstract",
        says=(
            "normalising in the prompt's group is a biased estimator, because the centred reward and the "
            "group's standard deviation depend on each other"
        ),
    ),
    verdict="proved",
    scope="every G and p; for wrong rollouts exchange p and 1 - p",
    proof=(
        r"A correct rollout beside k others that are correct has $A^2 = \frac{G-1-k}{k+1}$, and "
        r"$\binom{G-1}{k} \frac{G-1-k}{k+1} = \binom{G-1}{k+1}$. The binomial theorem then gives "
        r"$\mathrm{E}[A^2 | r = 1] = \frac{1-p}{p}(1 - (1-p)^{G-1})$. By Jensen's inequality the squared mean "
        r"is no larger, hence strictly below $\frac{1-p}{p}$, whose root is the advantage "
        r"$\frac{1-p}{\sigma}$, $\sigma = \sqrt{p(1-p)}$, that is estimated. The shipped GRPO has these means."
    ),
    finding=(
        r"It is always shrunk towards zero, by the chance $(1-p)^{G-1}$ of being alone among others; "
        r"with $G = 2$ the shrinkage is the whole story: $\mathrm{E}[A|r=1] = 1 - p$."
    ),
)


@advantage_bias.step(
    "The mean square, any G",
    route="sympy",
    shows=(
        r"$\binom{G-1}{k} \frac{G-1-k}{k+1} = \binom{G-1}{k+1}$; all terms of the binomial sum but the "
        r"first are left"
    ),
)
def mean_square_any(shift=0):
    sy.equal(
        sp.binomial(G - 1, k) * (G - 1 - k) / (k + 1),
        sp.binomial(G - 1, k + 1 + shift),
        "the binomial identity",
    )
    all_terms = (p + (1 - p)) ** (G - 1)  # the sum over all counts
    values = {square: (1 - p) / p * (all_terms - (1 - p) ** (G - 1))}
    advantage_bias.goal("mean square").holds(values, using={"chances sum to one": {total: all_terms}})


@advantage_bias.step(
    "Strictly below, any G", route="smt", shows=r"$m^2 \le \frac{1-p}{p} (1 - x)$ with $x = (1-p)^{G-1} > 0$"
)
def strict(least=0):
    m, x = sp.symbols("M x", real=True)
    bound = {mean: m, square: (1 - p) / p * (1 - x)}
    advantage_bias.goal("shrunk").holds({mean: m}, where=[x > least, x < 1], using={"Jensen": bound})


@advantage_bias.step(
    "By summation",
    route="enumeration",
    shows="G = 2 to 7: the mean square for symbolic p, the mean at p in sixths",
)
def summed(ddof=0):
    for size in range(2, 8):
        values = {square: mean_square(standardised(size, ddof), size, p)}
        advantage_bias.goal("mean square").holds(values, at={G: size})
        for j in range(1, 6) if size < 6 else (1, 3):
            q = sp.Rational(j, 6)
            values = {mean: given_correct(standardised(size, ddof), size, q)}
            advantage_bias.goal("shrunk").holds(values, at={G: size, p: q})


@advantage_bias.step(
    "The shipped advantages",
    route="traced code",
    shows="GRPO without epsilon: the mean square at G = 2 to 5; GRPO as catalogued: the mean at p = 1/4 and 2/3",
)
def traced(ddof=0, name="grpo"):
    for size in range(2, 6):
        values = {square: mean_square(shipped("grpo", size, eps=0.0, ddof=ddof), size, p)}
        advantage_bias.goal("mean square").holds(values, at={G: size})
    for size in (2, 3, 4):
        for q in (sp.Rational(1, 4), sp.Rational(2, 3)):
            values = {mean: given_correct(shipped(name, size), size, q)}
            advantage_bias.goal("shrunk").holds(values, at={G: size, p: q})


advantage_bias.sabotage("a shifted binomial", mean_square_any, shift=1)
advantage_bias.sabotage("a chance of being alone that may be negative", strict, least=-1)
advantage_bias.sabotage("the sample std by summation", summed, ddof=1)
advantage_bias.sabotage("the sample std", traced, ddof=1)
advantage_bias.sabotage("REINFORCE's advantage 1, above the bound at p = 2/3", traced, name="reinforce")


p1, p2 = sp.symbols("p1 p2", positive=True)
group_defect, exact_defect, first, second = sp.symbols("D_G D_sigma w1 w2", real=True)
WEIGHTS = {
    group_defect: sy.Quantity(
        "D_G",
        r"$\|m\|^2 \|\nabla J\|^2 - (m \cdot \nabla J)^2$ of GRPO's expected update m on two prompts, zero "
        r"where m is along $\nabla J$",
    ),
    exact_defect: sy.Quantity(
        r"D_\sigma",
        r"$\|m\|^2 \|\nabla J\|^2 - (m \cdot \nabla J)^2$ of the expected update m on the prompts of the rates 1/2 and "
        r"1/10, with rewards divided by each prompt's exact $\sigma = \sqrt{p(1-p)}$",
    ),
    first: sy.Quantity(
        r"w_G(p_1)", r"the factor of $\nabla p$ in the expected update of a prompt of rate $p_1$"
    ),
    second: sy.Quantity(r"w_G(p_2)", r"that of a prompt of rate $p_2$"),
}

because = sy.Claim(
    id="B18b",
    title="A denominator that depends on the rollouts turns the update away from the gradient",
    statement=sy.Statement(
        setting="Binary rewards, sequence scores, two prompts whose success rates differ",
        forall={G: sy.whole(2)},
        quantities=WEIGHTS,
        goals={"turned": sp.Gt(group_defect, 0)},
    ),
    instead=sy.Statement(
        setting="Binary rewards, sequence scores, prompts of any two success rates",
        forall={G: sy.whole(2, 3), p1: sy.between(0, 1), p2: sy.between(0, 1)},
        quantities=WEIGHTS,
        ranges={"turned without dependence": ()},
        goals={
            "not turned at two and three": sp.Eq(first, second),
            "turned without dependence": sp.Gt(exact_defect, 0),
        },
    ),
    source=sy.Source(
        "2501.03262",
        "v9",
        "abstract",
        relation="ours",
        says="the dependence biases the estimate of the advantage (B18a); nothing is said of the update's direction",
    ),
    verdict="refuted",
    scope="both directions: dependence without a turn, and a turn without dependence",
    proof=(
        r"At $G = 2$ and 3 a mixed group has the same standard deviation whichever rollouts are correct, so "
        r"all mixed groups weigh alike and $w_G(p)$ is 1 and $\sqrt{2}$ for every p: the update is along "
        r"$\nabla J$, though the denominator depends on the rollouts. Divided by the exact $\sigma(p)$, which "
        r"no rollout moves, the two prompts get the different weights $1/\sqrt{p(1-p)}$, and the update "
        r"turns. All groups of two bandits and the engine agree."
    ),
    finding=(
        r"The direction is lost because prompts get different divisors, dependent or not: even the exact "
        r"$\sigma(p)$ weighs prompts by $1/\sqrt{p(1-p)}$. At $G = 2$ and $3$ the dependence is strongest and "
        r"the expected update is exactly along $\nabla J$."
    ),
)


@because.step(
    "The weights at G = 2, 3",
    route="sympy",
    shows=r"$w_2(p) = 1$ and $w_3(p) = \sqrt{2}$, from the standardised advantages",
)
def no_turn(sizes=(2, 3), extra=0):
    for size in sizes:
        values = {
            w: sy.prompt_weight(standardised(size + extra), size + extra, q)
            for w, q in ((first, p1), (second, p2))
        }
        because.goal("not turned at two and three").holds(values, at={G: size})


@because.step(
    "The shipped weights",
    route="traced code",
    shows="GRPO as catalogued, with its epsilon: the same for both rates",
)
def traced_weights(name="grpo"):
    for size in (2, 3):
        values = {w: sy.prompt_weight(shipped(name, size), size, q) for w, q in ((first, p1), (second, p2))}
        because.goal("not turned at two and three").holds(values, at={G: size})


def oracle(power=1):
    """Rewards over the exact sigma(p). With two answers b* = 1 - p, which the engine puts in the batch."""
    return compose(
        advantage=lambda rewards, baseline: (
            (rewards - (1 - baseline)[:, None]) / (baseline * (1 - baseline))[:, None] ** (power / 2)
        ),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        min_group=1,
    )


@because.step(
    "The exact denominators",
    route="enumeration",
    shows="all single rollouts of two bandits, p = 1/2 and 1/10, divided by sigma",
)
def turn(power=1):
    update = []
    for bandit in TWO:
        sigma = sp.sqrt(bandit.value * (1 - bandit.value)) ** power
        weigh = lambda r, b=bandit, s=sigma: ((r[0] - b.value) / s,)  # noqa: E731
        update += [x / 2 for x in sy.group_moments(bandit, 1, weigh).mean]
    because.goal("turned without dependence").holds({exact_defect: defect_of(update, DIRECTION)})


@because.step(
    "The engine divides by sigma", route="exact engine", shows="the same two prompts, p = 1/2 and 1/10"
)
def engine_turns(power=1):
    update = np.asarray(sy.engine(oracle(power), TWO, 1).mean).reshape(-1)
    value = defect_of([float(x) for x in update], [float(x) for x in DIRECTION])
    because.goal("turned without dependence").holds({exact_defect: value}, tolerance=1e-11)


@because.counterexample(
    "p = 1/2 and 1/10, G = 2: the mean of the shipped GRPO over all groups is along grad J.",
    p="(1/2, 1/10)",
    G="2",
)
def along(size=2):
    weights = sy.weights_of(catalogue.get("grpo"))
    update = [x for bandit in TWO for x in sy.group_moments(bandit, size, weights).mean]
    because.goal("turned").fails({group_defect: defect_of(update, DIRECTION)}, at={G: size})


because.sabotage("G = 4, where the weight does depend on p", no_turn, extra=2)
because.sabotage("the rewards over their mean", traced_weights, name="maxrl")
because.sabotage("no division", turn, power=0)
because.sabotage("no division in the engine", engine_turns, power=0)
because.sabotage("G = 4 over two prompts", along, size=4)


N = sp.Symbol("N", positive=True, integer=True)
update, weight, gradient, limit, batch_defect = sp.symbols("m w g w_inf D_2", real=True)
root, rest, bounded = sp.symbols("t u B", real=True)
count, per_prompt = sp.Symbol("j", nonnegative=True), sp.Symbol("n", positive=True, integer=True)
tail, low, below = sp.symbols("f c e", real=True)

full = sy.Claim(
    id="B18c",
    title="Normalising over the batch is unbiased as the batch grows",
    statement=sy.Statement(
        setting=(
            "Binary rewards standardised over a batch of independent prompts with n rollouts each, mean "
            "success rate p, population standard deviation, sequence scores"
        ),
        forall={N: sy.whole(2), per_prompt: sy.whole(1), p: sy.between(0, 1)},
        quantities={
            update: sy.Quantity(
                r"\mathrm{E}[\hat g]", "the expected update of a batch of N prompts with one rollout each"
            ),
            weight: sy.Quantity(
                "w_N", r"the factor of $\nabla p$ in the expected update of one group of N at the rate p"
            ),
            gradient: sy.Quantity(r"\nabla J", "the gradient of the expected reward"),
            limit: sy.Quantity(
                r"w_\infty",
                (
                    r"the limit, as prompts are added, of the factor $\mathrm{E}[A | r=1] - \mathrm{E}[A "
                    r"| r=0]$ of $\nabla p_x$"
                ),
            ),
            batch_defect: sy.Quantity(
                "D_2",
                r"$\|m\|^2 \|\nabla J\|^2 - (m \cdot \nabla J)^2$ of the expected update m of two prompts "
                r"drawn from the rates 1/2 and 1/10 with two rollouts each, zero where m is along the gradient",
            ),
            root: sy.Quantity("t", "a number that is not negative"),
            rest: sy.Quantity("u", r"the bound $\frac{3}{2} t^2 - \frac{1}{2} t^4$ below it"),
            tail: sy.Quantity("f", r"$\frac{1}{(j+1)^2}$ for a count j"),
            low: sy.Quantity("c", r"$\frac{1}{(j+1)(j+2)} + \frac{3}{(j+1)(j+2)(j+3)}$"),
            bounded: sy.Quantity(
                "B", r"the bound $\frac{n}{p} (1 - (1-p)^Q)$ of $\mathrm{E}[A^2 | r = 1]$ with Q prompts"
            ),
            below: sy.Quantity("e", "the limit of the advantages' means, taken inside the expectation"),
        },
        ranges={"small batch is off": ()},
        goals={
            "one rollout per prompt": sp.Eq(update, weight * gradient),
            "large batch": sp.Eq(limit, 1 / sp.sqrt(p * (1 - p))),
            "small batch is off": sp.Gt(batch_defect, 0),
        },
        lemmas={
            "root": sy.Lemma(sp.Le(rest, root)),
            "inverse square": sy.Lemma(sp.Le(tail, low)),
            "bounded second moment": sy.Lemma(sp.Le(bounded, per_prompt / p)),
            "limits of means": sy.Lemma(
                sp.Eq(limit, below),
                cited=(
                    "the law of large numbers, and convergence of means under bounded second moments (Billingsley, "
                    "Convergence of Probability Measures, Theorem 3.5)"
                ),
            ),
        },
    ),
    source=sy.Source(
        "2501.03262",
        "v9",
        "abstract",
        relation="reading",
        says=(
            "normalised over the whole batch the estimate is effectively unbiased: its bias vanishes as "
            "the batch grows"
        ),
        caveat="what the estimate is of, and up to which factor, is read here as the gradient over the batch's sigma",
    ),
    verdict="proved",
    scope="every number of rollouts per prompt in the limit; with one rollout per prompt every batch size",
    proof=(
        r"With one rollout per prompt the other rewards of the batch are independent draws at the mean rate, "
        r"so that each prompt's $\nabla p_x$ gets the same factor, term by term that of one group of N: the "
        r"update is along $\nabla J$ at every batch size. For many prompts the correct share tends to p and "
        r"the advantages to $(r - p)/\sigma$; $\mathrm{E}[A^2 | r = 1] \le n/p$, so their means tend to those "
        r"of the limit (cited), which gives $1/\sigma$. For one rollout per prompt the limit is squeezed as "
        r"well: Jensen's inequality from above, and $t \ge \frac{3}{2} t^2 - \frac{1}{2} t^4$ with exact "
        r"inverse moments of the binomial law from below. Two rollouts of one prompt share its difficulty: in "
        r"a batch of two such prompts the exact update is off the direction of $\nabla J$."
    ),
    finding=(
        r"With one rollout per prompt there is nothing to wait for: $\mathrm{E}[\hat g] = w_N(\bar p) \nabla "
        r"J$ at every batch size N, $w_N$ the weight of a group of N. Several rollouts of one prompt share "
        r"its difficulty, and only then is the direction off at a finite batch."
    ),
)


@full.step(
    "One rollout per prompt, any batch",
    route="sympy",
    shows=(
        r"term by term, k others correct: $\binom{N-1}{k} p^k (1-p)^{N-1-k}$ against $\binom{N}{k+1} \frac{k+1}{N} p^k "
        r"(1-p)^{N-1-k}$, and the same for wrong rollouts"
    ),
)
def one_each(shift=0):
    right, wrong, g = sp.symbols("a b g", real=True)
    others = sp.binomial(N - 1, k) * p**k * (1 - p) ** (N - 1 - k)
    in_group = [
        sp.binomial(N, k + 1 + shift) * (k + 1) / N * p**k * (1 - p) ** (N - 1 - k) * right,
        -sp.binomial(N, k) * (N - k) / N * p**k * (1 - p) ** (N - 1 - k) * wrong,
    ]
    # The factor of grad p_x is E[A | 1] - E[A | 0]: a of a correct and b of a wrong rollout beside k correct others.
    values = {update: [others * right * g, -others * wrong * g], weight: in_group, gradient: [g, g]}
    full.goal("one rollout per prompt").holds(values)


@full.step(
    "Two prompts, one rollout each",
    route="enumeration",
    shows=(
        r"all batches of 2 and 3 from the rates 1/2 and 1/10: the shipped REINFORCE++ has the mean "
        r"$w_N(3/10) \nabla J$"
    ),
)
def two_prompts(size=1, sizes=(2, 3)):
    for prompts in sizes:
        computed = batch_moments(TWO, prompts, size, catalogue.get("reinforce_pp", eps=0.0)).mean
        factor = sy.prompt_weight(standardised(prompts), prompts, sp.Rational(3, 10))
        values = {update: computed, weight: factor, gradient: DIRECTION}
        full.goal("one rollout per prompt").holds(values, at={N: prompts, p: sp.Rational(3, 10)})


@full.step(
    "The engine, as catalogued",
    route="exact engine",
    shows="batches of three prompts, up to the epsilon of 1e-8",
)
def engine_one_each(group=3):
    computed = np.asarray(sy.engine(catalogue.get("reinforce_pp"), TWO, 1, prompts=3).mean).reshape(-1)
    factor = sy.prompt_weight(standardised(group), group, sp.Rational(3, 10))
    values = {update: computed, weight: factor, gradient: DIRECTION}
    full.goal("one rollout per prompt").holds(values, at={N: 3, p: sp.Rational(3, 10)}, tolerance=1e-7)


def squeeze(rate, decay):
    """Bounds of E[A | r = 1] in a batch of N single rollouts; ``decay`` is (1 - rate)^N."""
    aim = (1 - rate) / rate
    mean_of_square = aim * (1 - decay / (1 - rate))  # E[Y], Y = A^2 = N/(K+1) - 1, see B18a
    # E[Y^2] = N^2 E[(K+1)^-2] - 2 N E[(K+1)^-1] + 1 with the inverse moments of K ~ Bin(N-1, rate).
    inverse_square = 1 / (N * (N + 1) * rate**2) + 3 / (N * (N + 1) * (N + 2) * rate**3)
    fourth = N**2 * inverse_square - 2 * (1 - decay) / rate + 1
    return (
        sp.sqrt(aim) * (3 * mean_of_square / (2 * aim) - fourth / (2 * aim**2)),
        sp.sqrt(mean_of_square),
    )


@full.step(
    "The limit by a squeeze, one rollout per prompt",
    route="sympy",
    shows=(
        "lower and upper bounds of the factor as closed forms in N, their limits; the bounds hold in "
        "numbers at N = 3, 8"
    ),
)
def squeezed(power=1):
    x, z = sp.Symbol("x", nonnegative=True), sp.Symbol("lambda", positive=True)
    full.goal("root").holds({root: x, rest: sp.Rational(3, 2) * x**2 - x**4 / 2})
    pairs = 1 / ((count + 1) * (count + 2))
    full.goal("inverse square").holds({tail: 1 / (count + 1) ** 2, low: pairs + 3 * pairs / (count + 3)})
    lemmas = {
        "root": {root: x, rest: sp.Rational(3, 2) * x**2 - x**4 / 2},
        "inverse square": {tail: 1 / (count + 1) ** 2, low: pairs + 3 * pairs / (count + 3)},
    }
    for size, q in ((3, sp.Rational(1, 3)), (8, sp.Rational(3, 4))):
        bounds = [e.subs(N, size) for e in squeeze(q, (1 - q) ** size)]
        exact = given_correct(standardised(size), size, q)
        sy.require(bounds[0] < exact, f"the lower bound at N = {size}")
        sy.require(exact < bounds[1], f"the upper bound at N = {size}")
    # (1 - p)^N and p^N are written e^(-lambda N): both tend to zero.
    sides = zip(squeeze(p, sp.exp(-z * N)), squeeze(1 - p, sp.exp(-z * N)), strict=True)
    for right, wrong in sides:  # a wrong rollout has minus the advantage of a correct one at 1 - p
        values = {limit: sp.limit(right, N, sp.oo) ** power + sp.limit(wrong, N, sp.oo)}
        full.goal("large batch").holds(values, at={per_prompt: 1}, using=lemmas)


@full.step(
    "The limit for any number of rollouts per prompt",
    route="smt",
    shows=(
        r"$\mathrm{E}[A^2 | r=1] \le \frac{n}{p}$, from the first rollouts of the other prompts alone; the "
        r"limits of the advantages at a correct share p"
    ),
)
def any_number(rate=0):
    decay = sp.Symbol("x", positive=True)  # (1 - p)^Q
    bound = {bounded: per_prompt * (1 - decay) / p}
    full.goal("bounded second moment").holds(bound, where=[decay < 1])
    size = sp.Symbol("M", positive=True)
    share = p + rate
    right = sp.limit(sp.sqrt((size - 1 - share * size) / (share * size + 1)), size, sp.oo)
    wrong = sp.limit(-sp.sqrt(share * size / (size - share * size)), size, sp.oo)
    values = {limit: right - wrong}
    means = {limit: right - wrong, below: right - wrong}
    full.goal("large batch").holds(
        values, where=[decay < 1], using={"bounded second moment": bound, "limits of means": means}
    )


def off(size):
    """The exact mean of two prompts with ``size`` rollouts each, from the shipped weights, and its defect."""
    computed = batch_moments(TWO, 2, size, catalogue.get("reinforce_pp")).mean
    return computed, defect_of(computed, DIRECTION)


@full.step(
    "Two prompts, two rollouts each",
    route="enumeration",
    shows="all batches of the shipped REINFORCE++, rates 1/2 and 1/10: the mean is off the direction of grad J",
)
def finite(size=2):
    full.goal("small batch is off").holds({batch_defect: off(size)[1]})


@full.step("The engine, two rollouts each", route="exact engine", shows="the same batches, in floats")
def finite_engine(size=2):
    computed = np.asarray(sy.engine(catalogue.get("reinforce_pp"), TWO, size, prompts=2).mean).reshape(-1)
    value = defect_of([float(x) for x in computed], [float(x) for x in DIRECTION])
    full.goal("small batch is off").holds({batch_defect: value}, tolerance=1e-9)


full.sabotage("the binomial of another count", one_each, shift=1)
full.sabotage("two rollouts per prompt", two_prompts, size=2, sizes=(2,))
full.sabotage("the weight of a batch of four", engine_one_each, group=4)
full.sabotage("the square of a limit", squeezed, power=2)
full.sabotage("another share of correct rollouts", any_number, rate=sp.Rational(1, 10) * (1 - p))
full.sabotage("one rollout per prompt", finite, size=1)
full.sabotage("one rollout per prompt in the engine", finite_engine, size=1)
