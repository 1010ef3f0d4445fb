"""A11: does the mean update point the same way at every group size? One prompt, many prompts, more reward levels."""

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

p, q = sp.symbols("p q", positive=True)
G, H, k = sp.symbols("G H k", integer=True, positive=True)


def standardised(size):
    """Advantages of a correct and a wrong rollout with k of ``size`` correct: population std, no epsilon."""

    def advantages(correct):
        if correct in (0, size):
            return 0, 0
        share = sp.Rational(correct, size)
        return sp.sqrt((1 - share) / share), -sp.sqrt(share / (1 - share))

    return advantages


def shipped(name, size, **settings):
    """The same two advantages from the weights that the catalogued estimator gives."""
    weights = sy.weights_of(catalogue.get(name, **settings))

    def advantages(correct):
        traced = weights(tuple([sp.Integer(1)] * correct + [sp.Integer(0)] * (size - correct)))
        return (size * traced[0] if correct else 0), (size * traced[-1] if correct < size else 0)

    return advantages


def weight(size, advantages=standardised):
    return sy.prompt_weight(advantages(size), size, p)


update, factor, gradient, part, part_factor, average = sp.symbols("m w g m_k w_k a", real=True)
right, wrong = sp.symbols("A_1 A_0", real=True)

first_claim = sy.Claim(
    id="A11a",
    title="One prompt, binary rewards: every group size points along grad J",
    statement=sy.Statement(
        setting="One prompt, binary rewards, on policy, scores summed over tokens, k of G rollouts correct",
        forall={G: sy.whole(2), k: sy.whole(1), p: sy.between(0, 1)},
        given={
            "signs": sy.Hypothesis(
                "in a mixed group a correct rollout has an advantage above zero and a wrong one below, which depend "
                "on k only, and without a mixture both are zero",
                sp.And(right > 0, wrong < 0),
            )
        },
        quantities={
            right: sy.Quantity("A_1", "the advantage of a correct rollout"),
            wrong: sy.Quantity("A_0", "that of a wrong one"),
            part: sy.Quantity("m_k", "the mean update of mixed groups with k correct rollouts, a coordinate"),
            part_factor: sy.Quantity("w_k", r"the factor of $\nabla p$ in $m_k$"),
            update: sy.Quantity("m", "the mean update of all groups, a coordinate"),
            factor: sy.Quantity("w_G(p)", r"the factor of $\nabla p$ in m"),
            gradient: sy.Quantity(r"\nabla p", "the gradient of the success rate, the same coordinate"),
            average: sy.Quantity("a", "a mean of the factors over mixed groups"),
        },
        lemmas={
            "mean of positive numbers": sy.Lemma(average > 0, cited="a mean of positive numbers is positive")
        },
        goals={
            "a count": sp.Implies(k <= G - 1, sp.And(sp.Eq(part, part_factor * gradient), part_factor > 0)),
            "all groups": sp.And(sp.Eq(update, factor * gradient), factor > 0),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Proposition C.1",
        relation="implies",
        says="the advantages of one large group and of many pairs are multiples of the reward less the success rate",
        caveat="it says itself that the multiples differ from prompt to prompt",
    ),
    verdict="proved",
    scope="every G, any advantages that depend on the group's rewards only and have these signs",
    proof=(
        r"A correct answer's score has the mean $\nabla p/p$ and a wrong one's $-\nabla p/(1 - p)$, whatever the "
        r"other rollouts are. So given k correct rollouts the mean update is $w_k \nabla p$ with $w_k = \frac{1}{G} "
        "[k A_1/p - (G - k) A_0/(1 - p)]$, which is positive in a mixed group by the signs of the advantages. The "
        "mean over all groups is the chance of a mixed group, positive for $0 < p < 1$, times a mean of these "
        "factors. The shipped GRPO's mean over all groups of a bandit is such a multiple at G = 2, 3, 4."
    ),
    finding=(
        r"$w_2 = 1$ (population std): two rollouts give grad J itself, for every p. $w_3 = \sqrt{2}$ is constant "
        "too; from $G = 4$ on the factor depends on p."
    ),
)


def count_factor(high, low, sign=1):
    return (k * high / p - sign * (G - k) * low / (1 - p)) / G


@first_claim.step(
    "Given a count, any G",
    route="smt",
    shows=r"$\frac{1}{G} [k A_1 \frac{\nabla p}{p} + (G - k) A_0 \frac{-\nabla p}{1 - p}]$ and its sign",
)
def positive(sign=1):
    g = sp.Symbol("g_", real=True)
    mean = (k * right * g / p + (G - k) * wrong * (0 - sign * g) / (1 - p)) / G
    values = {
        part: mean,
        part_factor: count_factor(right, wrong, sign),
        gradient: g,
        right: right,
        wrong: wrong,
    }
    first_claim.goal("a count").holds(
        {s: v for s, v in values.items() if s not in (right, wrong)}, where=[p < 1]
    )


@first_claim.step(
    "All groups, any G",
    route="sympy",
    shows=r"no update with chance $p^G + (1-p)^G$, below $p + (1 - p)$; else a mean of the factors",
)
def total(kept=1):
    g = sp.Symbol("g_", real=True)
    all_right, all_wrong = sp.symbols("all_right all_wrong", positive=True)  # p^G and (1 - p)^G
    mixed = kept * (1 - all_right - all_wrong)
    first_claim.goal("all groups").holds(
        {update: mixed * average * g, factor: mixed * average, gradient: g},
        where=[all_right < p, all_wrong < 1 - p],
        using={"mean of positive numbers": {average: average}},
    )


@first_claim.step(
    "The shipped groups",
    route="traced code",
    shows="GRPO bare: the factor of every count at G = 2, 3, 4, 8; its factors as polynomials in p",
)
def traced(push=1):
    g = sp.Symbol("g_", real=True)
    for size in (2, 3, 4, 8):
        advantages = shipped("grpo", size)
        for correct in range(1, size):
            high, low = advantages(correct)
            low *= push
            mean = (correct * high * g / p + (size - correct) * low * (-g) / (1 - p)) / size
            place = {G: size, k: correct}
            values = {part: mean, part_factor: count_factor(high, low).subs(place), gradient: g}
            first_claim.goal("a count").holds(values, at=place, where=[p < 1])
    sy.equal(weight(2), 1, "the factor at G = 2")
    sy.equal(weight(3), sp.sqrt(2), "the factor at G = 3")
    table = ((str(g), f"${sp.latex(sp.factor(weight(g)))}$") for g in (2, 3, 4))
    return sy.Exhibit(table=(("G", "w_G(p)"), *table))


@first_claim.step(
    "A three-answer bandit",
    route="enumeration",
    shows=r"exact means over all groups at G = 2, 3, 4 are $w_G(p) \nabla p$",
)
def enumerated(shift=0):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [1, 0, 1])
    for size in (2, 3, 4):
        moments = sy.group_moments(bandit, size, sy.weights_of(catalogue.get("grpo", eps=0.0)))
        w = weight(size).subs(p, bandit.value + shift)
        values = {update: moments.mean, factor: w, gradient: bandit.gradient}
        first_claim.goal("all groups").holds(values, at={G: size, p: bandit.value})


first_claim.sabotage("wrong rollouts pulled up too", positive, sign=-1)
first_claim.sabotage("a chance below zero", total, kept=-1)
first_claim.sabotage("wrong rollouts pulled up in the code", traced, push=-20)
first_claim.sabotage("another p", enumerated, shift=sp.Rational(1, 10))


w_pair, w_ends, w_centred, w_gp, w_gq, w_hp, w_hq = sp.symbols("w_2 w_G c_G u_1 u_2 v_1 v_2", real=True)

across = sy.Claim(
    id="A11b",
    title="Across prompts of different difficulty two rollouts estimate the direction that sixteen do",
    statement=sy.Statement(
        setting=(
            "Two prompts with parameters of their own and success rates p and q, binary rewards, standardised "
            "advantages"
        ),
        forall={G: sy.whole(2), H: sy.whole(2), p: sy.between(0, 1), q: sy.between(0, 1)},
        quantities={
            w_gp: sy.Quantity("w_G(p)", r"the factor of $\nabla p$ in the mean update at group size G"),
            w_gq: sy.Quantity("w_G(q)", "that of the other prompt's gradient, at rate q"),
            w_hp: sy.Quantity("w_H(p)", "the first prompt's factor at group size H"),
            w_hq: sy.Quantity("w_H(q)", "the other prompt's factor at group size H"),
        },
        goals={"same direction": sp.Eq(w_gp * w_hq, w_gq * w_hp)},
    ),
    instead=sy.Statement(
        setting="One prompt of success rate p, binary rewards",
        forall={G: sy.whole(2), p: sy.between(0, 1)},
        quantities={
            w_pair: sy.Quantity(
                "w_2(p)", r"the factor of $\nabla p$ in the mean update of two rollouts, standardised"
            ),
            w_ends: sy.Quantity("w_G(p)", "that of G rollouts, standardised"),
            w_centred: sy.Quantity("c_G(p)", "that of G rollouts with mean-centred advantages"),
        },
        goals={
            "pairs": sp.Eq(w_pair, 1),
            "hopeless prompts": sp.Eq(sp.Limit(w_ends, p, 0), sp.sqrt(G - 1)),
            "centred": sp.Eq(w_centred, (G - 1) / G),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Proposition C.1 and the remark after it",
        relation="reading",
        says="the mean advantage in one large group and the one over many pairs are compared",
        caveat=(
            "it says that two rollouts do not simply estimate the large group's gradient with fewer samples: they "
            "weigh prompts differently; so the statement is a misreading, against which it warns"
        ),
    ),
    verdict="refuted",
    scope="binary rewards, standardised advantages; with mean-centred or leave-one-out ones it is true",
    proof=(
        "A prompt of rate p enters the mean update with the factor $w_G(p)$, so two prompts keep their direction "
        "exactly if $w_G(p) w_H(q) = w_G(q) w_H(p)$. With two rollouts the factor is one for all p. With G it tends "
        r"to $\sqrt{G - 1}$ on hopeless prompts, as the one correct rollout of a group then has that advantage, and "
        "it is smaller in the middle. With mean-centred advantages the mean of $k (G - k)$ gives $(G - 1)/G$ for "
        "all p."
    ),
    finding=(
        r"$G = 2$ is the unbiased one: $w_2 = 1$ on all prompts. $w_{16}(p)$ runs from $\sqrt{15}$ at $p = 0, 1$ "
        "down to about $1.93$ at $p = 1/2$: sixteen rollouts lean on the hardest and easiest prompts. Without the "
        "standard deviation, $w_G = (G - 1)/G$ for all p and the directions agree."
    ),
)


@across.step(
    "By the definition",
    route="sympy",
    shows=(
        r"$w_2$ from its two counts; at $p \to 0$ the count one is left, with $A_1 = \sqrt{(1 - 1/G)/(1/G)}$; "
        r"$\mathrm{E}[k (G - k)] = G (G - 1) p (1 - p)$"
    ),
)
def by_definition(ddof=0):
    across.goal("pairs").holds({w_pair: weight(2) if not ddof else weight(2) / sp.sqrt(2)})
    share = 1 / G
    std = sp.sqrt(share * (1 - share) * G / (G - ddof))
    # Of the sum over k the terms with A_1(k), k >= 2, and those with A_0(k), k >= 1, hold a factor p; A_0(0) = 0.
    others = sp.Symbol("rest", real=True)
    first = G * (1 - p) ** (G - 1) / G * (1 - share) / std
    across.goal("hopeless prompts").holds({w_ends: first + p * others})
    count = sp.Symbol("count")
    spread = sy.over_binomial_symbolic(count * (G - count) / G**2, count, G - ddof, p)
    across.goal("centred").holds({w_centred: sp.factor(sp.simplify(spread / (p * (1 - p))))})


@across.step(
    "The shipped advantages",
    route="traced code",
    shows="GRPO and Dr. GRPO bare but for epsilon at G = 2, 3, 4, 16: factors as polynomials in p",
)
def traced_across(centred="dr_grpo", **settings):
    for size in (2, 3, 4, 16):
        w = sy.prompt_weight(shipped("grpo", size, **{"eps": 0.0, **settings}), size, p)
        across.goal("hopeless prompts").holds({w_ends: w}, at={G: size})
        if size == 2:
            across.goal("pairs").holds({w_pair: w})
        if size <= 4:
            value = sy.prompt_weight(shipped(centred, size), size, p)
            across.goal("centred").holds({w_centred: value}, at={G: size})


@across.counterexample(
    "p = 1/2 and q = 1/10, pairs against groups of four and of sixteen: the factors are 1 and 1 against two "
    "different ones; the engine's means at two and four agree with the rationals.",
    p="(1/2, 1/10)",
    G="(2, 4) and (2, 16)",
)
def two_prompts(other="1/10", sizes=(2, 4, 16)):
    small, *larger = sizes
    places = (sp.Rational(1, 2), sp.Rational(other))
    factors = {size: [weight(size).subs(p, x) for x in places] for size in sizes}
    for size in larger:
        values = dict(zip((w_gp, w_gq, w_hp, w_hq), factors[small] + factors[size], strict=True))
        across.goal("same direction").fails(values, at={G: small, H: size, p: places[0], q: places[1]})
    bandits = [sy.SymbolicBandit([x, 1 - x], [1, 0]) for x in places]
    for size in sizes[:2]:
        moments = sy.engine(catalogue.get("grpo", eps=0.0), bandits, size)
        seen = np.asarray(moments.mean).reshape(2, 2)[:, 0]  # the mean over two prompts
        exact = [w * b.gradient[0] / 2 for w, b in zip(factors[size], bandits, strict=True)]
        gap = max(abs(float(x) - y) for x, y in zip(exact, seen, strict=True))
        sy.require(gap < 1e-11, f"the engine's mean at G = {size} differs by {gap}")
    rows = ((str(size), *(str(sp.N(x, 6)) for x in factors[size])) for size in sizes)
    return sy.Exhibit(table=(("G", "w_G(1/2)", f"w_G({other})"), *rows))


across.sabotage("sample standard deviation by hand", by_definition, ddof=1)
across.sabotage("sample standard deviation in the code", traced_across, ddof=1)
across.sabotage("standardised advantages in place of centred ones", traced_across, centred="grpo")
across.sabotage("two prompts of one difficulty", two_prompts, other="1/2")
across.sabotage("G = 2 against G = 3, which are parallel", two_prompts, sizes=(2, 3))


defect, larger_weight = sp.symbols("D u", real=True)

levels = sy.Claim(
    id="A11c",
    title="For one prompt and any real rewards every group size points along grad J",
    statement=sy.Statement(
        setting="One prompt, real rewards, standardised advantages",
        forall={G: sy.whole(2)},
        quantities={
            defect: sy.Quantity(
                "D",
                r"$\|m\|^2 \|\nabla J\|^2 - \langle m, \nabla J \rangle^2$ of the mean update $m$: zero if parallel",
            )
        },
        goals={"parallel": sp.Eq(defect, 0)},
    ),
    instead=sy.Statement(
        setting="Two rollouts of real rewards, standardised advantages",
        quantities={
            larger_weight: sy.Quantity(
                "u", "the weight of the rollout with the larger reward, whatever the gap"
            )
        },
        goals={"order only": sp.Eq(larger_weight, sp.Rational(1, 2))},
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Section 2.1 and Appendix C.1",
        relation="ours",
        says="the setting is binary rewards; that the contrastive nature extends to real ones is said in Section 3.2",
        caveat="no direction is claimed for real rewards",
    ),
    verdict="refuted",
    scope="standardised advantages, three or more reward levels",
    proof=(
        "The deviations of two rewards over their standard deviation are signs, so a pair's update keeps the order "
        "of the rewards and not their size, while the gradient of the mean reward knows it. With rewards 0, 1 and "
        "10 the mean over all pairs of answers is not parallel to the gradient, and not to the mean over triples. "
        "With two levels there is only an order, and the directions agree (claim A11a)."
    ),
    finding=(
        "The pair keeps only the order of the rewards, so G = 2 climbs the chance to beat another rollout, not the "
        "mean reward (see A16)."
    ),
)
r1, r2 = sp.symbols("r1 r2", real=True)


@levels.step(
    "By hand", route="smt", shows=r"half of the deviation over the root of the mean square, for $r_1 > r_2$"
)
def by_hand(divisor=2):
    mean = (r1 + r2) / 2
    spread = sp.sqrt(((r1 - mean) ** 2 + (r2 - mean) ** 2) / divisor)
    levels.goal("order only").holds({larger_weight: (r1 - mean) / spread / 2}, where=[r1 > r2])
    sy.require(sy.smt_valid([r1 > r2], sp.Eq((r1 - mean) / spread / 2, sp.Rational(1, 2))), "by z3")


@levels.step(
    "The shipped pair",
    route="traced code",
    shows="GRPO without epsilon and the pair objective bare, both regions",
)
def order_only(eps=0.0):
    for estimator in (catalogue.get("grpo", eps=eps), catalogue.get("grpo_pair")):
        for region in sy.symbolic_group(2, on_policy=True).regions(estimator):
            first, second = region.value.reshape(-1)
            larger = first if region.point[r1] > region.point[r2] else second
            levels.goal("order only").holds({larger_weight: larger}, where=region.conditions)


def parallel_defect(a, b):
    """|a|^2 |b|^2 - (a.b)^2: zero iff parallel."""
    a, b = sp.Matrix(a), sp.Matrix(b)
    return sp.expand(a.dot(a) * b.dot(b) - a.dot(b) ** 2)


@levels.counterexample(
    "pi = (1/2, 1/3, 1/6), rewards (0, 1, 10): the mean over all pairs, and over all triples, is not parallel to "
    "grad J, nor the one to the other; the engine's mean is the same.",
    pi="(1/2, 1/3, 1/6)",
    rewards="(0, 1, 10)",
)
def three_levels(rewards=(0, 1, 10)):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], list(rewards))
    grpo = catalogue.get("grpo", eps=0.0)
    moments = {size: sy.group_moments(bandit, size, sy.weights_of(grpo)) for size in (2, 3)}
    for size, exact in moments.items():
        levels.goal("parallel").fails({defect: parallel_defect(exact.mean, bandit.gradient)}, at={G: size})
    apart = parallel_defect(moments[2].mean, moments[3].mean)
    sy.require(sy.exact_sign(apart) > 0, "pairs and triples differ")
    sy.engines_agree(sy.engine(grpo, bandit, 2), moments[2], "GRPO at G = 2")


levels.sabotage("a division by G - 1", by_hand, divisor=1)
levels.sabotage("two reward levels", three_levels, rewards=(0, 1, 1))
levels.sabotage("an epsilon, which lets the size in", order_only, eps=0.1)
