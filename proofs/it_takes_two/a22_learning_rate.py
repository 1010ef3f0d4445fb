"""A22: the linear learning-rate rule for eight times more prompts, under SGD and under Adam."""

import sympy as sp

from gradvar import symbolic as sy

p = sp.Symbol("p", positive=True)
RATE = 8  # 256 prompts for 32, lr 8e-6 for 1e-6; 512 rollouts per update in both


def weight(size, ddof=0):
    def advantages(k):
        if k in (0, size):
            return 0, 0
        share = sp.Rational(k, size)
        scale = sp.sqrt(sp.Rational(size - ddof, size))
        return sp.sqrt((1 - share) / share) * scale, -sp.sqrt(share / (1 - share)) * scale

    return sy.prompt_weight(advantages, size, p)


sgd = sy.Claim(
    id="A22a",
    title="Under SGD the linear rule keeps the mean path of one pass over the data, up to the prompt weights",
    statement=(
        r"With eight times more prompts per update at the same number of rollouts, a learning rate eight "
        r"times larger keeps the size of the update."
    ),
    hypotheses=(
        "size means the mean displacement over one pass of the data, to first order in the learning rate",
        r"advantages without the standard deviation, or the ratio $w_{16}/w_2$ is taken into account",
    ),
    source=sy.Source("2510.00977", "v2", "experimental setting: 256 x 2 at 8e-6 against 32 x 16 at 1e-6"),
    verdict="conditional",
    scope="any number of prompts; first order in the learning rate; binary rewards for the weights",
    finding=(
        r"One update is eight times longer; a pass has eight times fewer of them. With the standard "
        r"deviation two rollouts move $1/w_{16}(p)$ as far, a half at $p = 1/2$ and about a quarter near $p "
        r"= 0$; mean-centred, $(1/2)/(15/16) = 8/15$. The noise of the path: the part between prompts is "
        r"kept, the part within a prompt is eight times larger, since an epoch has eight times fewer "
        r"rollouts."
    ),
)


@sgd.step(
    "The mean path",
    route="sympy",
    shows=(
        r"$N/256$ steps at $8 \eta$ against $N/32$ at $\eta$: the displacement $\sum \eta \mathrm{E}[\hat "
        r"g]$ has the ratio $w_2/w_{16}$"
    ),
)
def path(rate=RATE):
    n, eta, g = sp.symbols("N eta g", positive=True)
    w2, w16 = sp.symbols("w2 w16", positive=True)
    pair = n / 256 * rate * eta * w2 * g
    sixteen = n / 32 * eta * w16 * g
    sy.equal(pair / sixteen, w2 / w16, "the ratio of the displacements over one pass")


@sgd.step(
    "The noise of the path",
    route="smt",
    shows=(
        r"$\frac{N}{Q} \eta^2 [\sigma_b^2/Q + v/512]$: from 16 to 2 rollouts the first part keeps its size, "
        r"the second (same v) grows eightfold"
    ),
)
def noise(within=RATE):
    between, v, n, eta = sp.symbols("sigma_b v N eta", nonnegative=True)

    def variance(prompts, rate):
        return n / prompts * (rate * eta) ** 2 * (between / prompts + v / 512)

    difference = variance(256, RATE) - variance(32, 1)
    sy.require(
        sy.smt_valid([], sp.Eq(difference, (within - 1) * n / 32 * eta**2 * v / 512)),
        "only the part within a prompt grows",
    )


@sgd.step(
    "The weights",
    route="enumeration",
    shows=r"$w_{16}$ at $p = j/16$ by the binomial sum lies between $1.9$ and $\sqrt{15}$; $w_2 = 1$",
)
def weights(lowest=sp.Rational(19, 10)):
    w = weight(16)
    sy.equal(weight(2), 1, "two rollouts")
    sy.enumerate_rationals(
        lambda j: lowest < sp.N(w.subs(p, sp.Rational(j, 16)), 20) <= sp.N(sp.sqrt(15), 20),
        range(17),
        what="the range of w_16",
    )


@sgd.counterexample(
    "One update: at p = 1/2 eight times the rate moves 8/w_16(1/2) = 4.136 times as far, not once; at p = "
    "1/2 over a pass 0.517 times, not once.",
    p="1/2",
)
def one_update(rate=RATE):
    ratio = rate / weight(16).subs(p, sp.Rational(1, 2))
    sy.require(sp.N(abs(ratio - 1)) > 1, f"one update is {sp.N(ratio, 8)} times as long")
    per_pass = sp.N(ratio / 8, 8)
    sy.require(abs(per_pass - 1) > sp.Rational(1, 10), f"over a pass {per_pass} times")
    return sy.Exhibit(text=f"one update: {sp.N(ratio, 8)} times, a pass: {per_pass} times")


sgd.sabotage("the square-root rule", path, rate=sp.sqrt(8))
sgd.sabotage("no growth of the noise within a prompt", noise, within=1)
sgd.sabotage("a larger least weight", weights, lowest=sp.Integer(2))
sgd.sabotage("a rate twice as large, where an update is about as long", one_update, rate=2)


adam = sy.Claim(
    id="A22b",
    title="Under Adam the linear rule keeps the size of the update",
    statement=(
        r"Under Adam the linear rule keeps the size of the update when the number of prompts grows eightfold."
    ),
    source=sy.Source("2510.00977", "v2", "experimental setting: Adam, 8e-6 against 1e-6"),
    verdict="refuted",
    scope=(
        "Adam with epsilon small against the gradients; first update exactly, any update for constant "
        "gradients, random signs for pure noise"
    ),
    finding=(
        r"Adam divides by the gradient's own size, so weights $w_G$, batch sizes and noise levels cancel "
        r"and each update is about $\eta$ per coordinate: eight times longer. Over a pass, a consistent "
        r"gradient travels the same distance (fewer steps), pure noise $\sqrt{8}$ times as far. If "
        r"anything, Adam calls for the square-root rule."
    ),
)


@adam.step(
    "Optax's own update",
    route="traced code",
    shows=(
        r"the first step of scale_by_adam on a symbolic gradient is $g/(|g| + \epsilon)$: unchanged but for "
        r"$\epsilon$ when g is scaled"
    ),
)
def first_update(scale_power=0):
    import optax

    g = sy.symbols("g", (2,), positive=True)
    zeros = g * 0
    point = {x: sp.Rational(i + 1, 3) for i, x in enumerate(g)}
    for eps in (0, sp.Rational(1, 4)):
        # Decay rates that floats hold exactly.
        transform = optax.scale_by_adam(b1=0.5, b2=0.75, eps=float(eps))

        def update(gradient, like, transform=transform):
            return transform.update(gradient, transform.init(like))[0]

        for c in (1, 8, sp.Rational(1, 5)):
            value = sy.trace(update, c * g, zeros, assume=sy.Witness(point))
            claimed = [sp.Integer(8) ** scale_power * c * x / (c * x + eps) for x in g]
            sy.equal([sp.simplify(v) for v in value], claimed, f"a gradient scaled by {c}, epsilon {eps}")


@adam.step(
    "Two coordinates, many steps",
    route="sympy",
    shows=(
        r"constant g: $m_t = (1 - \beta_1^t) g$, $v_t = (1 - \beta_2^t) g^2$, so each corrected step is the "
        r"sign of g"
    ),
)
def constant(correct=True):
    t = sp.Symbol("t", positive=True)
    g, b1, b2 = sp.symbols("g b1 b2", positive=True)
    m, v = (1 - b1**t) * g, (1 - b2**t) * g**2
    if correct:
        m, v = m / (1 - b1**t), v / (1 - b2**t)
    sy.equal(m / sp.sqrt(v), 1, "the corrected step", where=[b1 < 1, b2 < 1])


@adam.step(
    "Pure noise",
    route="enumeration",
    shows=(
        r"steps of random sign: the mean square of n steps of size $\eta$ is $n \eta^2$, by listing all "
        r"signs up to $n = 10$"
    ),
)
def random_walk(power=2):
    import itertools

    for n in range(1, 11):
        mean = sp.Rational(sum(sum(s) ** 2 for s in itertools.product((-1, 1), repeat=n)), 2**n)
        sy.equal(mean, n, f"mean square of {n} steps")
    sy.equal(sp.Rational(RATE**power, 8), 8, "eightfold variance over a pass: 8^2 / 8")


@adam.counterexample(
    "Gradient (1, 1/3), Adam without epsilon: updates 1e-6 (1, 1) and 8e-6 (1, 1), whatever the batch; "
    "ratio 8.",
    g="(1, 1/3)",
    ratio=8,
)
def eight_times(rate=8):
    import jax
    import jax.numpy as jnp
    import optax

    sizes = []
    for eta, scale in ((1e-6, 1.0), (rate * 1e-6, 1 / 1.93412)):
        optimiser = optax.adam(eta, eps=0.0)
        with jax.enable_x64(True):
            gradient = jnp.asarray([1.0, 1 / 3]) * scale
            update, _ = optimiser.update(gradient, optimiser.init(gradient))
        sizes.append([abs(float(x)) for x in update])
    ratio = sizes[1][0] / sizes[0][0]
    sy.require(abs(ratio - 8) < 1e-6 and abs(sizes[1][1] / sizes[0][1] - 8) < 1e-6, f"the ratio is {ratio}")


adam.sabotage("an update that scales with the gradient", first_update, scale_power=1)
adam.sabotage("without the bias correction", constant, correct=False)
adam.sabotage("noise that adds up linearly", random_walk, power=1)
adam.sabotage("the same rate", eight_times, rate=1)
