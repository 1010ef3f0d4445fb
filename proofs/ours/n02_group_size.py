"""N2 to N4: the variance of leave-one-out at every group size, the best group size, and when two rollouts are best."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

OURS = sy.Source("this project", "", "the four numbers and the group size; after row B5", relation="ours")
G = sp.Symbol("G", positive=True, integer=True)
THREE = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"])
R, S, RS = sp.symbols("R S RS")
SUMS = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}


def moment(exponents):
    """E[r^a s^b] of one rollout, one coordinate: a symbol m_ab, with E[s] = 0."""
    x, y = exponents.get("r", 0), exponents.get("s", 0)
    if (x, y) == (0, 0):
        return sp.Integer(1)
    return sp.Integer(0) if (x, y) == (0, 1) else sp.Symbol(f"m{x}{y}", real=True)


J, g, V = (moment(x) for x in ({"r": 1}, {"r": 1, "s": 1}, {"s": 2}))
var_r = moment({"r": 2}) - J**2
ORACLE = moment({"r": 2, "s": 2}) - 2 * J * moment({"r": 1, "s": 2}) + J**2 * V - g**2
PRICE = var_r * V + g**2


def numbers(bandit):
    """(sigma_o^2, Delta, grad J) of an exact bandit, summed over the parameters."""
    rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    value, gradient = bandit.value, bandit.gradient
    norms = [sp.Add(*[x * x for x in s]) for _, _, s in rows]
    signal = sp.Add(*[x * x for x in gradient])
    spread = sp.Add(*[c * (r - value) ** 2 for c, r, _ in rows])
    inner = sp.Add(*[c * (r - value) ** 2 * n for (c, r, _), n in zip(rows, norms, strict=True)]) - signal
    return (
        inner,
        spread * sp.Add(*[c * n for (c, _, _), n in zip(rows, norms, strict=True)]) + signal,
        gradient,
    )


spread, oracle, price, zeta1, zeta2 = sp.symbols("v sigma_o Delta z1 z2", real=True)

law = sy.Claim(
    id="N2",
    title="The variance of leave-one-out at every group size, for any rewards",
    statement=sy.Statement(
        setting=(
            "One prompt, leave-one-out, any law of reward and score with finite fourth moments, any "
            "number of parameters"
        ),
        forall={G: sy.whole(2)},
        given={
            "on policy": sy.Hypothesis(
                r"the rollouts are independent and $\mathrm{E}[s] = 0$", stated_by="ours"
            )
        },
        quantities={
            spread: sy.Quantity(r"\mathrm{tr\,Cov}\,\hat g", "the total variance of the estimate"),
            oracle: sy.Quantity(r"\sigma_o^2", r"$\mathrm{tr\,Cov}[(r - J)s]$, J the mean reward"),
            price: sy.Quantity(r"\Delta", r"$\mathrm{Var}(r) \mathrm{E}\|s\|^2 + \|g\|^2$"),
            zeta1: sy.Quantity(
                r"\zeta_1",
                r"the variance of the pair kernel $h = \frac{1}{2}(r_1 - r_2)(s_1 - s_2)$ given one rollout",
            ),
            zeta2: sy.Quantity(r"\zeta_2", "the variance of h"),
        },
        goals={
            "law": sp.Eq(spread, oracle / G + price / (G * (G - 1))),
            "kernels": sp.And(sp.Eq(4 * zeta1, oracle), sp.Eq(2 * zeta2, oracle + price)),
            "by kernels": sp.Eq(spread, (4 * (G - 2) * zeta1 + 2 * zeta2) / (G * (G - 1))),
        },
    ),
    source=OURS,
    verdict="proved",
    scope="every G, every law of (reward, score), coordinates add",
    proof=(
        r"The square of $\hat g = (\sum r_i s_i - \frac{1}{G} \sum r_i \sum s_j)/(G-1)$ has a closed mean by "
        r"the patterns of equal indices, for one coordinate and a symbolic G: $\|g\|^2 + \frac{\sigma_o^2}{G} "
        r"+ \frac{\Delta}{G(G-1)}$. The estimate is also the mean of the kernel h over all pairs, and $4 "
        r"\zeta_1 = \sigma_o^2$, $2 \zeta_2 = \sigma_o^2 + \Delta$ follow from the kernel's moments, which "
        r"gives Hoeffding's form of the same law. All groups of the shipped RLOO on a bandit with three "
        r"rewards, and the engine at G = 7, have this variance."
    ),
    finding=(
        r"The first term is an oracle's that knows J; the second is the price of estimating the baseline from "
        r"the group. It falls like $1/G^2$, while at $G = 2$ it is $\Delta/2$, as large as the oracle's own "
        r"$\sigma_o^2/2$ or larger unless $\Delta < \sigma_o^2$."
    ),
)


@law.step(
    "By index patterns, G symbolic",
    route="sympy",
    shows=r"$\mathrm{E}[\hat g^2] - g^2$ and the kernel's two variances for one coordinate, from raw moments",
)
def by_patterns(extra=1, printed=0):
    second = sy.over_rollouts(((RS - R * S / G) / (G - 1)) ** 2, SUMS, G, moment)
    r, s = sp.symbols("r s")
    # E over the partner of h = (1/2)(r s - r s' - r' s + r' s'): linear in the partner's moments.
    projected = (r * s - J * s + g) / 2 - printed * g / 2
    terms = sp.Poly(sp.expand(projected**2), r, s).terms()
    first = sp.Add(*[c * moment({"r": i, "s": j}) for (i, j), c in terms]) - g**2
    kernel = RS - R * S / 2  # of a pair: (1/2)(r1 - r2)(s1 - s2)
    full_variance = sy.over_rollouts(kernel**2, SUMS, sp.Integer(2), moment) - g**2
    values = {spread: second - g**2, oracle: ORACLE, price: extra * PRICE, zeta1: first, zeta2: full_variance}
    for name in ("law", "kernels", "by kernels"):
        law.goal(name).holds(values)


@law.step(
    "Three reward levels",
    route="enumeration",
    shows="all groups of the shipped RLOO at G = 2, 3, 4, and all pairs for the kernel, in rationals",
)
def enumerated(name="rloo"):
    inner, cost, _ = numbers(THREE)
    rows = list(zip(THREE.probabilities, THREE.rewards, THREE.scores, strict=True))
    first = full_variance = sp.Integer(0)
    for j in range(3):
        table = [[(r - u) * (s[j] - t[j]) / 2 for _, u, t in rows] for _, r, s in rows]
        projection = [sum(c * x for (c, _, _), x in zip(rows, row, strict=True)) for row in table]
        mean = sum(c * x for (c, _, _), x in zip(rows, projection, strict=True))
        first += sum(c * x * x for (c, _, _), x in zip(rows, projection, strict=True)) - mean**2
        pairs = zip(itertools.product(rows, repeat=2), (x for row in table for x in row), strict=True)
        full_variance += sum(a[0] * b[0] * x * x for (a, b), x in pairs) - mean**2
    for size in (2, 3, 4):
        computed = sy.group_moments(THREE, size, sy.weights_of(catalogue.get(name))).trace_cov
        values = {spread: computed, oracle: inner, price: cost, zeta1: first, zeta2: full_variance}
        for goal in ("law", "kernels", "by kernels"):
            law.goal(goal).holds(values, at={G: size})


@law.step("The engine, G = 7", route="exact engine", shows="the same law at a larger group")
def engine_agrees(size=7):
    inner, cost, _ = numbers(THREE)
    computed = float(sy.engine(catalogue.get("rloo"), THREE, size).trace_cov)
    law.goal("law").holds({spread: computed, oracle: inner, price: cost}, at={G: 7}, tolerance=1e-11)


law.sabotage("no price for the baseline", by_patterns, extra=0)
law.sabotage("the projection without its constant g/2", by_patterns, printed=1)
law.sabotage("the group mean in place of the others' mean", enumerated, name="dr_grpo")
law.sabotage("another group size", engine_agrees, size=6)


between, inner, cost = (
    sp.Symbol(name, positive=True) for name in (r"\sigma_b^{2}", r"\sigma_o^{2}", r"\Delta")
)
at_size, following, at_two, at_star, size_star = sp.symbols("v v1 v2 v_star G_star", real=True)
x = sp.Symbol("x", positive=True)


def formula(size):
    """N times the total variance at this group size."""
    return size * between + inner + cost / (size - 1)


best = sy.Claim(
    id="N3",
    title="The best group size at a fixed number of rollouts, to the integer",
    statement=sy.Statement(
        setting=(
            r"N = QG rollouts of Q independent prompts, leave-one-out, on policy; $\sigma_b^2$ is the "
            r"variance of $\nabla J_x$ between prompts, $\sigma_o^2$ and $\Delta$ of N2 are averaged over "
            r"prompts"
        ),
        forall={
            G: sy.whole(2),
            x: sy.above(1),
            between: sy.above(0),
            inner: sy.above(0, closed=True),
            cost: sy.above(0),
        },
        quantities={
            at_size: sy.Quantity("V(G)", "N times the total variance at the group size G"),
            following: sy.Quantity("V(G+1)", "the same at G + 1"),
            at_two: sy.Quantity("V(2)", "the same at two rollouts"),
            at_star: sy.Quantity("V(G^*)", "its formula at $G^*$"),
            size_star: sy.Quantity("G^*", r"$1 + \sqrt{\Delta / \sigma_b^2}$"),
        },
        goals={
            "variance": sp.Eq(at_size, G * between + inner + cost / (G - 1)),
            "least over the reals": sp.Ge(x * between + inner + cost / (x - 1), at_star),
            "one more rollout": sp.Equivalent(at_size <= following, G * (G - 1) * between >= cost),
            "within one": sp.Implies(
                sp.And(G >= 3, G * (G - 1) * between >= cost, (G - 1) * (G - 2) * between < cost),
                sp.And(sp.Lt(G, size_star + 1), sp.Gt(G, size_star - 1)),
            ),
            "two against G": sp.Implies(G >= 3, sp.Equivalent(at_two < at_size, cost < (G - 1) * between)),
            "two as good as any": sp.Implies(sp.And(G >= 3, cost <= 2 * between), at_two <= at_size),
        },
    ),
    source=OURS,
    verdict="proved",
    scope=(
        r"every prompt law and policy, any rewards, leave-one-out (and mean-centred up to its factor), every "
        r"N that the group size divides; with $\sigma_b^2 = 0$ the variance falls for ever and $G = N$ is best"
    ),
    proof=(
        r"The law of total variance gives $\frac{1}{Q}[\sigma_b^2 + \frac{\sigma_o^2}{G} + "
        r"\frac{\Delta}{G(G-1)}]$ with $Q = N/G$, that is $V(G)/N$ with $V(G) = G \sigma_b^2 + \sigma_o^2 + "
        r"\frac{\Delta}{G-1}$. Over the reals this is least at $G^* = 1 + \sqrt{\Delta/\sigma_b^2}$. From G "
        r"to G + 1 it changes by $\sigma_b^2 - \frac{\Delta}{G(G-1)}$, so it falls while $G(G-1) < "
        r"\Delta/\sigma_b^2$ and rises from the first G on that has not; that G is within one of $G^*$. "
        r"Against two rollouts the difference is $(G-2)(\sigma_b^2 - \frac{\Delta}{G-1})$. All groups of two "
        r"prompts with a shared parameter have these variances, and the best of four sizes is the one that "
        r"the rule names."
    ),
    finding=(
        r"The best integer is the least $G \ge 2$ with $G(G-1) \ge \Delta/\sigma_b^2$, which is $\lfloor G^* "
        r"\rfloor$ or $\lceil G^* \rceil$. No N in it: more budget means more prompts, never larger groups. "
        r"The threshold for the step from G to G+1 is $\Delta/\sigma_b^2 = G(G-1)$: 2, 6, 12, 20, ... Two "
        r"rollouts are as good as any iff $\Delta \le 2\sigma_b^2$."
    ),
)


@best.step(
    "The formula and its least value, every G",
    route="smt",
    shows=r"total variance of Q prompts times N; with $y = \sqrt{\Delta/\sigma_b^2}$ all comparisons of V by z3",
)
def by_formula(prompts=1, root=1, shift=0):
    N = sp.Symbol("N", positive=True)
    batch = (prompts * between + inner / G + cost / (G * (G - 1))) * G / N
    values = {
        at_size: batch * N,
        following: formula(G + 1),
        at_two: formula(sp.Integer(2)),
        size_star: 1 + sp.sqrt(cost / between),
    }
    best.goal("variance").holds(values)
    y = root * sp.sqrt(cost / between)
    best.goal("least over the reals").holds({at_star: formula(1 + y)})
    best.goal("one more rollout").holds(values | {following: formula(G + 1 + shift)})
    for name in ("within one", "two against G", "two as good as any"):
        best.goal(name).holds(values)


PROMPTS = [
    sy.SymbolicBandit(["1/2", "1/2"], [1, 0], scores=[[sp.Rational(1, 2)], [-sp.Rational(1, 2)]]),
    sy.SymbolicBandit(["1/4", "3/4"], [0, 1], scores=[[sp.Rational(3, 4)], [-sp.Rational(1, 4)]]),
]


def variances(prompts, sizes=(2, 3, 4, 5)):
    """N times the exact variance of the shipped RLOO for two prompts with a shared parameter, at each size."""
    rloo = sy.weights_of(catalogue.get("rloo"))
    return {n: n * sy.mixture([sy.group_moments(q, n, rloo) for q in prompts]).trace_cov for n in sizes}


def averages(prompts):
    """The variance of the gradients between the prompts, and the other two numbers averaged over them."""
    rows = [numbers(q) for q in prompts]
    means = [sum(row[i] for row in rows) / len(rows) for i in (0, 1)]
    gradients = [row[2][0] for row in rows]
    centre = sum(gradients) / len(rows)
    return {between: sum((v - centre) ** 2 for v in gradients) / len(rows), inner: means[0], cost: means[1]}


@best.step(
    "Two prompts with a shared parameter",
    route="enumeration",
    shows=(
        "all groups of the shipped RLOO at G = 2 to 5, two pairs of prompts: V(G) and every comparison; "
        "the best size"
    ),
)
def two_prompts(rule=0, swap=False):
    for prompts in (PROMPTS, mirrored()):
        values, place = variances(prompts), averages(prompts)
        star = 1 + sp.sqrt(place[cost] / place[between])
        for size in (2, 3, 4):
            measured = {
                at_size: values[size + int(swap)],
                following: values[size + 1],
                at_two: values[2],
                at_star: star * place[between] + place[inner] + place[cost] / (star - 1),
                size_star: star,
            }
            for name in best.statement.goals:
                best.goal(name).holds(measured, at={G: size, x: sp.Rational(2 * size + 1, 3), **place})
        named = next(n for n in range(2 + rule, 100) if n * (n - 1) * place[between] >= place[cost])
        least = min(values, key=lambda n: values[n])
        sy.equal(values[least], values[named], f"the least variance is at G = {least}, the rule says {named}")


def mirrored():
    """Two mirrored prompts: rewards (1, 0) and (0, 1) of the same two answers, one shared logit."""
    first = PROMPTS[0]
    return [first, sy.SymbolicBandit(["1/2", "1/2"], [0, 1], scores=[list(s) for s in first.scores])]


best.sabotage("prompts that do not differ", by_formula, prompts=0)
best.sabotage("twice the root", by_formula, root=2)
best.sabotage("a threshold off by one", by_formula, shift=1)
best.sabotage("the rule started above the best size", two_prompts, rule=2)
best.sabotage("the variance of the next size", two_prompts, swap=True)


at_3, at_2, mirrored_4, mirrored_2, mirrored_3, signal, shared = sp.symbols("V3 V2 V4 M2 M3 E2 g2", real=True)
between_all, price_all = sp.symbols("b d", real=True)

never = sy.Claim(
    id="N4",
    title="Two rollouts are never better than three",
    statement=sy.Statement(
        setting=(
            "Any task, policy and reward, leave-one-out on policy at an equal number N of rollouts; a prompt "
            "costs nothing beside its rollouts"
        ),
        quantities={
            price_all: sy.Quantity(r"\Delta", "the price of the baseline (N2), averaged over prompts"),
            signal: sy.Quantity(
                r"\mathrm{E}\|\nabla J_x\|^2", "the mean squared norm of a prompt's gradient"
            ),
            between_all: sy.Quantity(r"\sigma_b^2", r"the variance of $\nabla J_x$ between prompts"),
            shared: sy.Quantity(r"\|\nabla J\|^2", "the squared norm of the whole gradient"),
            at_2: sy.Quantity("V(2)", "N times the total variance at two rollouts per prompt"),
            at_3: sy.Quantity("V(3)", "that at three"),
            mirrored_2: sy.Quantity(
                "M(2)",
                "V(2) for two mirrored prompts of two answers, rewards (1, 0) and (0, 1), one shared logit",
            ),
            mirrored_3: sy.Quantity("M(3)", "V(3) for them"),
            mirrored_4: sy.Quantity("M(4)", "V(4) for them"),
        },
        goals={
            "price": sp.Ge(price_all, 2 * signal),
            "signal": sp.Eq(signal, between_all + shared),
            "never better": sp.Le(at_3, at_2),
            "strictly worse": sp.Implies(shared > 0, at_3 < at_2),
            "equal case": sp.And(sp.Eq(mirrored_2, mirrored_3), mirrored_3 < mirrored_4),
        },
        lemmas={
            "bound": sy.Lemma(sp.Ge(price_all, 2 * signal)),
            "parts": sy.Lemma(sp.Eq(signal, between_all + shared)),
        },
    ),
    source=OURS,
    verdict="proved",
    scope=(
        "every prompt law, policy, reward and number of parameters; leave-one-out and mean-centred "
        "advantages, and for binary rewards also the standardised ones (at G = 2 and 3 they are multiples, "
        "B6b)"
    ),
    proof=(
        r"For independent copies of reward and score, $\mathrm{E}[((r - J)s' - (r' - J)s)^2] = "
        r"2(\mathrm{Var}(r)\mathrm{E}s^2 - g^2)$ in every coordinate, and a mean square is not negative: so "
        r"$\Delta \ge 2\|\nabla J_x\|^2$ for each prompt. Over prompts $\mathrm{E}\|\nabla J_x\|^2 = "
        r"\sigma_b^2 + \|\nabla J\|^2$. By N3 $V(3) - V(2) = \sigma_b^2 - \Delta/2$, which is at most "
        r"$-\|\nabla J\|^2 \le 0$. Two mirrored prompts have $\nabla J = 0$ and equality; there four rollouts "
        r"are worse than two."
    ),
    finding=(
        r"Two beat sixteen iff $\Delta < 15\sigma_b^2$: possible, when prompts pull in different directions. "
        r"Two beat three: never; equal only if $r - J_x$ is a fixed multiple of the score along one direction "
        r"on every prompt and $\nabla J = 0$. The pair's case is one of wall clock or of large groups being "
        r"wasteful, not of two being the best size."
    ),
)


@never.step(
    "A mean square",
    route="sympy",
    shows=r"$\mathrm{E}[((r - J)s' - (r' - J)s)^2]$ from raw moments; gradients of two prompts in sum and difference",
)
def squares(sign=-1, spread_of=1):
    r, s, r2, s2 = sp.symbols("r s r2 s2")
    square = ((r - J) * s2 + sign * (r2 - J) * s) ** 2
    total = sp.Integer(0)
    for (i, j, m, n), c in sp.Poly(sp.expand(square), r, s, r2, s2).terms():
        total += c * moment({"r": i, "s": j}) * moment({"r": m, "s": n})
    mean_square = sp.Symbol("Q", nonnegative=True)
    # Delta - 2 g^2 is half of the mean square: put it in place of the moments.
    sy.equal(PRICE, total / 2 + 2 * g**2, "the price of the baseline")
    for name in ("price", "bound"):
        never.goal(name).holds({price_all: mean_square / 2 + 2 * g**2, signal: g**2})
    u, v = sp.symbols("u v", real=True)
    centre = (u + v) / 2
    gaps = spread_of * ((u - centre) ** 2 + (v - centre) ** 2) / 2
    for name in ("signal", "parts"):
        never.goal(name).holds({signal: (u**2 + v**2) / 2, between_all: gaps, shared: centre**2})


@never.step(
    "From two to three",
    route="smt",
    shows=(
        r"$V(3) - V(2) = \sigma_b^2 - \Delta/2$ with $\Delta \ge 2(\sigma_b^2 + \|\nabla J\|^2)$; the "
        r"mirrored prompts' formula"
    ),
)
def step_down(factor=2, mirror=None):
    b, o, d, e, w = sp.symbols("B O D E W", nonnegative=True)
    value = lambda size: size * b + o + d / sp.Integer(size - 1)  # noqa: E731
    values = {at_3: value(3), at_2: value(2), shared: w, signal: e, price_all: d, between_all: b}
    using = {
        "bound": {price_all: 2 * d / factor, signal: e},
        "parts": {signal: e, between_all: b, shared: w},
    }
    never.goal("never better").holds(values, using=using)
    never.goal("strictly worse").holds(values, using=using)
    never.goal("price").holds({price_all: 2 * b + 2 * w + o, signal: b + w})
    never.goal("signal").holds({signal: b + w, between_all: b, shared: w})
    rows = averages(mirror or mirrored())
    sizes = {m: formula(sp.Integer(m)).subs(rows) for m in (2, 3, 4)}
    never.goal("equal case").holds({mirrored_2: sizes[2], mirrored_3: sizes[3], mirrored_4: sizes[4]})


@never.step(
    "Exact prompts",
    route="enumeration",
    shows=(
        "all groups of the shipped RLOO for two pairs of prompts with a shared parameter: all quantities "
        "in rationals"
    ),
)
def exact_prompts(mirror=True, sizes=(2, 3)):
    for prompts in (PROMPTS, mirrored()):
        computed, rows = variances(prompts, (2, 3)), averages(prompts)
        gradients = [numbers(q)[2][0] for q in prompts]
        values = {
            price_all: rows[cost],
            signal: sum(v**2 for v in gradients) / 2,
            between_all: rows[between],
            shared: (sum(gradients) / 2) ** 2,
            at_2: computed[sizes[0]],
            at_3: computed[sizes[1]],
        }
        for name in ("price", "signal", "never better", "strictly worse"):
            never.goal(name).holds(values)
    variance_table = variances(mirrored() if mirror else PROMPTS, (2, 3, 4))
    never.goal("equal case").holds(
        {mirrored_2: variance_table[2], mirrored_3: variance_table[3], mirrored_4: variance_table[4]}
    )
    return sy.Exhibit(text=f"N times the variance of the mirrored prompts at G = 2, 3, 4: {variance_table}")


@never.step(
    "The engine",
    route="exact engine",
    shows="three prompts with their own logits: N times the variance at G = 2 and 3",
)
def three_prompts(sizes=(2, 3)):
    prompts = [sy.SymbolicBandit([q, 1 - sp.Rational(q)], [1, 0]) for q in ("1/2", "1/4", "1/10")]
    values = [size * float(sy.engine(catalogue.get("rloo"), prompts, size).trace_cov) for size in sizes]
    pair = {at_2: values[0], at_3: values[1]}
    never.goal("never better").holds(pair, tolerance=1e-12)
    sy.below(values[1], values[0], 1e-12, f"the variance at G = {sizes[1]} below that at G = {sizes[0]}")


never.sabotage("the other sign in the square", squares, sign=1)
never.sabotage("half of the spread", squares, spread_of=sp.Rational(1, 2))
never.sabotage("the bound without its factor 2", step_down, factor=1)
never.sabotage("other prompts for the equal case", step_down, mirror=PROMPTS)
never.sabotage("prompts that are no mirror images", exact_prompts, mirror=False)
never.sabotage("the sizes exchanged", exact_prompts, sizes=(3, 2))
never.sabotage("two called better than three", three_prompts, sizes=(3, 2))
