"""N5: when the expected update of a pair scheme is the gradient of an objective."""

import itertools

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

n = sp.Symbol("n", integer=True, positive=True)
curl, pi_a, pi_b, t_ab, u_a, u_b, t_ac, t_bc = sp.symbols("C pi_a pi_b t_ab u_a u_b t_ac t_bc", real=True)
field_entry, slope, gap_loo, gap_grpo, gap_softmax, gap_two = sp.symbols("F_a D d1 d2 d3 d4", real=True)
near_a, near_b = sp.symbols("z_a z_b", real=True)

claim = sy.Claim(
    id="N5",
    title="A pair scheme has an objective iff its advantage is a difference of transformed rewards",
    statement=sy.Statement(
        setting=(
            r"A softmax over n answers with logits $\theta$ and chances $\pi$; pairs on policy whose rollouts "
            r"a, b get the advantages $t_{ab} = -t_{ba}$, so that $\mathrm{E}\hat g$ has the entries $F_a = "
            r"\pi_a u_a$, $u_a = \sum_k \pi_k t_{ak}$"
        ),
        forall={n: sy.whole(3)},
        quantities={
            curl: sy.Quantity(
                r"\partial_b F_a - \partial_a F_b",
                "the derivatives of two entries by the other's logit, equal for a gradient",
            ),
            pi_a: sy.Quantity(r"\pi_a", "the chance of answer a"),
            pi_b: sy.Quantity(r"\pi_b", "that of answer b"),
            t_ab: sy.Quantity("t_{ab}", "the advantage of a against b"),
            t_ac: sy.Quantity("t_{ac}", "that of a against any third answer c"),
            t_bc: sy.Quantity("t_{bc}", "that of b against c"),
            u_a: sy.Quantity("u_a", "the mean advantage of a"),
            u_b: sy.Quantity("u_b", "the mean advantage of b"),
            near_a: sy.Quantity(r"u_a^c", r"$u_a$ where $\pi_c$ is one"),
            near_b: sy.Quantity(r"u_b^c", r"$u_b$ where $\pi_c$ is one"),
            field_entry: sy.Quantity("F_a", r"the entry where $t_{ab} = f_a - f_b$ for all pairs"),
            slope: sy.Quantity(
                r"\partial_a \mathrm{E}[f]", "the derivative of the mean of f by the logit of a"
            ),
            gap_loo: sy.Quantity(
                r"d_{\text{RLOO}}", r"$t_{ab} + t_{bc} - t_{ac}$ of RLOO at the rewards 0, 1, 3"
            ),
            gap_grpo: sy.Quantity(r"d_{\text{GRPO}}", "the same of GRPO"),
            gap_softmax: sy.Quantity(r"d_{\text{softmax}}", "the same of the softmax advantage"),
            gap_two: sy.Quantity(
                "d_2", r"$t_{ab} + t_{bc} - t_{ac}$ of each of the three schemes at the rewards 0, 1, 1"
            ),
        },
        goals={
            "curl": sp.Eq(curl, 2 * pi_a * pi_b * (t_ab - u_a + u_b)),
            "additive has none": sp.Implies(sp.Eq(t_ab + t_bc, t_ac), sp.Eq(t_ab, u_a - u_b)),
            "none only if additive": sp.Implies(sp.Eq(t_ab, near_a - near_b), sp.Eq(t_ab + t_bc, t_ac)),
            "objective": sp.Eq(field_entry, slope),
            "shipped schemes": sp.And(
                sp.Eq(gap_loo, 0), sp.Ne(gap_grpo, 0), sp.Ne(gap_softmax, 0), sp.Eq(gap_two, 0)
            ),
        },
    ),
    source=sy.Source("this project", "", "from the ledger's rows A16 and B9", relation="ours"),
    verdict="proved",
    scope="any number of answers and reward levels; G = 2, on policy, advantages that depend on the two rewards only",
    proof=(
        r"The softmax has $\partial_b \pi_k = \pi_k (1\{k = b\} - \pi_b)$, and the chain rule gives the curl "
        r"$2 \pi_a \pi_b (t_{ab} - u_a + u_b)$ for any number of answers. If t is additive, $u_a - u_b = "
        r"\sum_k \pi_k (t_{ak} - t_{bk}) = t_{ab}$ and the curl is zero everywhere; it is then the gradient "
        r"of $\mathrm{E}[f(r)]$ with $t_{ab} = f(a) - f(b)$. If the curl is zero for every policy it is so, "
        r"by continuity, where a third answer has the chance one, and there $u_a - u_b = t_{ac} - t_{bc}$, "
        r"which is additivity. Of the shipped pairs RLOO's are additive, those of GRPO and softmax are not on "
        r"three levels; with two levels all are."
    ),
    finding=(
        r"Centred pairs climb the mean reward ($f(r) = r/2$). Standardised pairs have $t = \mathrm{sign}(a - "
        r"b)$ and softmax pairs $\tanh\frac{a-b}{2\tau}$: not additive on three levels, so no objective; the "
        r"sign field is that of a game, the chance to beat another rollout, in which both players move."
    ),
)


@claim.step(
    "Any number of answers",
    route="sympy",
    shows=(
        r"a and b apart, the others in the sums $X = \sum_c \pi_c t_{ac}$ and $Y = \sum_c \pi_c t_{bc}$, "
        r"by the chain rule"
    ),
)
def any_number(factor=1, scale=1):
    x, y = sp.symbols("x y", positive=True)
    t, X, Y = sp.symbols("t X Y", real=True)
    mean_a, mean_b = y * t + X, -x * t + Y
    # d pi_k / d theta_b = pi_k (1{k=b} - pi_b); so d X / d theta_b = -pi_b X for c other than a and b.
    by_b = -x * y * mean_a + x * (y * (1 - y) * t - factor * y * X)
    by_a = -x * y * mean_b + y * (-x * (1 - x) * t - factor * x * Y)
    values = {curl: by_b - by_a, pi_a: x, pi_b: y, t_ab: t, u_a: mean_a, u_b: mean_b}
    claim.goal("curl").holds(values)
    transformed, mean = sp.symbols("f_a fbar", real=True)
    rest = mean - x * transformed  # the sum of pi_k f_k over the others
    values = {field_entry: scale * x * (transformed - mean), slope: x * (1 - x) * transformed - x * rest}
    claim.goal("objective").holds(values)
    value = lambda a, b: (a - b) / sp.Integer(2)  # noqa: E731
    claim.goal("shipped schemes").holds(schemes(value, sp.sign, lambda z: sp.tanh(z / sp.Rational(3, 5))))


def schemes(loo, grpo, softmax):
    """The gaps of the three pair schemes, from their advantages as functions of two rewards or of their difference."""

    def gap(t, levels):
        a, b, c = map(sp.Integer, levels)
        return sp.simplify(t(a, b) + t(b, c) - t(a, c))

    by_difference = [lambda a, b, f=f: f(a - b) for f in (grpo, softmax)]
    rules = (loo, *by_difference)
    gaps = [gap(t, (0, 1, 3)) for t in rules]
    (gap_on_two,) = {gap(t, (0, 1, 1)) for t in rules}
    return {gap_loo: gaps[0], gap_grpo: gaps[1], gap_softmax: gaps[2], gap_two: gap_on_two}


@claim.step(
    "Additive and not",
    route="smt",
    shows=(
        "$u_a - u_b$ with a third answer of the chance z, all t free: $t_{ab}$ if additive; at $z = 1$ "
        "only if additive"
    ),
)
def additive(drop=0):
    x, y, z = sp.symbols("x y z", nonnegative=True)
    t, ac, bc = sp.symbols("t12 t13 t23", real=True)
    # With more answers t13 and t23 are means over them, by their chances: additivity passes to these means.
    mean_a, mean_b = y * t + z * ac, -x * t + z * bc * (1 - drop)
    values = {t_ab: t, t_ac: ac, t_bc: bc, u_a: mean_a, u_b: mean_b}
    claim.goal("additive has none").holds(values, where=[sp.Eq(x + y + z, 1)])
    corner = {near_a: mean_a.subs({x: 0, y: 0, z: 1}), near_b: mean_b.subs({x: 0, y: 0, z: 1})}
    claim.goal("none only if additive").holds(values | corner)


def pair_field(pi, t):
    """E ghat in the logits: F_a = pi_a sum_k pi_k t_ak."""
    return [pi[a] * sp.Add(*[pi[c] * t[a][c] for c in range(len(pi))]) for a in range(len(pi))]


@claim.step(
    "In numbers",
    route="enumeration",
    shows="softmax policies over three and four answers in rationals, derivatives of the softmax itself; five schemes",
)
def numbers(factor=1):
    for chances, levels in (((1, 2, 3), (0, 1, 3)), ((2, 1, 1, 4), (0, 1, 3, -2))):
        size = len(chances)
        weights = sp.symbols(f"e1:{size + 1}", positive=True)  # e^theta: d/dtheta = e d/de
        pi = [w / sp.Add(*weights) for w in weights]
        logits = dict(zip(weights, chances, strict=True))
        law = [x.subs(logits) for x in pi]
        for name, rule in (("additive", lambda a, b: a**2 - b**2), ("sign", lambda a, b: sp.sign(a - b))):
            t = [[sp.sympify(rule(sp.Integer(a), sp.Integer(b))) for b in levels] for a in levels]
            F = pair_field(pi, t)
            u = [sp.Add(*[law[c] * t[a][c] for c in range(size)]) for a in range(size)]
            for a, b in itertools.permutations(range(size), 2):
                c = next(i for i in range(size) if i not in (a, b))
                slopes = [weights[j] * sp.diff(F[i], weights[j]) for i, j in ((a, b), (b, a))]
                values = {
                    curl: factor * (slopes[0] - slopes[1]).subs(logits),
                    pi_a: law[a], pi_b: law[b], t_ab: t[a][b], t_ac: t[a][c], t_bc: t[b][c], u_a: u[a], u_b: u[b],
                    near_a: t[a][c], near_b: t[b][c],
                }  # fmt: skip
                claim.goal("curl").holds(values, at={n: size})
                claim.goal("none only if additive").holds(values, at={n: size})
                if name == "additive":
                    claim.goal("additive has none").holds(values, at={n: size})
            if name == "additive":
                mean = sp.Add(*[x * level**2 for x, level in zip(pi, levels, strict=True)])
                for a in range(size):
                    values = {
                        field_entry: F[a].subs(logits),
                        slope: (weights[a] * sp.diff(mean, weights[a])).subs(logits),
                    }
                    claim.goal("objective").holds(values, at={n: size})


@claim.step(
    "Three shipped pair schemes",
    route="traced code",
    shows="traced pair advantages of RLOO, GRPO and softmax with their defaults at the rewards 0, 1, 3 and 0, 1, 1",
)
def traced(names=("rloo", "grpo", "softmax")):
    rules = []
    for name in names:
        weights = sy.weights_of(catalogue.get(name))
        rules.append(lambda a, b, w=weights: 2 * w((a, b))[0])
    gaps = [[gap_of(rule, levels) for rule in rules] for levels in ((0, 1, 3), (0, 1, 1))]
    for gap_on_two in gaps[1]:
        values = {gap_loo: gaps[0][0], gap_grpo: gaps[0][1], gap_softmax: gaps[0][2], gap_two: gap_on_two}
        claim.goal("shipped schemes").holds(values)


def gap_of(rule, levels):
    a, b, c = map(sp.Integer, levels)
    sy.equal(rule(a, b), -rule(b, a), "the advantages of a pair are opposite")
    return sp.simplify(rule(a, b) + rule(b, c) - rule(a, c))


@claim.step(
    "The field is the engine's",
    route="exact engine",
    shows=(
        r"RLOO's pairs on $\pi = (1/2, 1/3, 1/6)$, rewards 0, 1, 3: the derivative of $\mathrm{E}[r/2]$; "
        r"GRPO's field is sign's"
    ),
)
def same_field(order=(0, 1, 3)):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, 3])
    moments = sy.engine(catalogue.get("rloo"), bandit, 2)
    loo = [[sp.Rational(a - b) for b in order] for a in order]
    sy.engines_agree(moments, sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("rloo"))), "RLOO pairs")
    values = {field_entry: pair_field(bandit.probabilities, loo), slope: np.asarray(moments.mean).reshape(-1)}
    claim.goal("objective").holds(values, at={n: 3}, tolerance=1e-11)
    exact = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("grpo", eps=0.0)))
    t = [[sp.sign(sp.Integer(a - b)) for b in (0, 1, 3)] for a in (0, 1, 3)]
    sy.equal(exact.mean, pair_field(bandit.probabilities, t), "GRPO's field")
    return sy.Exhibit(text=f"GRPO's field {exact.mean}")


claim.sabotage("a softmax whose other chances do not move", any_number, factor=0)
claim.sabotage("twice the advantages", any_number, scale=2)
claim.sabotage("a third answer that b does not meet", additive, drop=1)
claim.sabotage("half the curl", numbers, factor=sp.Rational(1, 2))
claim.sabotage("GRPO for RLOO", traced, names=("grpo", "grpo", "softmax"))
claim.sabotage("RLOO for GRPO", traced, names=("rloo", "rloo", "softmax"))
claim.sabotage("another order of the rewards", same_field, order=(1, 0, 3))
