"""B9: SoftmaxGRPO's weight for binary rewards, and why three reward levels have no objective."""

import itertools

import sympy as sp
from _binary import OUR_ON_POLICY, p, shipped

from gradvar import catalogue
from gradvar import symbolic as sy

G, k = sp.symbols("G k", integer=True, positive=True)
e = sp.Symbol("e", positive=True)  # exp(1/tau), above 1
part, chance, weight, mean, first, square = sp.symbols("t P w F m v", real=True)
at_point, at_rate = sp.symbols("f_a f_p", positive=True)
point = sp.Symbol("a", positive=True)
DISTANCE = (e - 1) * (1 + (e - 1) + (e - 1) ** 2)


def advantages(size, base=e):
    """G softmax(r/tau) - 1 with k correct of ``size`` rollouts."""

    def conditional(count):
        total = count * base + size - count
        return size * base / total - 1, size / total - 1

    return conditional


def curve(x):
    """The factor of a group with the share x of correct rollouts, for large groups."""
    return (e - 1) / (1 + x * (e - 1))


weight_claim = sy.Claim(
    id="B9a",
    title="SoftmaxGRPO's weight for binary rewards, at every group size and temperature",
    statement=sy.Statement(
        setting=(
            r"One prompt of success rate p, binary rewards, the advantages "
            r"$G\,\mathrm{softmax}(r/\tau)_i - 1$, $e = \mathrm{exp}(1/\tau)$, the sum over tokens"
        ),
        forall={G: sy.whole(2), k: sy.whole(1), p: sy.between(0, 1), e: sy.above(1)},
        given={
            "on policy": OUR_ON_POLICY,
            "mixed": sy.Hypothesis("in the first formula $k < G$ (others add nothing)", k <= G - 1, "ours"),
        },
        quantities={
            part: sy.Quantity("t_k", "what the groups with k correct rollouts add to the weight"),
            chance: sy.Quantity("P_k", "the chance of k correct rollouts"),
            weight: sy.Quantity("w_G(p)", r"$\sum_k t_k$, the factor of $\nabla p$ in the expected update"),
            mean: sy.Quantity(
                "F",
                r"the mean of $f(x) = \frac{e-1}{1 + x(e-1)}$, x the share $(j+1)/G$, j a binomial count of G - 2",
            ),
            first: sy.Quantity("m", "the mean of x"),
            square: sy.Quantity("v", "the mean of $(x - a)^2$"),
            at_point: sy.Quantity("f(a)", "f at a number a"),
            at_rate: sy.Quantity("f(p)", r"the derivative of $\log(1 + p(e-1))$ by p"),
        },
        goals={
            "term": sp.Eq(part * p * (1 - p), chance * k * (G - k) * (e - 1) / (G * (G + k * (e - 1)))),
            "large groups": sp.And(weight >= at_rate - DISTANCE / G, weight <= at_rate + DISTANCE / G),
        },
        lemmas={
            "tangent": sy.Lemma(
                sp.And(
                    mean >= at_point - at_point**2 * (first - point),
                    mean <= at_point - at_point**2 * (first - point) + (e - 1) ** 3 * square,
                ),
                forall={point: sy.above(0)},
            ),
            "close": sy.Lemma(
                sp.And(
                    at_point <= e - 1,
                    at_point - at_rate <= (e - 1) ** 2 / G,
                    at_rate - at_point <= (e - 1) ** 2 / G,
                )
            ),
        },
    ),
    source=sy.Source(
        "2608.09271",
        "v1",
        "equation (1)",
        relation="ours",
        says="the advantages are the group size times a softmax of the rewards, less one",
        caveat="the weight at finite group size is ours; of the paper only the definition is used",
    ),
    verdict="proved",
    scope="every group size, p and temperature; on policy",
    proof=(
        r"Given k correct rollouts the correct ones together have the advantage $\frac{k(G-k)(e-1)}{G "
        r"+ k(e-1)}$ and the wrong ones minus that; the conditional mean scores "
        r"make of it the term. Since $\frac{k(G-k)}{G} \binom{G}{k} = (G-1) \binom{G-2}{k-1}$, the "
        r"weight is $\frac{G-1}{G}$ times the mean of $f(x) = \frac{e-1}{1+x(e-1)}$ at $x = (j+1)/G$, "
        r"j binomial "
        r"of $G - 2$. The curve f lies above its tangent, and below the tangent plus $(e-1)^3 "
        r"(x-a)^2$; at the mean $a = (1 + (G-2)p)/G$, with the variance $(G-2)p(1-p)/G^2$, this "
        r"leaves a distance of order 1/G from $f(p)$, the derivative of $\log(1 + p(e-1)) = \log "
        r"\mathrm{E}\, \mathrm{exp}(r/\tau)$."
    ),
    finding=(
        r"At $G = 2$ the weight is $\mathrm{tanh}\frac{1}{2\tau}$ for every p: a pair is plain "
        r"REINFORCE with baseline, times a constant. From $G = 3$ on it falls strictly in p, as its "
        r"coefficients $\frac{(G-1)(e-1)}{G + k(e-1)}$ fall in k: hard prompts count more, by at most "
        r"the factor $\frac{(G-1)e+1}{G-1+e} < e$."
    ),
)


@weight_claim.step(
    "The terms, any G", route="sympy", shows="from the advantages given k, with the conditional mean scores"
)
def given_k(power=1):
    total = k * e**power + G - k
    right, wrong = G * e / total - 1, G / total - 1
    value = chance * (k * right / p - (G - k) * wrong / (1 - p)) / G
    weight_claim.goal("term").holds({part: value, chance: chance})
    sy.equal(k * (G - k) * sp.binomial(G, k), G * (G - 1) * sp.binomial(G - 2, k - 1), "the coefficients")
    x = sp.Symbol("x", positive=True)
    sy.equal(((e - 1) / (e + 1)).subs(e, sp.exp(x)), sp.tanh(x / 2), "the pair's constant")


@weight_claim.step(
    "The curve and its tangent",
    route="smt",
    shows=r"$f(a) + f'(a)(x - a) \le f(x) \le f(a) + f'(a)(x - a) + (e-1)^3 (x-a)^2$; both sides are means "
    r"of such values",
)
def tangent(power=3):
    x = sp.Symbol("x", positive=True)
    sy.equal(sp.diff(curve(x), x), -(curve(x) ** 2), "the slope of the curve")
    bend = (x - point) ** 2 * (e - 1) ** (power - 3)
    weight_claim.goal("tangent").holds({mean: curve(x), first: x, square: bend, at_point: curve(point)})


@weight_claim.step(
    "The mean share is close to p",
    route="smt",
    shows=r"$|f(a) - f(p)| \le (e-1)^2/G$ at $a = (1 + (G-2)p)/G$",
)
def close(counted=2):
    centre = (1 + (G - counted) * p) / G
    weight_claim.goal("close").holds({at_point: curve(centre), at_rate: curve(p)})


@weight_claim.step(
    "Mean and variance of the share", route="smt", shows="the distance from the limit, for all sizes at once"
)
def rate(spread=1):
    j, curved, f_a, f_p = sp.symbols("j F f_a f_p", positive=True)
    centre = (1 + (G - 2) * p) / G
    average, deviation = (
        sp.factor(sy.over_binomial_symbolic(sp.expand(f), j, G - 2, p))
        for f in ((j + 1) / G, ((j + 1) / G - centre) ** 2)
    )
    sy.equal(average, centre, "the mean share")
    bounds = {mean: curved, first: point, square: spread * deviation, point: point, at_point: f_a}
    weight_claim.goal("large groups").holds(
        {weight: (G - 1) / G * curved, at_rate: f_p},
        using={"tangent": bounds, "close": {at_point: f_a, at_rate: f_p}},
    )


@weight_claim.step(
    "The shipped estimator as it ships, G = 2 to 5",
    route="traced code",
    shows="temperature 0.3, exponentials kept exact: every k, and the weight at p = 1/10, 1/2, 9/10",
)
def traced(temperature=None):
    settings = {} if temperature is None else {"temperature": temperature}
    base = sp.exp(sp.Rational(10, 3))
    for size in range(2, 6):
        scheme = shipped("softmax", size, **settings)
        for count in range(1, size):
            right, wrong = scheme(count)
            value = chance * (count * right / p - (size - count) * wrong / (1 - p)) / size
            place = {G: size, k: count, e: base}
            weight_claim.goal("term").holds({part: value, chance: chance}, at=place)
        for x in (sp.Rational(1, 10), sp.S.Half, sp.Rational(9, 10)):
            value = sy.prompt_weight(scheme, size, x)
            weight_claim.goal("large groups").holds(
                {weight: value, at_rate: curve(x).subs(e, base)}, at={G: size, p: x, e: base}
            )


@weight_claim.step(
    "From the definition, G = 2 to 8", route="enumeration", shows="e = 2 and 5, p = 1/10, 1/2, 9/10"
)
def polynomials(scale=1):
    for size in range(2, 9):
        for base in (2, 5):
            for x in (sp.Rational(1, 10), sp.S.Half, sp.Rational(9, 10)):
                value = scale * sy.prompt_weight(advantages(size, sp.Integer(base)), size, x)
                weight_claim.goal("large groups").holds(
                    {weight: value, at_rate: curve(x).subs(e, base)}, at={G: size, p: x, e: base}
                )


weight_claim.sabotage("e squared in the total", given_k, power=2)
weight_claim.sabotage("a bend of the second power", tangent, power=2)
weight_claim.sabotage("five rollouts too many in the share", close, counted=-3)
weight_claim.sabotage("ten times the variance", rate, spread=10)
weight_claim.sabotage("another temperature", traced, temperature=0.25)
weight_claim.sabotage("four times the weight", polynomials, scale=4)


alpha, beta = sp.symbols("alpha beta", real=True)
rotation = sp.Symbol("K", real=True)
LEVELS = (1, 2, 4)

curl = sy.Claim(
    id="B9b",
    title="With three reward levels SoftmaxGRPO's expected update is the gradient of nothing",
    statement=sy.Statement(
        setting=(
            r"A softmax over three answers, the advantages $G\,\mathrm{softmax}(r/\tau)_i - 1$; "
            r"$\alpha$ and $\beta$ are $\mathrm{exp}((r_a - r_3)/\tau) - 1$ for the answers 1 and 2"
        ),
        forall={G: sy.whole(2), alpha: sy.above(-1), beta: sy.above(-1)},
        given={"on policy": OUR_ON_POLICY},
        quantities={
            rotation: sy.Quantity(
                "K",
                r"the curl $\partial_1(u_2 - u_3) - \partial_2(u_1 - u_3)$ where answer 3 has all probability, with "
                r"$u_a = \mathrm{E}[A_i | y_i = a]$ and derivatives by the chances of answers 1 and 2",
            )
        },
        goals={
            "curl": sp.Eq(
                rotation,
                G * (G - 1) * alpha * beta * (beta - alpha) / ((alpha + beta + G) * (alpha + G) * (beta + G)),
            ),
            "not zero": sp.Implies(
                sp.And(sp.Ne(alpha, 0), sp.Ne(beta, 0), sp.Ne(alpha, beta)), sp.Ne(rotation, 0)
            ),
        },
    ),
    source=sy.Source(
        "2608.09271",
        "v1",
        "equation (1)",
        relation="ours",
        caveat="of the paper only the definition of the advantages is used",
    ),
    verdict="proved",
    scope="every group size and every three different reward levels; so every policy class that contains a "
    "softmax over three answers",
    proof=(
        r"The expected update along a change of the policy is $\sum_a u_a\, d\pi_a$. If it were the "
        r"differential of a function of the policy, the curl would vanish on the whole simplex, and "
        r"at its corners by continuity. "
        r"Near the corner of answer 3 at most one other rollout differs, to first order, which gives "
        r"$\partial_b u_a = (G-1)[f_a(b) - f_a(3)]$ with $f_a(b) = G e_a/(e_a + e_b + (G-2)e_3)$, and "
        r"the curl in closed form. "
        r"Its denominators are positive, so it vanishes only if two levels agree. Differentiating the "
        r"exact polynomial field, also of the shipped weights, gives the same numbers."
    ),
    finding=(
        "The curl is zero iff two levels agree, and of order 1/G. So the field is closer to a "
        "gradient the larger the group; a fixed point of training need not be "
        "the maximum of anything. For two levels B9a has the potential's slope."
    ),
)


@curl.step(
    "The curl at a corner, any G",
    route="sympy",
    shows=r"$\partial_b u_a = (G-1)[f_a(b) - f_a(3)]$ at $\pi_3 = 1$",
)
def corner(swap=1):
    levels = (1 + alpha, 1 + beta, sp.Integer(1))
    f = {
        (i, j): G * x / (x + y + (G - 2)) for (i, x), (j, y) in itertools.product(enumerate(levels), repeat=2)
    }
    slope = {(i, j): (G - 1) * (f[i, j] - f[i, 2]) for i in range(3) for j in range(2)}
    value = slope[1, 0] - slope[2, 0] - swap * (slope[0, 1] - slope[2, 1])
    curl.goal("curl").holds({rotation: value})
    curl.goal("not zero").holds({rotation: value})


def field_curl(size, share):
    """The curl at the corner, by differentiating the field; ``share(a, others)`` is an advantage."""
    x, y = sp.symbols("pi1 pi2", positive=True)
    pi = (x, y, 1 - x - y)
    u = [
        sp.Add(
            *[
                sp.Mul(*[pi[j] for j in others]) * share(a, others)
                for others in itertools.product(range(3), repeat=size - 1)
            ]
        )
        for a in range(3)
    ]
    return (sp.diff(u[1] - u[2], x) - sp.diff(u[0] - u[2], y)).subs({x: 0, y: 0})


@curl.step(
    "The field differentiated", route="enumeration", shows="e = (1, 2, 4) and orders of it, G = 2 to 5"
)
def field(levels=LEVELS, group_factor=1):
    for size in range(2, 6):
        for exps in itertools.permutations(levels):

            def share(a, others, exps=exps, size=size):
                total = exps[a] + sum(exps[j] for j in others)
                return group_factor * sp.Rational(size * exps[a], total) - 1

            ratios = [sp.Rational(x, exps[2]) - 1 for x in exps[:2]]
            place = {G: size, alpha: ratios[0], beta: ratios[1]}
            value = field_curl(size, share)
            curl.goal("curl").holds({rotation: value}, at=place)
            curl.goal("not zero").holds({rotation: value}, at=place)


@curl.step(
    "The shipped estimator as it ships",
    route="traced code",
    shows="rewards (1, 1/2, 0) and the field of the traced weights, G = 2, 3",
)
def same_field(name="softmax"):
    rewards = (sp.Integer(1), sp.S.Half, sp.Integer(0))
    weights = sy.weights_of(catalogue.get(name))
    ratios = [sp.exp(sp.Rational(10, 3) * r) - 1 for r in rewards[:2]]
    for size in (2, 3):

        def share(a, others, size=size):
            return size * weights((rewards[a], *(rewards[j] for j in others)))[0]

        place = {G: size, alpha: ratios[0], beta: ratios[1]}
        curl.goal("curl").holds({rotation: field_curl(size, share)}, at=place)


curl.sabotage("the other orientation", corner, swap=-1)
curl.sabotage("twice the advantage", field, group_factor=2)
curl.sabotage("mean-centred rewards, which have an objective", same_field, name="dr_grpo")
