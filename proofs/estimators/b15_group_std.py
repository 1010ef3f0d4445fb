"""B15: for binary rewards the update is the group's deviation times a contrast; its size is not the deviation alone."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

PAPER = "2607.00152"
G, k = sp.symbols("G k", integer=True, positive=True)
eps = sp.Symbol("epsilon", nonnegative=True)
grpo, dr_grpo, rloo, plus, minus = sp.symbols("U_1 U_2 U_3 s_plus s_minus", real=True)
VARIANCE = k * (G - k) / G**2
MIXED = sy.Hypothesis("the group is mixed, $k < G$ (else the update is zero)", k <= G - 1)

identity = sy.Claim(
    id="B15a",
    title="The update is the group's standard deviation times the contrast of the mean scores",
    statement=sy.Statement(
        setting=r"k of G rollouts correct, binary rewards, $\hat\sigma^2 = k(G-k)/G^2$, tokens of a rollout "
        r"weighed alike",
        forall={G: sy.whole(2), k: sy.whole(1), eps: sy.above(0, closed=True)},
        given={"mixed": MIXED},
        quantities={
            grpo: sy.Quantity(
                r"U_{\mathrm{GRPO}}",
                r"$\frac{1}{G} \sum_i A_i s_i$ with the population standard deviation plus epsilon",
            ),
            dr_grpo: sy.Quantity(r"U_{\mathrm{Dr}}", "the same without a standard deviation"),
            rloo: sy.Quantity(r"U_{\mathrm{RLOO}}", "the same with leave-one-out"),
            plus: sy.Quantity(r"\bar s_+", "the mean score of the correct rollouts"),
            minus: sy.Quantity(r"\bar s_-", "that of the wrong ones"),
        },
        goals={
            "GRPO": sp.Eq(grpo, VARIANCE / (sp.sqrt(VARIANCE) + eps) * (plus - minus)),
            "Dr. GRPO": sp.Eq(dr_grpo, VARIANCE * (plus - minus)),
            "RLOO": sp.Eq(rloo, G / (G - 1) * VARIANCE * (plus - minus)),
        },
    ),
    source=sy.Source(
        PAPER,
        "v1",
        "abstract",
        says="for binary rewards the update is the group's standard deviation times the difference of the "
        "two mean scores",
    ),
    verdict="proved",
    scope="any scores, so any policy; without epsilon GRPO's factor is the standard deviation itself",
    proof=(
        r"In a mixed group all correct rollouts have one advantage and all wrong ones another, k of "
        r"the first, $G - k$ of the second, and they sum to zero. So the update is $\frac{k A_+}{G} "
        r"(\bar s_+ - \bar s_-)$. With $A_+ = (1 - k/G)$ over the divisor this is "
        r"$\hat\sigma^2$ over the divisor: $\hat\sigma + \epsilon$ for GRPO, 1 for Dr. GRPO, "
        r"$(G-1)/G$ for leave-one-out. The shipped weights give it for every reward vector of up to "
        r"four rollouts."
    ),
    finding=(
        r"So the three methods share one direction per group and differ in the power of $\hat\sigma$. "
        r"Dynamic sampling, which drops the silent groups, changes no direction either, only how many "
        r"groups a batch has."
    ),
)


@identity.step(
    "Any G and k",
    route="sympy",
    shows=r"$\frac{1}{G}[k A_+ \bar s_+ + (G-k) A_- \bar s_-]$ with each method's advantages",
)
def any_group(count_shift=0):
    share = (k + count_shift) / G

    def update(divisor):
        return (k * (1 - share) / divisor * plus - (G - k) * share / divisor * minus) / G

    known = {plus: plus, minus: minus}
    identity.goal("GRPO").holds({grpo: update(sp.sqrt(VARIANCE) + eps), **known})
    identity.goal("Dr. GRPO").holds({dr_grpo: update(1), **known})
    identity.goal("RLOO").holds({rloo: update((G - 1) / G), **known})


@identity.step(
    "The shipped estimators as they ship, G = 2 to 4",
    route="traced code",
    shows=r"every reward vector and symbolic scores; GRPO with $\epsilon = 10^{-6}$ and without; each "
    r"rollout one token",
)
def traced(names=("grpo", "dr_grpo", "rloo")):
    for size in (2, 3, 4):
        scores = sp.symbols(f"s1:{size + 1}", real=True)
        for rewards in itertools.product((0, 1), repeat=size):
            count = sum(rewards)
            pairs = list(zip(rewards, scores, strict=True))
            for goal, quantity, name in zip(
                identity.statement.goals, (grpo, dr_grpo, rloo), names, strict=True
            ):
                weights = sy.weights_of(catalogue.get(name))(tuple(map(sp.Integer, rewards)))
                value = sp.Add(*[w * s for w, s in zip(weights, scores, strict=True)])
                if not 0 < count < size:
                    sy.equal(value, 0, "a silent group")
                    continue
                values = {
                    quantity: value,
                    plus: sp.Add(*[s for r, s in pairs if r]) / count,
                    minus: sp.Add(*[s for r, s in pairs if not r]) / (size - count),
                }
                place = {G: size, k: count, eps: sp.Rational(1, 10**6)}
                identity.goal(goal).holds(values, at=place)


identity.sabotage("a mean that counts one correct rollout too many", any_group, count_shift=1)
identity.sabotage("the sample standard deviation", traced, names=("grpo_sample_std", "dr_grpo", "rloo"))
identity.sabotage("leave-one-out and the mean swapped", traced, names=("grpo", "rloo", "dr_grpo"))


size_a, size_b, std_a, std_b, square, m1, m0, t1, t0 = sp.symbols(
    "S_a S_b sigma_a sigma_b S m_1 m_0 tau_1 tau_0", real=True
)

size_claim = sy.Claim(
    id="B15b",
    title="The size of the update is the group's standard deviation",
    statement=sy.Statement(
        setting="One policy, GRPO with the population standard deviation and no epsilon, binary rewards; two "
        "numbers a and b of correct rollouts out of G",
        quantities={
            size_a: sy.Quantity("S_a", "the mean square of the update given a correct rollouts"),
            size_b: sy.Quantity("S_b", "the mean square given b"),
            std_a: sy.Quantity(r"\hat\sigma_a", "the group's standard deviation given a"),
            std_b: sy.Quantity(r"\hat\sigma_b", "the deviation given b"),
        },
        goals={
            "larger with it": sp.Implies(std_a < std_b, size_a < size_b),
            "equal with it": sp.Implies(sp.Eq(std_a, std_b), sp.Eq(size_a, size_b)),
        },
    ),
    instead=sy.Statement(
        setting="One prompt, GRPO with the population standard deviation and no epsilon, k of G rollouts correct",
        forall={G: sy.whole(2), k: sy.whole(1)},
        given={"mixed ": MIXED},
        quantities={
            square: sy.Quantity("S_k", "the mean square of the update given k"),
            m1: sy.Quantity("m_1", "the mean score of correct rollouts"),
            m0: sy.Quantity("m_0", "the mean score of wrong ones"),
            t1: sy.Quantity(r"\tau_1", "the variance of the scores of correct rollouts"),
            t0: sy.Quantity(r"\tau_0", "the variance of the scores of wrong ones"),
        },
        goals={
            "mean square": sp.Eq(square, VARIANCE * (m1 - m0) ** 2 + ((G - k) * t1 + k * t0) / G**2),
            "scatter alone": sp.Implies(sp.And(sp.Eq(m1, m0), sp.Eq(t1, t0)), sp.Eq(square, t0 / G)),
        },
    ),
    source=sy.Source(
        PAPER,
        "v1",
        "abstract",
        says="the size of the update is exactly the group's standard deviation, so evenly split groups teach most",
        caveat="as a statement on the coefficient of the contrast it is right (B15a)",
    ),
    verdict="refuted",
    scope="on policy, every G and k; coordinates of the score add up",
    proof=(
        r"Given k the update is $\hat\sigma$ times the difference of the mean of k correct and of $G "
        r"- k$ wrong scores, independent of each other. Its mean square is $\hat\sigma^2 [(m_1 - "
        r"m_0)^2 + \tau_1/k + \tau_0/(G-k)]$, which is the formula. "
        r"When the scatter dominates and $\tau_1 = \tau_0$, it is $\tau/G$ for every split. "
        "Two small policies show groups of smaller, and of equal, deviation with larger updates; all "
        "their groups are listed with the shipped weights."
    ),
    finding=(
        r"When the scatter dominates, as it does for long texts, and $\tau_1 = \tau_0$, every mixed "
        r"group has the update size $\sqrt{\tau/G}$, however it splits. With the std the identity is "
        r"about a coefficient, not a length."
    ),
)


@size_claim.step(
    "The mean square given k",
    route="sympy",
    shows="index patterns for the k correct and the G - k wrong scores, one coordinate",
)
def patterns(scatter=1):
    S = sp.Symbol("S")

    def sums(mean, spread, size):
        def moment(exponents):
            return {0: sp.Integer(1), 1: mean, 2: mean**2 + spread}[exponents.get("s", 0)]

        return [sy.over_rollouts(S**power, {S: {"s": 1}}, size, moment) for power in (1, 2)]

    right, wrong, rest = sums(m1, scatter * t1, k), sums(m0, scatter * t0, G - k), G - k
    contrast = right[1] / k**2 - 2 * right[0] * wrong[0] / (k * rest) + wrong[1] / rest**2
    values = {square: VARIANCE * contrast, m1: m1, m0: m0, t1: t1, t0: t0}
    size_claim.goal("mean square").holds(values)
    size_claim.goal("scatter alone").holds(values)


def by_count(bandit, size):
    """The mean square of the shipped update (no epsilon) given each number of correct rollouts."""
    weights = sy.weights_of(catalogue.get("grpo", eps=0.0))
    count, width = len(bandit.rewards), len(bandit.scores[0])
    totals, numbers = [sp.Integer(0)] * (size + 1), [0] * (size + 1)
    for answers in itertools.product(range(count), repeat=size):
        row = weights(tuple(bandit.rewards[j] for j in answers))
        update = [
            sp.Add(*[w * bandit.scores[j][i] for w, j in zip(row, answers, strict=True)])
            for i in range(width)
        ]
        correct = int(sum(bandit.rewards[j] for j in answers))
        totals[correct] += sp.expand(sp.Add(*[x * x for x in update]))
        numbers[correct] += 1
    return [sp.nsimplify(sp.simplify(t / n)) for t, n in zip(totals, numbers, strict=True)], totals


FOUR = sy.SymbolicBandit(["1/4"] * 4, [1, 1, 0, 0], scores=[[4], [-3], [0], [-1]])
FLAT = sy.SymbolicBandit(["1/4"] * 4, [1, 1, 0, 0], scores=[[3], [-3], [3], [-3]])


@size_claim.step(
    "Four equally likely answers",
    route="traced code",
    shows="all groups of three and four, two policies, with the shipped weights",
)
def four(spread=1):
    for bandit in (FOUR, FLAT):
        right, wrong = ([s[0] for s in bandit.scores][:2], [s[0] for s in bandit.scores][2:])
        means = [sp.Add(*x) / 2 for x in (right, wrong)]
        scatter = [
            spread * sp.Add(*[(s - m) ** 2 for s in x]) / 2
            for x, m in zip((right, wrong), means, strict=True)
        ]
        for size in (3, 4):
            found, _ = by_count(bandit, size)
            for count in range(1, size):
                values = {square: found[count], m1: means[0], m0: means[1], t1: scatter[0], t0: scatter[1]}
                size_claim.goal("mean square").holds(values, at={G: size, k: count})
                size_claim.goal("scatter alone").holds(values, at={G: size, k: count})


def std(size, count):
    """The group's standard deviation."""
    return sp.sqrt(sp.Rational(count * (size - count), size**2))


@size_claim.counterexample(
    "Four equally likely answers, scores 4 and -3 (correct), 0 and -1 (wrong), G = 4: given one "
    "success the mean square update is "
    "larger than given two, though the std is smaller (sqrt(3)/4 against 1/2).",
    scores="(4, -3, 0, -1)",
    G=4,
)
def lopsided(bandit=FOUR):
    found, _ = by_count(bandit, 4)
    values = {size_a: found[1], size_b: found[2], std_a: std(4, 1), std_b: std(4, 2)}
    size_claim.goal("larger with it").fails(values)
    return sy.Exhibit(text=f"mean square update given k = 1, 2, 3: {found[1]}, {found[2]}, {found[3]}")


@size_claim.counterexample(
    "A softmax over four equally likely answers, three of them correct, G = 3: given one success the "
    "mean square update is 4/9, given "
    "two 10/27, with the same std sqrt(2)/3; the engine's second moment is their mixture.",
    chances="(1/4, 1/4, 1/4, 1/4)",
    G=3,
)
def same_std(correct=3):
    bandit = sy.SymbolicBandit(["1/4"] * 4, [1] * correct + [0] * (4 - correct))
    found, totals = by_count(bandit, 3)
    values = {size_a: found[1], size_b: found[2], std_a: std(3, 1), std_b: std(3, 2)}
    size_claim.goal("equal with it").fails(values)
    seen = sy.engine(catalogue.get("grpo", eps=0.0), bandit, 3)
    gap = seen.trace_cov + seen.signal - float(sum(totals) / 64)
    sy.require(abs(gap) < 1e-11, f"the engine's second moment differs by {gap:.3g}")
    return sy.Exhibit(text=f"mean square update: {found[1]} given one success, {found[2]} given two")


size_claim.sabotage("no scatter", patterns, scatter=0)
size_claim.sabotage("twice the scatter", four, spread=2)
size_claim.sabotage(
    "scores without scatter, where the split rules",
    lopsided,
    bandit=sy.SymbolicBandit(["1/4"] * 4, [1, 1, 0, 0], scores=[[1], [1], [-1], [-1]]),
)
size_claim.sabotage("two correct of four, where both sizes agree", same_std, correct=2)
