"""B1: the leave-one-out advantage, its factor and its unbiasedness."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="B1",
    title="Leave-one-out is unbiased, and G/(G-1) times mean-centring",
    statement=(
        r"$r_i - \frac{1}{G-1} \sum_{j \ne i} r_j = \frac{G}{G-1} (r_i - \bar r)$, and with these "
        r"advantages $\mathrm{E}\left[\frac{1}{G} \sum_i A_i s_i\right] = \nabla J$ for every reward law."
    ),
    source=sy.Source("2402.14740", "v2", "equation (8); Kool, van Hoof, Welling (2019)"),
    verdict="proved",
    scope="every G >= 2 (symbolic), every law of (reward, score) with E[s] = 0 and a finite E[r s]",
    hypotheses=(r"on policy: the rollouts are independent and $\mathrm{E}[s] = 0$",),
)

G = sp.Symbol("G", integer=True, positive=True)


@claim.step(
    "The factor",
    route="sympy",
    shows=r"$r - \frac{R - r}{G-1} = \frac{G}{G-1} \left(r - \frac{R}{G}\right)$, $R$ the group's sum",
)
def factor(power=1):
    r, total = sp.symbols("r R", real=True)
    sy.equal(r - (total - r) / (G - 1), (G / (G - 1)) ** power * (r - total / G), "the factor")


@claim.step(
    "The mean, any G and any rewards",
    route="sympy",
    shows=(
        r"E over index patterns: own terms give $G\,\mathrm{E}[rs]$, cross terms "
        r"$G(G-1)\,\mathrm{E}[r]\mathrm{E}[s] = 0$"
    ),
)
def unbiased(self_term=0, mean_score=0):
    g, mean_reward = sp.symbols("g J", real=True)
    R, S, RS = sp.symbols("R S RS")

    def moment(exponents):
        table = {(1, 1): g, (1, 0): mean_reward, (0, 1): sp.sympify(mean_score), (0, 0): sp.Integer(1)}
        return table[exponents.get("r", 0), exponents.get("s", 0)]

    # (1/G) sum_i (r_i - (R - r_i)/(G - 1)) s_i, in sums over the group; own = 1 leaves r_i in its own
    # baseline.
    estimator = (RS - (R * S - (1 - self_term) * RS) / (G - 1)) / G
    mean = sy.over_rollouts(estimator, {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}, G, moment)
    sy.equal(mean, g, "the mean of the leave-one-out estimator")
    return sy.Exhibit(formula=sp.latex(sp.Eq(sp.Function("E")(sp.Symbol(r"\hat g")), sp.simplify(mean))))


@claim.step(
    "The shipped weights, G = 2, 3, 4",
    route="traced code",
    shows=r"$w_i = \frac{1}{G-1} (r_i - \bar r)$ for symbolic rewards",
)
def traced(shift=0):
    for group in (2, 3, 4):
        rollouts = sy.symbolic_group(group, on_policy=True)
        r = rollouts.rewards.reshape(-1)
        weights = rollouts.weights(catalogue.get("rloo")).reshape(-1)
        mean = sum(r) / group
        sy.equal(weights, [(x - mean) / (group - 1 + shift) for x in r], f"weights at G = {group}")
    return sy.Exhibit(formula=sp.latex(sp.expand(weights[0])))


@claim.step(
    "A bandit with three reward levels", route="enumeration", shows=r"E = $\nabla J$ exactly at G = 2, 3, 4"
)
def enumerated(name="rloo"):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"])
    for group in (2, 3, 4):
        moments = sy.group_moments(bandit, group, sy.weights_of(catalogue.get(name)))
        sy.equal(moments.mean, bandit.gradient, f"mean of {name} at G = {group}")


@claim.step("The engine agrees", route="exact engine", shows="mean and covariance at G = 3")
def engines():
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"])
    sy.engines_agree(
        sy.engine(catalogue.get("rloo"), bandit, 3),
        sy.group_moments(bandit, 3, sy.weights_of(catalogue.get("rloo"))),
        "RLOO",
    )


claim.sabotage("no factor", factor, power=0)
claim.sabotage("the own reward kept in the baseline", unbiased, self_term=1)
claim.sabotage("scores that do not average to zero (off policy)", unbiased, mean_score=sp.Rational(1, 3))
claim.sabotage("weights divided by G", traced, shift=1)
claim.sabotage("the group mean with the own reward", enumerated, name="dr_grpo")
