"""B5: the best group size at a fixed rollout budget: which constant, and of what."""

import sympy as sp
from _binary import OUR_ON_POLICY

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
N, cost = sp.symbols("N c", positive=True)
H = sp.Symbol("H", positive=True)
batch, other, least = sp.symbols("V_G V_H V_star", real=True)
between, best = sp.symbols("sigma_b G_star", positive=True)
coupling, within = sp.symbols("Delta sigma_o", nonnegative=True)
dear, dear_best, early, late = sp.symbols("C_H C_star G_1 G_2", real=True)

claim = sy.Claim(
    id="B5",
    title="The best group size is a constant of the prompt law and of the policy, not of the budget",
    statement=sy.Statement(
        setting=(
            "Leave-one-out with groups of G rollouts of each of N/G independent prompts, a fixed "
            "policy, rewards of any law, "
            "prompts whose gradients differ"
        ),
        forall={G: sy.whole(2), N: sy.above(0), H: sy.above(1), cost: sy.above(0)},
        given={"on policy": OUR_ON_POLICY},
        quantities={
            batch: sy.Quantity("V_G", "the trace of the covariance of the batch's update"),
            between: sy.Quantity(
                r"\sigma_b^2", "the trace of the covariance of the prompts' gradients, above zero"
            ),
            within: sy.Quantity(
                r"\sigma_o^2", r"the mean over prompts of the trace of the covariance of $(r - J) s$"
            ),
            coupling: sy.Quantity(
                r"\Delta", r"the mean over prompts of $\mathrm{Var}(r)\,\mathrm{E}\|s\|^2 + \|\nabla J\|^2$"
            ),
            best: sy.Quantity("G^*", r"$1 + \sqrt{\Delta/\sigma_b^2}$"),
            other: sy.Quantity("V_H", "the formula for $V_G$ at the real number H in place of G"),
            least: sy.Quantity("V_{G^*}", "the same at the real number $G^*$"),
            dear: sy.Quantity("C_H", "$(c + H)/H$ times $V_H$: groups that cost c more than their rollouts"),
            dear_best: sy.Quantity("C_{G^*}", "the same at $G^*$"),
            early: sy.Quantity(
                "G_1", r"the better of 3 and 4 for two prompts with four answers, chances 1/4"
            ),
            late: sy.Quantity("G_2", r"the same for the chances 9/20, 9/20, 1/20, 1/20"),
        },
        ranges={"it moves with the policy": ()},
        goals={
            "three terms": sp.Eq(batch, (G * between + within + coupling / (G - 1)) / N),
            "least point": sp.Ge(other, least),
            "with a cost per prompt no smaller size is best": sp.Or(best <= H, dear > dear_best),
            "it moves with the policy": sp.Ne(early, late),
        },
    ),
    source=sy.Source(
        "2603.01162",
        "v3",
        "Theorem 7",
        relation="reading",
        says="the best group size is a constant, the same for every budget and number of iterations",
        caveat=(
            "the theorem bounds the suboptimality of the learned policy, its constants are suprema "
            "over all parameters, and its "
            "iterations are the horizon; here the gradient's variance at one policy is minimised"
        ),
    ),
    verdict="proved",
    scope="every prompt law and any rewards; $G^*$ is a real number, the best whole number is next to it",
    proof=(
        r"Within a prompt index patterns give the variance $\sigma_o^2/G + \Delta/(G(G-1))$ of "
        r"leave-one-out, and the prompts add $\sigma_b^2$. A "
        r"batch has N/G prompts, which gives the three terms. The excess over $G^*$ is "
        r"$\frac{\sigma_b^2 (G - G^*)^2}{N (G - 1)}$, so "
        r"$G^*$ is the least point, and N only scales it. A cost per prompt adds a part that falls in "
        r"the group size, so it "
        "only favours larger groups. All groups of the shipped estimator on two prompts confirm the "
        "terms; for two policies of "
        "one task they give two best sizes."
    ),
    finding=(
        r"Independent of the budget: yes. Independent of the iteration: only while $\Delta/\sigma_b^2$ stays "
        r"put; on a policy that learns it does not. With a cost per prompt the best size can only grow. "
        r"Integers: see N3; $G^* \ge 1 + \sqrt{2}$ always: see N4."
    ),
)


def formula(size, between_=between, within_=within, coupling_=coupling, budget=N):
    """The three terms at a real group size."""
    return (size * between_ + within_ + coupling_ / (size - 1)) / budget


@claim.step(
    "The three terms, from the definition",
    route="sympy",
    shows=r"index patterns within a prompt, any G and any rewards; independent prompts",
)
def terms(others=1):
    def moment(exponents):
        a, power = exponents.get("r", 0), exponents.get("s", 0)
        if (a, power) == (0, 0):
            return sp.Integer(1)
        return sp.Integer(0) if (a, power) == (0, 1) else sp.Symbol(f"m{a}{power}", real=True)

    level, slope, square = (moment(x) for x in ({"r": 1}, {"r": 1, "s": 1}, {"s": 2}))
    alone = moment({"r": 2, "s": 2}) - 2 * level * moment({"r": 1, "s": 2}) + level**2 * square - slope**2
    A, B, AB = sp.symbols("A B AB")
    kinds = {A: {"r": 1}, B: {"s": 1}, AB: {"r": 1, "s": 1}}
    estimator = (AB - A * B / G) / (G - others)
    spread = sy.over_rollouts(estimator**2, kinds, G, moment) - slope**2
    values = {
        batch: (between + spread) / (N / G),
        between: between,
        within: alone,
        coupling: (moment({"r": 2}) - level**2) * square + slope**2,
    }
    claim.goal("three terms").holds(values)


@claim.step(
    "The excess over the least point",
    route="sympy",
    shows=r"$V_H - V_{G^*} = \frac{\sigma_b^2 (H - G^*)^2}{N (H - 1)}$ with $\Delta = \sigma_b^2 (G^* - 1)^2$",
)
def excess(power=2):
    root = sp.Symbol("x", positive=True)  # G* - 1
    delta = between * root**power
    gap = between * (H - 1 - root) ** 2 / (N * (H - 1))
    at_best = formula(1 + root, coupling_=delta)
    sy.equal(formula(H, coupling_=delta) - at_best, gap, "the excess")
    claim.goal("least point").holds({other: at_best + gap, least: at_best})


@claim.step(
    "Costs", route="smt", shows="for real sizes: below $G^*$ the total at a cost per prompt is larger"
)
def with_cost(sign=1):
    root = sp.Symbol("x", positive=True)  # G* - 1
    star, delta = 1 + root, between * root**2
    values = {
        best: star,
        dear: (sign * cost + H) / H * formula(H, coupling_=delta),
        dear_best: (sign * cost + star) / star * formula(star, coupling_=delta),
    }
    claim.goal("with a cost per prompt no smaller size is best").holds(values)


def family(chance):
    """Two prompts on one shared logit, success probabilities 1/2 and ``chance``."""
    q, half = sp.Rational(chance), sp.Rational(1, 2)
    return [
        sy.SymbolicBandit([half, half], [1, 0], scores=[[half], [-half]]),
        sy.SymbolicBandit([q, 1 - q], [1, 0], scores=[[1 - q], [-q]]),
    ]


def facts(prompts):
    """The three terms of evenly drawn prompts with one parameter, from their definitions."""
    oracle, couplings, gradients = sp.Integer(0), sp.Integer(0), []
    for bandit in prompts:
        rows = list(zip(bandit.probabilities, bandit.rewards, (s[0] for s in bandit.scores), strict=True))
        gradient = sp.Add(*[c * r * s for c, r, s in rows])
        spread = sp.Add(*[c * (r - bandit.value) ** 2 for c, r, _ in rows])
        oracle += sp.Add(*[c * ((r - bandit.value) * s) ** 2 for c, r, s in rows]) - gradient**2
        couplings += spread * sp.Add(*[c * s * s for c, _, s in rows]) + gradient**2
        gradients.append(gradient)
    mean = sp.Add(*gradients) / len(prompts)
    differ = sp.Add(*[(x - mean) ** 2 for x in gradients]) / len(prompts)
    return {between: differ, within: oracle / len(prompts), coupling: couplings / len(prompts)}


@claim.step(
    "Exact batches of two prompts",
    route="traced code",
    shows="the shipped RLOO on p = (1/2, 1/10), all groups at G = 2 to 5, budgets 1 and 60, cost 7",
)
def enumerated(chance="1/10", name="rloo"):
    known = facts(family(chance))
    star = 1 + sp.sqrt(known[coupling] / known[between])
    known[best] = star
    for size in range(2, 6):
        parts = [sy.group_moments(x, size, sy.weights_of(catalogue.get(name))) for x in family("1/10")]
        for budget in (1, 60):
            value = sy.mixture(parts).trace_cov * size / budget
            lowest = formula(star, known[between], known[within], known[coupling], budget)
            claim.goal("three terms").holds({batch: value, **known}, at={G: size, N: budget})
            claim.goal("least point").holds({other: value, least: lowest}, at={H: size, N: budget})
            costs = {dear: (7 + size) * value / size, dear_best: (7 + star) * lowest / star, **known}
            claim.goal("with a cost per prompt no smaller size is best").holds(
                costs, at={H: size, N: budget, cost: 7}
            )
    return sy.Exhibit(text=f"G* = {sp.N(star, 5)}")


def better(chances, variance):
    """The better of 3 and 4 at a fixed number of rollouts, for two prompts with one correct answer each."""
    prompts = [sy.SymbolicBandit(list(chances), [1, 0, 0, 0])] * 2
    values = {size: size * variance(prompts, size) for size in (3, 4)}
    return min(values, key=lambda size: values[size]), values


EARLY, LATE = ("1/4",) * 4, ("9/20", "9/20", "1/20", "1/20")


@claim.step(
    "Two policies of one task",
    route="enumeration",
    shows="one correct of four answers, two prompts with their own logits: groups of 4 beat 3, then 3 beat 4",
)
def moving(chances=LATE):
    def variance(prompts, size):
        def weights(rewards):
            total = sp.Add(*rewards)
            return [(r - (total - r) / (size - 1)) / size for r in rewards]

        moments = sy.group_moments(prompts[0], size, weights)
        # Each prompt has its own logits: a batch's one prompt moves one of the two blocks.
        return moments.second - sp.Add(*[m * m for m in moments.mean]) / 2

    values = {early: better(EARLY, variance)[0], late: better(chances, variance)[0]}
    claim.goal("it moves with the policy").holds(values)


@claim.step("The engine on both policies", route="exact engine", shows="the same two best sizes")
def engines(chances=LATE):
    def variance(prompts, size):
        return float(sy.engine(catalogue.get("rloo"), prompts, size).trace_cov)

    (first, before), (second, after) = better(EARLY, variance), better(chances, variance)
    claim.goal("it moves with the policy").holds({early: first, late: second})
    return sy.Exhibit(text=f"N times the variance at G = 3 and 4: {before}, then {after}")


claim.sabotage("G in place of G - 1", terms, others=0)
claim.sabotage("no root", excess, power=1)
claim.sabotage("a prompt that pays", with_cost, sign=-1)
claim.sabotage("the constants of another policy", enumerated, chance="2/5")
claim.sabotage("a policy that has not moved", moving, chances=EARLY)
claim.sabotage("a policy that has not moved in the engine", engines, chances=EARLY)
