"""N5: when the expected update of a pair scheme is the gradient of an objective."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="N5",
    title="A pair scheme has an objective iff its advantage is a difference of transformed rewards",
    statement=(
        r"Let a pair of rollouts with rewards a, b get the advantages $t(a, b)$ and $t(b, a) = -t(a, b)$. For a softmax over answers the expected update is the gradient of a function of the policy, for every policy, iff "
        r"$t(a, b) + t(b, c) = t(a, c)$ for all rewards that occur, that is $t(a, b) = f(a) - f(b)$; the objective is then $\mathrm{E}[f(r)]$. With two reward levels this always holds."
    ),
    source=sy.Source("this project", "", "from the ledger's rows A16 and B9"),
    verdict="proved",
    ours=True,
    scope="any number of answers and reward levels; G = 2, on policy, advantages that depend on the two rewards only",
    finding=(
        r"Centred pairs climb the mean reward ($f(r) = r/2$). Standardised pairs have $t = \mathrm{sign}(a - b)$ and softmax pairs $\tanh\frac{a-b}{2\tau}$: not additive on three levels, so no objective; the sign field is that of a game, the chance to beat "
        r"another rollout, in which both players move."
    ),
)


def field(pi, t):
    """E ghat in the logits: F_a = pi_a sum_k pi_k t_ak (antisymmetric t, so that sum_a F_a = 0)."""
    return [pi[a] * sp.Add(*[pi[k] * t[a][k] for k in range(len(pi))]) for a in range(len(pi))]


def antisymmetric(size):
    t = [[sp.Integer(0)] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1, size):
            t[i][j] = sp.Symbol(f"t{i + 1}{j + 1}", real=True)
            t[j][i] = -t[i][j]
    return t


@claim.step(
    "The curl, four answers",
    route="sympy",
    shows=(
        r"with $F_a = \pi_a u_a$, $u_a = \sum_k \pi_k t_{ak}$ and logits $\theta$: $\partial_b F_a - \partial_a F_b = 2\pi_a\pi_b (t_{ab} - u_a + u_b)$, all entries symbolic; "
        r"the same sum for any number of answers, because other answers enter only through $u_a$ and $u_b$"
    ),
)
def curl(factor=2):
    theta = sp.symbols("theta1:5", real=True)
    total = sp.Add(*[sp.exp(x) for x in theta])
    pi = [sp.exp(x) / total for x in theta]
    names = sp.symbols("pi1:5", positive=True)
    t = antisymmetric(4)
    F = field(names, t)
    # d pi_k / d theta_b = pi_k (delta_kb - pi_b), checked on the softmax itself.
    sy.equal(sp.diff(pi[0], theta[1]), -pi[0] * pi[1], "the softmax's derivative")
    sy.equal(sp.diff(pi[0], theta[0]), pi[0] * (1 - pi[0]), "the softmax's own derivative")

    def derivative(expression, b):
        return sp.Add(
            *[sp.diff(expression, names[k]) * names[k] * ((1 if k == b else 0) - names[b]) for k in range(4)]
        )

    u = [sp.Add(*[names[k] * t[a][k] for k in range(4)]) for a in range(4)]
    for a, b in ((0, 1), (1, 3), (2, 0)):
        computed = derivative(F[a], b) - derivative(F[b], a)
        sy.equal(
            computed,
            factor * names[a] * names[b] * (t[a][b] - u[a] + u[b]),
            f"the curl of entries {a + 1}, {b + 1}",
        )


@claim.step(
    "Zero for every policy iff additive",
    route="smt",
    shows=r"if $t_{12} = u_1 - u_2$ at all $\pi$ on the edge towards a third answer ($\pi_3 \to 1$: $u_1 - u_2 = t_{13} - t_{23}$), t is additive; conversely additivity gives $u_1 - u_2 = t_{12}\sum_k \pi_k$",
)
def additive(drop=False):
    t12, t13, t23, x, y, z = sp.symbols("t12 t13 t23 x y z", real=True)
    chances = [x >= 0, y >= 0, z >= 0, sp.Eq(x + y + z, 1)]
    u1, u2 = y * t12 + z * t13, -x * t12 + z * t23
    hypothesis = [] if drop else [sp.Eq(t12 + t23, t13)]
    sy.require(sy.smt_valid([*chances, *hypothesis], sp.Eq(t12, u1 - u2)), "additive schemes have no curl")
    corner = [sp.Eq(x, 0), sp.Eq(y, 0), sp.Eq(z, 1), sp.Eq(t12, u1 - u2)]
    sy.require(sy.smt_valid(corner, sp.Eq(t12 + t23, t13)), "no curl near the corner makes it additive")


@claim.step(
    "The objective of an additive scheme",
    route="sympy",
    shows=r"$t_{ab} = f_a - f_b$ gives $F_a = \pi_a (f_a - \bar f)$, the gradient of $\sum \pi_a f_a$ in the logits",
)
def objective(scale=1):
    f = sp.symbols("f1:4", real=True)
    x, y = sp.symbols("pi1 pi2", positive=True)
    pi = (x, y, 1 - x - y)
    t = [[scale * (a - b) for b in f] for a in f]
    mean = sp.Add(*[c * v for c, v in zip(pi, f, strict=True)])
    for computed, c, v in zip(field(pi, t), pi, f, strict=True):
        sy.equal(computed, c * (v - mean), "the gradient of the mean of f")


PAIRS: tuple[tuple[str, dict[str, float], bool], ...] = (
    ("rloo", {}, True),
    ("grpo", {"eps": 0.0}, False),
    ("softmax", {"temperature": 1.0}, False),
)


@claim.step(
    "Three shipped pair schemes",
    route="traced code",
    shows="rewards 0, 1, 3: traced pair advantages of RLOO are additive, those of GRPO and softmax are not; at 0, 1, 1 all are",
)
def traced(levels=(0, 1, 3)):
    for name, settings, wanted in PAIRS:
        weights = sy.weights_of(catalogue.get(name, **settings))
        t = lambda a, b, w=weights: 2 * w((sp.Integer(a), sp.Integer(b)))[0]  # noqa: E731
        for chosen, expected in ((levels, wanted), ((0, 1, 1), True)):
            a, b, c = chosen
            sy.equal(t(a, b), -t(b, a), f"{name} is antisymmetric")
            gap = sp.simplify(t(a, b) + t(b, c) - t(a, c))
            sy.require((gap == 0) == expected, f"{name} at {chosen}: additive up to {gap}")


@claim.step(
    "The field is the engine's",
    route="exact engine",
    shows=r"GRPO pairs on $\pi = (1/2, 1/3, 1/6)$, rewards (0, 1, 3): $F_a = \pi_a \sum_k \pi_k\, \mathrm{sign}(r_a - r_k)$",
)
def same_field(order=(0, 1, 3)):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, 3])
    estimator = catalogue.get("grpo", eps=0.0)
    exact = sy.group_moments(bandit, 2, sy.weights_of(estimator))
    t = [[sp.sign(sp.Integer(a - b)) for b in order] for a in order]
    sy.equal(exact.mean, field(bandit.probabilities, t), "the field")
    sy.engines_agree(sy.engine(estimator, bandit, 2), exact, "GRPO pairs")
    return sy.Exhibit(text=f"field {exact.mean}")


claim.sabotage("half the curl", curl, factor=1)
claim.sabotage("any antisymmetric scheme", additive, drop=True)
claim.sabotage("twice the advantages", objective, scale=2)
claim.sabotage("two levels", traced, levels=(0, 1, 1))
claim.sabotage("another order of the rewards", same_field, order=(1, 0, 3))
