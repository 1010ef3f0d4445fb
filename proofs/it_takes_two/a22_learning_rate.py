"""A22: the linear learning-rate rule for eight times more prompts, under SGD and under Adam."""

import itertools

import sympy as sp
from _binary import shipped

from gradvar import symbolic as sy


def powers(name, table):
    """The moments of one draw, by the power of its symbol."""
    return lambda exponents: table[exponents.get(name, 0)]


RATE = 8  # 256 prompts for 32, lr 8e-6 for 1e-6; 512 rollouts per update in both
p = sp.Symbol("p", positive=True)
paths = sp.symbols("D2 D16", real=True)
noises = sp.symbols("N2 N16", real=True)
weights = sp.symbols("w2 w16", real=True)
within = sp.Symbol("W16", real=True)
SAYS = (
    "256 prompts of two rollouts are trained at a rate of 8e-6, 32 prompts of sixteen at 1e-6, because there are fewer "
    "updates"
)

sgd = sy.Claim(
    id="A22a",
    title="Under SGD a rate eight times larger keeps the mean path of one pass over the data",
    statement=sy.Statement(
        setting="One pass over N prompts, to first order in the learning rate: N/256 updates of 256 prompts with two "
        "rollouts at the rate 8r, against N/32 updates of 32 prompts with sixteen at r",
        given={
            "equal weights": sy.Hypothesis(
                r"the prompt weights of two and of sixteen rollouts are equal, $w_2 = w_{16}$",
                sp.Eq(weights[0], weights[1]),
                stated_by="ours",
            )
        },
        quantities={
            paths[0]: sy.Quantity("D_2", "the mean displacement over the pass with two rollouts"),
            paths[1]: sy.Quantity("D_{16}", "the mean displacement with sixteen"),
            weights[0]: sy.Quantity(
                "w_2", r"the factor of $\nabla p$ in the mean update of a prompt, two rollouts"
            ),
            weights[1]: sy.Quantity("w_{16}", "that with sixteen"),
            noises[0]: sy.Quantity("N_2", "the variance of the displacement over the pass with two rollouts"),
            noises[1]: sy.Quantity("N_{16}", "the variance of the displacement with sixteen"),
            within: sy.Quantity(
                "W_{16}", "the part of $N_{16}$ within prompts, a rollout's variance being the same in both"
            ),
        },
        goals={
            "the same path": sp.Eq(paths[0], paths[1]),
            "eight times the noise within": sp.Eq(noises[0], noises[1] + (RATE - 1) * within),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Appendix D.1; the setting is v2's too",
        relation="reading",
        says=SAYS,
        caveat="it does not say which measure of size the rule keeps",
    ),
    verdict="conditional",
    scope="any number of prompts; first order in the learning rate; binary rewards where weights are computed",
    proof=(
        r"Each update moves the parameters by the rate times $w_G \nabla p$ in the mean; a pass has eight times fewer updates "
        r"at eight times the rate, so the displacements are as $w_2$ to $w_{16}$, and equal when the weights are, as for "
        r"leave-one-out. With GRPO's standard deviation $w_2 = 1$ and $w_{16}(1/2) = 1.93$, so the hypothesis is needed. A "
        r"batch of Q groups has the variance $(\sigma_b^2 + v/G)/Q$; over a pass the part between prompts stays and the part "
        "within a prompt grows eightfold."
    ),
    finding=(
        r"One update is eight times longer; a pass has eight times fewer of them. With the standard "
        r"deviation two rollouts move $1/w_{16}(p)$ as far, about a half at $p = 1/2$; mean-centred, $(1/2)/(15/16) = 8/15$. "
        r"The noise within a prompt grows since an epoch has eight times fewer rollouts."
    ),
)


def displacement(rates, factors):
    """Mean displacement over a pass of N prompts: updates times rate times the mean update."""
    n, eta, g = sp.symbols("N eta g", positive=True)
    return [n / q * rate * eta * w * g for q, rate, w in zip((256, 32), rates, factors, strict=True)]


def variances(rates, sizes=(2, 16)):
    """The variance of the displacement over a pass, and its part within prompts, from the batch's two levels."""
    n, eta = sp.symbols("N eta", positive=True)
    between, v = sp.symbols("sigma_b2 v", nonnegative=True)
    X, Y = sp.symbols("X Y")
    computed = []
    for prompts, rate, size in zip((256, 32), rates, sizes, strict=True):
        table = {0: sp.Integer(1), 1: sp.Integer(0), 2: v}  # one rollout about its prompt's mean
        group = sy.over_rollouts((X / size) ** 2, {X: {"x": 1}}, sp.Integer(size), powers("x", table))
        table = {0: sp.Integer(1), 1: sp.Integer(0), 2: between + group}  # a group about the mean of all
        batch = sy.over_rollouts((Y / prompts) ** 2, {Y: {"y": 1}}, sp.Integer(prompts), powers("y", table))
        computed.append(sp.expand(n / prompts * (rate * eta) ** 2 * batch))
    return computed, computed[1].subs(between, 0)


@sgd.step(
    "The path and its noise",
    route="sympy",
    shows=r"$\frac{N}{Q}$ updates of mean $\eta w \nabla p$ and variance $\eta^2 (\sigma_b^2 + v/G)/Q$, weights in symbols",
)
def path(rate=RATE, size=16):
    w = sp.Symbol("w", positive=True)
    moved = displacement((rate, 1), (w, w))
    sgd.goal("the same path").holds(dict(zip((*paths, *weights), (*moved, w, w), strict=True)))
    (pairs, large), inner = variances((rate, 1), (2, size))
    sgd.goal("eight times the noise within").holds({noises[0]: pairs, noises[1]: large, within: inner})


@sgd.step(
    "The shipped leave-one-out",
    route="traced code",
    shows=r"the weights of rloo's advantages at G = 2 and 16, all counts of correct rollouts, are 1 at every p",
)
def leave_one_out(name="rloo"):
    factors = [sp.expand(sy.prompt_weight(shipped(name, size), size, p)) for size in (2, 16)]
    sy.equal(factors[0], factors[1], "the weights of two and of sixteen rollouts")
    moved = displacement((RATE, 1), factors)
    sgd.goal("the same path").holds(dict(zip((*paths, *weights), (*moved, *factors), strict=True)))


@sgd.step(
    "The noise in numbers",
    route="enumeration",
    shows="two prompts of means 1 and -1, rollouts one above or below: the variance of a batch listed, then over a pass",
)
def listed_noise(rate=RATE):
    def batch_variance(prompts, size):
        total = sp.Integer(0)
        draws = list(itertools.product((1, -1), itertools.product((1, -1), repeat=size)))
        for rows in itertools.product(draws, repeat=prompts):
            mean = sum(sp.Rational(sum(level + x for x in noise), size) for level, noise in rows) / prompts
            total += mean**2 / sp.Integer(len(draws)) ** prompts
        return total

    def within_variance(prompts, size):
        return sp.Rational(1, prompts * size)

    # Eight prompts of one rollout against one prompt of eight: eight times fewer updates, as in the rule.
    small, large = rate**2 * batch_variance(8, 1) / 8, batch_variance(1, 8)
    sgd.goal("eight times the noise within").holds(
        {noises[0]: small, noises[1]: large, within: within_variance(1, 8)}
    )


@sgd.counterexample(
    "GRPO without epsilon at p = 1/2: over a pass two rollouts move 0.517 times as far as sixteen; mean-centred "
    "advantages 8/15 as far.",
    p="1/2",
)
def standardised(names=("grpo", "dr_grpo")):
    for name in names:
        settings = {"eps": 0.0} if name == "grpo" else {}
        factors = [
            sy.prompt_weight(shipped(name, size, **settings), size, p).subs(p, sp.Rational(1, 2))
            for size in (2, 16)
        ]
        moved = [sp.Rational(1, 256) * RATE * factors[0], sp.Rational(1, 32) * factors[1]]
        values = dict(zip((*paths, *weights), (*moved, *factors), strict=True))
        sgd.goal("the same path").fails(values, without="equal weights")
    return sy.Exhibit(text=f"{names[-1]}: {sp.N(moved[0] / moved[1], 6)} times as far")


sgd.sabotage("the square-root rule", path, rate=sp.sqrt(8))
sgd.sabotage("eight rollouts in place of sixteen", path, size=8)
sgd.sabotage("the standard deviation's weights", leave_one_out, name="grpo")
sgd.sabotage("half the rate", listed_noise, rate=4)


signs, sixteen_signs = sp.symbols("s2 s16", real=True)
noise_pair, noise_sixteen = sp.symbols("Q2 Q16", positive=True)

adam = sy.Claim(
    id="A22b",
    title="Under Adam a rate eight times larger keeps the mean path of one pass over the data",
    statement=sy.Statement(
        setting="One coordinate; an update is the rate times the sign of the batch's gradient, as Adam's is without memory or "
        "for a constant gradient, epsilon aside; one pass over N prompts, N/256 updates at the rate 8r against N/32 at r",
        given={
            "consistent signs": sy.Hypothesis(
                "the batch's gradient has the same mean sign with 256 prompts of two rollouts as with 32 of sixteen",
                sp.Eq(signs, sixteen_signs),
                stated_by="ours",
            )
        },
        quantities={
            paths[0]: sy.Quantity("D_2", "the mean displacement over the pass with two rollouts"),
            paths[1]: sy.Quantity("D_{16}", "the mean displacement with sixteen"),
            signs: sy.Quantity("s_2", "the mean sign of a batch's gradient, two rollouts"),
            sixteen_signs: sy.Quantity("s_{16}", "that with sixteen"),
            noise_pair: sy.Quantity(
                "Q_2", "the mean square displacement of a gradient of random sign, two rollouts"
            ),
            noise_sixteen: sy.Quantity("Q_{16}", "the mean square displacement with sixteen"),
        },
        goals={
            "the same path": sp.Eq(paths[0], paths[1]),
            "pure noise": sp.Eq(noise_pair, RATE * noise_sixteen),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Appendix D.1; the setting is v2's too",
        relation="reading",
        says=SAYS,
        caveat="it does not say which measure of size the rule keeps",
    ),
    verdict="conditional",
    scope=(
        "the measure of A22a, the mean displacement over a pass; Optax's Adam with any decay rates at its first update, and "
        "for constant gradients at every update"
    ),
    proof=(
        r"Optax's first update is $g/(|g| + \epsilon)$, read from its code, and of a constant gradient every corrected update "
        r"is its sign: weights $w_G$, batch sizes and scales cancel. So a pass moves the coordinate by (N/256) 8 r $s_2$ against "
        r"(N/32) r $s_{16}$, the same if the mean signs are. Signs that depend on the batch's size break it, as the numbers "
        r"show. Steps of random sign add up in the square, $\frac{N}{256} 64 r^2$ against $\frac{N}{32} r^2$: eightfold."
    ),
    finding=(
        r"By one measure of size for both rows the linear rule is right under SGD with equal weights, and under Adam for "
        r"coordinates of consistent sign; pure noise then travels $\sqrt{8}$ times as far, and there the square-root rule "
        "keeps the size."
    ),
)


def adam_path(rates, means):
    n, eta = sp.symbols("N eta", positive=True)
    return [n / q * rate * eta * s for q, rate, s in zip((256, 32), rates, means, strict=True)]


@adam.step(
    "Optax's update",
    route="traced code",
    shows=r"the first step of scale_by_adam on g, -g and scaled gradients, epsilon 0 and 1/4, then summed over a pass",
)
def first_update(scale_power=0, rate=RATE):
    import optax

    g = sy.symbols("g", (2,), positive=True)
    zeros = g * 0
    point = {x: sp.Rational(i + 1, 3) for i, x in enumerate(g)}
    for eps in (0, sp.Rational(1, 4)):
        # Decay rates that floats hold exactly.
        transform = optax.scale_by_adam(b1=0.5, b2=0.75, eps=float(eps))

        def step(gradient, like, transform=transform):
            return transform.update(gradient, transform.init(like))[0]

        updates = {}
        for c in (1, RATE, sp.Rational(1, 5), -1):
            value = sy.trace(step, c * g, zeros, assume=sy.Witness(point))
            claimed = [sp.Integer(8) ** scale_power * c * x / (abs(c) * x + eps) for x in g]
            updates[c] = [sp.simplify(v) for v in value]
            sy.equal(updates[c], claimed, f"a gradient scaled by {c}, epsilon {eps}")
        if eps == 0:  # a share a of the batches has the sign +1
            a = sp.Symbol("a", positive=True)
            mean = a * updates[RATE][0] + (1 - a) * updates[-1][0]
            other = a * updates[1][0] + (1 - a) * updates[-1][0]
            values = dict(zip(paths, adam_path((rate, 1), (mean, other)), strict=True))
            adam.goal("the same path").holds(values | {signs: mean, sixteen_signs: other})


@adam.step(
    "Constant gradients, many updates",
    route="sympy",
    shows=(
        r"$m_t = (1 - \beta_1^t) g$, $v_t = (1 - \beta_2^t) g^2$, so each corrected step is the sign of g; summed over a pass"
    ),
)
def constant(correct=True):
    t = sp.Symbol("t", positive=True)
    g, b1, b2 = sp.symbols("g b1 b2", positive=True)
    m, v = (1 - b1**t) * g, (1 - b2**t) * g**2
    if correct:
        m, v = m / (1 - b1**t), v / (1 - b2**t)
    step = sp.simplify(m / sp.sqrt(v))
    sy.equal(step, 1, "the corrected step", where=[b1 < 1, b2 < 1])
    values = dict(zip(paths, adam_path((RATE, 1), (step, step)), strict=True))
    adam.goal("the same path").holds(values | {signs: step, sixteen_signs: step})


@adam.step(
    "Random signs",
    route="enumeration",
    shows="all signs of n and of 8 n updates listed, n = 1 and 2: the mean squares of the displacements",
)
def random_walk(rate=RATE):
    def mean_square(steps, size):
        total = sum((size * sum(s)) ** 2 for s in itertools.product((-1, 1), repeat=steps))
        return sp.Rational(total, 2**steps)

    for n in (1, 2):
        values = {noise_pair: mean_square(n, rate), noise_sixteen: mean_square(RATE * n, 1)}
        adam.goal("pure noise").holds(values)


@adam.step(
    "Random signs, any number", route="sympy", shows="independent signs of mean zero over index patterns"
)
def independent_signs(mean=0):
    n, eta = sp.symbols("n eta", positive=True)
    S = sp.Symbol("S")

    def square(steps, size):
        table = {0: sp.Integer(1), 1: sp.sympify(mean), 2: sp.Integer(1)}
        return sy.over_rollouts((size * S) ** 2, {S: {"s": 1}}, steps, lambda e: table[e.get("s", 0)])

    adam.goal("pure noise").holds({noise_pair: square(n, RATE * eta), noise_sixteen: square(RATE * n, eta)})


@adam.counterexample(
    "Each prompt's gradient is 2 with chance 2/5 and -1 with 3/5: the sign of one prompt has the mean -1/5, that of the "
    "sum over eight prompts a positive one. At the same number of prompts the two paths go opposite ways.",
    chances="(2/5, 3/5)",
)
def inconsistent(low=-1):
    chance = sp.Rational(2, 5)

    def mean_sign(prompts):
        terms = [
            sp.binomial(prompts, k)
            * chance**k
            * (1 - chance) ** (prompts - k)
            * sp.sign(2 * k + low * (prompts - k))
            for k in range(prompts + 1)
        ]
        return sp.Add(*terms)

    means = mean_sign(8), mean_sign(1)
    values = {paths[0]: RATE * means[0], paths[1]: RATE * means[1], signs: means[0], sixteen_signs: means[1]}
    without = "consistent signs" if means[0] != means[1] else ""
    adam.goal("the same path").fails(values, without=without)
    return sy.Exhibit(text=f"mean signs {means[0]} and {means[1]}")


adam.sabotage("an update that scales with the gradient", first_update, scale_power=1)
adam.sabotage("the same rate", first_update, rate=1)
adam.sabotage("without the bias correction", constant, correct=False)
adam.sabotage("the square-root rule", random_walk, rate=sp.sqrt(8))
adam.sabotage("signs with a mean", independent_signs, mean=sp.Rational(1, 2))
adam.sabotage("a gradient of one sign", inconsistent, low=1)
