"""B15: for binary rewards the update is the group's standard deviation times a contrast; its size is not the std alone."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

SOURCE = sy.Source(
    "2607.00152",
    "v1",
    "the group-standard-deviation identity (abstract and a report of its closed form seen)",
)
G, k = sp.symbols("G k", positive=True)

identity = sy.Claim(
    id="B15a",
    title="The update is the group's standard deviation times the contrast of the mean scores",
    statement=(
        r"With k of G rollouts correct, $\hat p = k/G$ and $\hat\sigma = \sqrt{\hat p(1-\hat p)}$, the update is $\hat\sigma^{m} (\bar s_+ - \bar s_-)$: GRPO (population std) $m = 1$; Dr. GRPO $m = 2$; RLOO $\frac{G}{G-1} \hat\sigma^2$; zero when the group is not mixed."
    ),
    source=SOURCE,
    verdict="proved",
    scope="every G and k (symbolic), any scores; on policy, tokens of a rollout weighed alike",
    finding=r"So the three methods share one direction per group and differ in the power of $\hat\sigma$. Dynamic sampling, which drops the silent groups, changes no direction either, only how many groups a batch has.",
)


@identity.step(
    "Any G and k",
    route="sympy",
    shows=r"$\frac{1}{G}[k A_+ \bar s_+ + (G-k) A_- \bar s_-]$ with each method's advantages",
)
def any_group(power=1):
    plus, minus = sp.symbols("splus sminus", real=True)
    share = k / G
    sigma = sp.sqrt(share * (1 - share))
    for divisor, factor in ((sigma, sigma**power), (1, sigma**2), ((G - 1) / G, G / (G - 1) * sigma**2)):
        update = (k * (1 - share) / divisor * plus - (G - k) * share / divisor * minus) / G
        sy.equal(update, factor * (plus - minus), "the update", where=[k < G, G > 1])


@identity.step(
    "The shipped weights, G = 2, 3, 4",
    route="traced code",
    shows=r"every reward vector: correct rollouts weigh $\hat\sigma^m/k$, wrong ones $-\hat\sigma^m/(G-k)$",
)
def traced(ddof=0):
    cases = (
        (catalogue.get("grpo", eps=0.0, ddof=ddof), 1, 1),
        (catalogue.get("dr_grpo"), 2, 1),
        (catalogue.get("rloo"), 2, 0),
    )
    for size in (2, 3, 4):
        for rewards in itertools.product((0, 1), repeat=size):
            count = sum(rewards)
            rollouts = sy.symbolic_group(size, rewards=rewards, on_policy=True)
            sigma = sp.sqrt(sp.Rational(count * (size - count), size**2))
            for estimator, power, plain in cases:
                factor = sigma**power * (1 if plain else sp.Rational(size, size - 1))
                claimed = [
                    (factor / count if r else -factor / (size - count)) if 0 < count < size else 0
                    for r in rewards
                ]
                sy.equal(rollouts.weights(estimator).reshape(-1), claimed, f"{estimator.name} at {rewards}")


identity.sabotage("the variance for the standard deviation", any_group, power=2)
identity.sabotage("the sample standard deviation", traced, ddof=1)


size_claim = sy.Claim(
    id="B15b",
    title="The size of the update is the group's standard deviation",
    statement=r"For binary rewards the size of the training update is exactly the group's standard deviation: an evenly split group teaches most.",
    source=SOURCE,
    verdict="refuted",
    scope="GRPO with population std (others by their power of the std); one prompt, on policy, every G and k",
    finding=(
        r"$\mathrm{E}[\|\hat g\|^2 | k] = \hat\sigma^2 \|m_1 - m_0\|^2 + \frac{(G-k)\tau_1 + k\tau_0}{G^2}$, $m$ and $\tau$ the mean and the scatter of the scores of either kind. When the scatter dominates, as it does for long texts, and $\tau_1 = \tau_0$, every "
        r"mixed group has the update size $\sqrt{\tau/G}$, however it splits. With the std the identity is about a coefficient, not a length."
    ),
)


@size_claim.step(
    "The expected square given k",
    route="sympy",
    shows=r"index patterns for the k correct and the G - k wrong scores, coordinate by coordinate",
)
def square(scatter=1):
    S = sp.Symbol("S")
    m1, m0, t1, t0 = sp.symbols("m1 m0 t1 t0", real=True)

    def sums(mean, spread, size):
        table = lambda e: {0: sp.Integer(1), 1: mean, 2: mean**2 + spread}[e.get("s", 0)]  # noqa: E731
        return [sy.over_rollouts(S**n, {S: {"s": 1}}, size, table) for n in (1, 2)]

    right, wrong = sums(m1, t1, k), sums(m0, t0, G - k)
    rest = G - k
    contrast = right[1] / k**2 - 2 * right[0] * wrong[0] / (k * rest) + wrong[1] / rest**2
    claimed = k * rest / G**2 * (m1 - m0) ** 2 + scatter * (rest * t1 + k * t0) / G**2
    sy.equal(k * rest / G**2 * contrast, claimed, "the expected square")


@size_claim.step(
    "Where scatter rules, the split does not matter",
    route="smt",
    shows=r"with $m_1 = m_0$ and $\tau_1 = \tau_0 = \tau$ the size is $\tau/G$ for every $1 \le k \le G-1$; with more scatter among the correct ones the group with a single success has the larger update",
)
def flat(equal_scatter=True):
    size, a, b, t1, t0 = sp.symbols("G a b tau1 tau0", real=True)
    value = lambda c: ((size - c) * t1 + c * t0) / size**2  # noqa: E731
    assumptions = [size >= 2, a >= 1, b > a, b <= size - 1, t0 > 0]
    sy.require(
        sy.smt_valid([*assumptions, sp.Eq(t1, t0) if equal_scatter else t1 > t0], sp.Eq(value(a), value(b))),
        "the same size for every split",
    )
    sy.require(sy.smt_valid([*assumptions, t1 > t0], value(a) > value(b)), "fewer successes, larger update")


FOUR = sy.SymbolicBandit(["1/4", "1/4", "1/4", "1/4"], [1, 1, 0, 0], scores=[[4], [-3], [0], [-1]])


@size_claim.counterexample(
    "Four equally likely answers, scores 4 and -3 (correct), 0 and -1 (wrong), G = 4: given one success the mean square update is larger than given two, though the std is smaller (sqrt(3)/4 against 1/2).",
    scores="(4, -3, 0, -1)",
    G=4,
)
def lopsided(bandit=FOUR):
    weights = sy.weights_of(catalogue.get("grpo", eps=0.0))
    sizes: dict[int, tuple[sp.Expr, int]] = {}
    for answers in itertools.product(range(4), repeat=4):
        rewards = tuple(bandit.rewards[j] for j in answers)
        update = sp.Add(*[w * bandit.scores[j][0] for w, j in zip(weights(rewards), answers, strict=True)])
        total, count = sizes.get(sum(rewards), (0, 0))
        sizes[sum(rewards)] = (total + update**2, count + 1)
    means = {c: sp.nsimplify(sp.simplify(t / n)) for c, (t, n) in sizes.items()}
    sy.require(means[1] > means[2], f"the mean squares are {means}")
    return sy.Exhibit(text=f"mean square update given k = 1, 2, 3: {means[1]}, {means[2]}, {means[3]}")


@size_claim.counterexample(
    "A softmax over four equally likely answers, three of them correct, G = 3: given one success the mean square update is 4/9, given two 10/27, with the same std sqrt(2)/3; the engine's second moment is their mixture.",
    chances="(1/4, 1/4, 1/4, 1/4)",
    G=3,
)
def same_std(correct=3):
    bandit = sy.SymbolicBandit(["1/4"] * 4, [1] * correct + [0] * (4 - correct))
    grpo = catalogue.get("grpo", eps=0.0)
    weights, totals, counts = sy.weights_of(grpo), [sp.Integer(0)] * 4, [0] * 4
    for answers in itertools.product(range(4), repeat=3):
        rewards = tuple(bandit.rewards[j] for j in answers)
        pairs = list(zip(weights(rewards), answers, strict=True))
        update = [sp.Add(*[w * bandit.scores[j][i] for w, j in pairs]) for i in range(4)]
        totals[int(sum(rewards))] += sp.expand(sp.Add(*[x * x for x in update]))
        counts[int(sum(rewards))] += 1
    sizes = [sp.nsimplify(t / n) for t, n in zip(totals, counts, strict=True)]
    sy.require(sizes[1] != sizes[2], f"one std, sizes {sizes[1]} and {sizes[2]}")
    seen = sy.engine(grpo, bandit, 3)
    gap = seen.trace_cov + seen.signal - float(sum(totals) / 64)
    sy.require(abs(gap) < 1e-11, f"the engine's second moment differs by {gap:.3g}")
    return sy.Exhibit(text=f"mean square update: {sizes[1]} given one success, {sizes[2]} given two")


size_claim.sabotage("no scatter", square, scatter=0)
size_claim.sabotage("unequal scatter called equal", flat, equal_scatter=False)
size_claim.sabotage(
    "scores without scatter, where the split rules",
    lopsided,
    bandit=sy.SymbolicBandit(["1/4"] * 4, [1, 1, 0, 0], scores=[[1], [1], [-1], [-1]]),
)
size_claim.sabotage("two correct of four, where both sizes agree", same_std, correct=2)
