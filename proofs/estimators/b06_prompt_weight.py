"""B6: the weight that GRPO gives a prompt, at every group size; and when it is the same for all prompts."""

import itertools

import numpy as np
import sympy as sp
from _binary import OUR_ON_POLICY, bernstein, coefficients, p, shipped

from gradvar import catalogue
from gradvar import symbolic as sy

G, k = sp.symbols("G k", integer=True, positive=True)
eps = sp.Symbol("epsilon", nonnegative=True)
ddof = sp.Symbol("d", integer=True, nonnegative=True)
part, chance, groups, inner = sp.symbols("t P N n", positive=True)
variance, deviation = sp.symbols("V sigma", positive=True)

form = sy.Claim(
    id="B6a",
    title="GRPO's weight on a prompt, in closed form, at every group size",
    statement=sy.Statement(
        setting=(
            r"One prompt of success rate p, binary rewards, the sum over tokens, the standard "
            r"deviation with the divisor $G - d$; "
            r"$\mathrm{E}[\hat g] = w_G(p) \nabla p$, $w_G = \sum_k t_k$, and k of the G rollouts are correct"
        ),
        forall={
            G: sy.whole(2),
            k: sy.whole(1),
            p: sy.between(0, 1),
            eps: sy.above(0, closed=True),
            ddof: sy.one_of(0, 1),
        },
        given={
            "on policy": OUR_ON_POLICY,
            "mixed": sy.Hypothesis("the group is mixed, $k < G$ (others add nothing)", k <= G - 1, "ours"),
        },
        quantities={
            part: sy.Quantity("t_k", "what the groups with k correct rollouts add to $w_G(p)$"),
            chance: sy.Quantity("P_k", "the chance of k correct rollouts"),
            variance: sy.Quantity("V_k", "the mean squared deviation of the group's rewards from their mean"),
            deviation: sy.Quantity(
                r"\sigma_k",
                "the root of the sum of squared deviations over $G - d$, the divisor without epsilon",
            ),
            groups: sy.Quantity("N_k", "the number of outcomes of a group with k correct rollouts"),
            inner: sy.Quantity("n_k", "the number of outcomes of G - 2 rollouts with k - 1 correct ones"),
        },
        goals={
            "term": sp.Eq(part * p * (1 - p), chance * variance / (deviation + eps)),
            "Bernstein form": sp.Eq(groups * variance, inner * (G - 1) / G),
        },
    ),
    source=sy.Source(
        "2402.03300",
        "v3",
        "equation (3)",
        relation="ours",
        says="advantages are rewards less their mean, over their standard deviation",
        caveat="it gives no weight on prompts; this is our question about its advantages",
    ),
    verdict="proved",
    scope="scores summed over tokens; a division by length breaks it (B10a)",
    proof=(
        r"The mean score of correct rollouts is $\nabla p / p$, that of wrong ones $-\nabla p/(1-p)$. "
        r"Given k the advantages are "
        r"$(1 - k/G)$ and $-k/G$ over the divisor, so the group adds its variance $\hat\sigma^2 = "
        r"k(G-k)/G^2$ over the divisor, times $\frac{1}{p(1-p)}$. "
        r"Thus $w_G(p) = \mathrm{E}[\hat\sigma]/(p(1-p))$ for the population standard deviation without epsilon. Since "
        r"$\binom{G}{k} \hat\sigma^2 = \binom{G-2}{k-1} \frac{G-1}{G}$, the factor $p(1-p)$ cancels: "
        r"$w_G$ is a polynomial, the mean of "
        r"$\frac{G-1}{\sqrt{k(G-k)}}$ over $k - 1$ of $G - 2$. The shipped advantages, as they ship, "
        r"give the same terms for two to five rollouts."
    ),
    finding=(
        r"The weight is a polynomial, so it is finite everywhere (B7a bounds it, B7b has its limit of "
        r"large groups). It is largest on "
        r"hopeless and on solved prompts, $\sqrt{G-1}$. With the sample standard deviation everything "
        r"is multiplied by $\sqrt{(G-1)/G}$."
    ),
)


@form.step(
    "Term by term, any G",
    route="sympy",
    shows=r"$k A_1/p - (G-k) A_0/(1-p)$ from the definition of the advantages, and the two binomial coefficients",
)
def any_group(mean_shift=0):
    share = (k + mean_shift) / G
    squares = sp.factor(k * (1 - k / G) ** 2 + (G - k) * (k / G) ** 2)  # about the group's mean k/G
    for d in (0, 1):
        spread = sp.sqrt(squares / (G - d))
        right, wrong = (1 - share) / (spread + eps), -share / (spread + eps)
        value = chance * (k * right / p - (G - k) * wrong / (1 - p)) / G
        values = {part: value, chance: chance, variance: squares / G, deviation: spread}
        form.goal("term").holds(values, at={ddof: d})
    values = {
        groups: sp.binomial(G, k),
        inner: sp.binomial(G - 2, k - 1 + mean_shift),
        variance: squares / G,
    }
    form.goal("Bernstein form").holds(values)


def squared_deviations(rewards):
    """The sum of squared deviations from the mean."""
    mean = sp.Rational(sum(rewards), len(rewards))
    return sp.Add(*[(r - mean) ** 2 for r in rewards])


@form.step(
    "The shipped estimators as they ship, G = 2 to 5",
    route="traced code",
    shows=r"all groups of every outcome, traced weights with their $\epsilon = 10^{-6}$, population and sample",
)
def traced(names=("grpo", "grpo_sample_std")):
    for d, name in enumerate(names):
        weights = sy.weights_of(catalogue.get(name))
        for size in range(2, 6):
            parts, chances = [sp.Integer(0)] * (size + 1), [sp.Integer(0)] * (size + 1)
            for rewards in itertools.product((0, 1), repeat=size):
                count = sum(rewards)
                row = weights(tuple(map(sp.Integer, rewards)))
                scores = [1 / p if r else -1 / (1 - p) for r in rewards]  # mean scores over grad p
                share = p**count * (1 - p) ** (size - count)
                parts[count] += share * sp.Add(*[w * s for w, s in zip(row, scores, strict=True)])
                chances[count] += share
            sy.equal([parts[0], parts[size]], [0, 0], "groups of equal rewards")
            for count in range(1, size):
                place = {G: size, k: count, eps: sp.Rational(1, 10**6), ddof: d}
                squares = squared_deviations([1] * count + [0] * (size - count))
                values = {part: parts[count], chance: chances[count]}
                values |= {variance: squares / size, deviation: sp.sqrt(squares / (size - d))}
                form.goal("term").holds(values, at=place)


@form.step(
    "Outcomes counted, G = 2 to 8", route="enumeration", shows="lists of G and of G - 2 outcomes, every k"
)
def counted(shift=0):
    for size in range(2, 9):
        large = [sum(x) for x in itertools.product((0, 1), repeat=size)]
        small = [sum(x) for x in itertools.product((0, 1), repeat=size - 2)]
        for count in range(1, size):
            squares = squared_deviations([1] * count + [0] * (size - count))
            values = {groups: large.count(count), inner: small.count(count - 1 + shift)}
            values[variance] = squares / size
            form.goal("Bernstein form").holds(values, at={G: size, k: count})
    rows = [("G", r"$w_G(0) = w_G(1)$", r"$w_G(1/2)$", "the Bernstein coefficients")]
    for size in range(2, 17):
        terms = [sp.Rational(size - 1) / sp.sqrt(j * (size - j)) for j in range(1, size)]
        half = bernstein(terms, sp.S.Half)
        shown = ", ".join(f"${sp.latex(v)}$" for v in terms[: size // 2])
        rows.append((str(size), f"${sp.latex(terms[0])}$", str(sp.N(half, 7)), shown))
    return sy.Exhibit(table=tuple(rows), text="The coefficients are symmetric; the first half is shown.")


form.sabotage("a mean that counts one correct rollout too many", any_group, mean_shift=1)
form.sabotage("population and sample swapped", traced, names=("grpo_sample_std", "grpo"))
form.sabotage("the mean-centred estimator", traced, names=("dr_grpo", "grpo_sample_std"))
form.sabotage("k in place of k - 1", counted, shift=1)


n = sp.Symbol("n", integer=True, positive=True)
m = sp.Symbol("m", integer=True, positive=True)
weight, first, second, middle, hard = sp.symbols("w c_0 c_1 w_a w_b", real=True)

direction = sy.Claim(
    id="B6b",
    title="Only with two or three rollouts does GRPO keep the direction of grad J across prompts",
    statement=sy.Statement(
        setting=(
            "Binary rewards, the sum over tokens, the standard deviation with the divisor $G - d$ "
            "and any epsilon, G = n or m"
        ),
        forall={n: sy.one_of(2, 3), m: sy.whole(4), eps: sy.above(0, closed=True), ddof: sy.one_of(0, 1)},
        given={"on policy": OUR_ON_POLICY},
        quantities={
            weight: sy.Quantity("w_n(p)", "the weight with n rollouts as a polynomial of p"),
            first: sy.Quantity("c_0", "the first Bernstein coefficient of $w_m$, of degree m - 1"),
            second: sy.Quantity(
                "c_1", "the second; $w_m$ is constant in p only if all coefficients are equal"
            ),
            middle: sy.Quantity("w_4(1/2)", "the weight with four rollouts of a prompt with p = 1/2"),
            hard: sy.Quantity("w_4(1/10)", "that of a prompt with p = 1/10"),
        },
        ranges={"two prompts": ()},
        goals={
            "constant": sp.Eq(sp.Derivative(weight, p), 0),
            "not constant": sp.Ne(first, second),
            "two prompts": sp.Ne(middle, hard),
        },
    ),
    source=sy.Source(
        "2402.03300",
        "v3",
        "equation (3)",
        relation="ours",
        says="advantages are rewards less their mean, over their standard deviation",
        caveat="it does not claim that the expected update over prompts has the direction of the gradient",
    ),
    verdict="proved",
    scope="every G from 2 on, every epsilon, population and sample standard deviation; scores summed over tokens",
    proof=(
        r"The weight is $\sum_j \binom{G-1}{j} p^j (1-p)^{G-1-j} c_j$ with $c_j = a_{j+1} - b_j$, the "
        r"advantages of a correct rollout among $j + 1$ and of a wrong one "
        r"among j. Bernstein polynomials are linearly independent and sum to one, so it is constant "
        r"only if all $c_j$ agree. With $\sigma_k$ the divisor "
        r"without epsilon, $c_0 = c_1$ needs $\sigma_1 = \sigma_2$, that is $G - 1 = 2(G-2)$, which "
        r"no $G \ge 4$ fulfils. For two and three "
        "rollouts every mixed group has the same divisor, and the weight of the shipped code, as a "
        "polynomial, has no p in it. "
        "So from four rollouts on the expected update over prompts leaves the direction of the gradient."
    ),
    finding=(
        "For $G \\le 3$ every mixed group has one and the same spread, so dividing by it is dividing by a "
        "constant: the standard deviation, its epsilon and the choice of divisor then do nothing but scale the "
        "learning rate ($w_2 = 1$, $w_3 = \\sqrt{2}$ with the population's). From $G = 4$ on hard "
        "and easy prompts are lifted against middling ones."
    ),
)


def advantages(size, d):
    """k -> (a_k, b_k) with a symbolic epsilon."""

    def conditional(count):
        if count == 0 or count == size:
            return sp.Integer(0), sp.Integer(0)
        share = sp.sympify(count) / size
        divisor = sp.sqrt(count * (size - count)) / size * sp.sqrt(size / (size - d)) + eps
        return (1 - share) / divisor, -share / divisor

    return conditional


@direction.step(
    "From the definition",
    route="smt",
    shows=r"$c_0 \ne c_1$ for every $G \ge 4$ and epsilon; for G = 2, 3 the weight as a polynomial",
)
def all_groups(last=2):
    for d in (0, 1):
        plain = advantages(m, d)
        coefficient = [plain(1)[0], plain(last)[0] - plain(last - 1)[1]]
        direction.goal("not constant").holds({first: coefficient[0], second: coefficient[1]}, at={ddof: d})
        for size in (2, 3):
            polynomial = bernstein(coefficients(advantages(sp.Integer(size), d), size))
            direction.goal("constant").holds({weight: polynomial}, at={n: size, ddof: d})


@direction.step(
    "The shipped code as it ships",
    route="traced code",
    shows=r"$\epsilon = 10^{-6}$ and 1, population and sample: no p in $w_2, w_3$; $c_0 \ne c_1$ at G = 4, 5, 6",
)
def as_shipped(constant=(2, 3), larger=(4, 5, 6)):
    for d, name in enumerate(("grpo", "grpo_sample_std")):
        for smoothing, settings in ((sp.Rational(1, 10**6), {}), (sp.Integer(1), {"eps": 1.0})):
            place = {eps: smoothing, ddof: d}
            for size in constant:
                polynomial = bernstein(coefficients(shipped(name, size, **settings), size))
                direction.goal("constant").holds({weight: polynomial}, at={n: min(size, 3), **place})
            for size in larger:
                values = coefficients(shipped(name, size, **settings), size)
                direction.goal("not constant").holds(
                    {first: values[0], second: values[1]}, at={m: max(size, 4), **place}
                )


def two_weights(size, name="grpo"):
    """The exact weights of prompts with p = 1/2 and 1/10, from all groups of a policy with two answers each."""
    weights = sy.weights_of(catalogue.get(name, **({"eps": 0.0} if name == "grpo" else {})))
    found = []
    for x in ("1/2", "1/10"):
        bandit = sy.SymbolicBandit([x, 1 - sp.Rational(x)], [1, 0])
        found.append(sp.simplify(sy.group_moments(bandit, size, weights).mean[0] / bandit.gradient[0]))
    return dict(zip((middle, hard), found, strict=True))


@direction.step("Two prompts", route="enumeration", shows="p = 1/2 and 1/10, all groups of four")
def two_prompts(size=4):
    values = two_weights(size)
    direction.goal("two prompts").holds(values)
    return sy.Exhibit(text=f"weights at G = 4: {values[middle]} and {values[hard]}")


@direction.step(
    "The engine on two prompts", route="exact engine", shows="the same weights, one batch of both, G = 4"
)
def engine_weights(name="grpo"):
    bandits = [sy.SymbolicBandit([x, 1 - sp.Rational(x)], [1, 0]) for x in ("1/2", "1/10")]
    seen = np.asarray(sy.engine(catalogue.get(name), bandits, 4).mean).reshape(2, 2)[:, 0]
    values = [2 * float(x) / float(b.gradient[0]) for x, b in zip(seen, bandits, strict=True)]
    direction.goal("two prompts").holds(dict(zip((middle, hard), values, strict=True)), tolerance=1e-6)


direction.sabotage("the last coefficient, which equals the first", all_groups, last=m)
direction.sabotage("G = 4 called constant in the code", as_shipped, constant=(2, 3, 4))
direction.sabotage("G = 3 among those that bend the direction", as_shipped, larger=(3,))
direction.sabotage("three rollouts", two_prompts, size=3)
direction.sabotage("no standard deviation", engine_weights, name="dr_grpo")
