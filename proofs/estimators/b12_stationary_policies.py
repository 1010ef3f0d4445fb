"""B12: GRPO's stationary policies for two answers, and which KL divergence its penalty follows."""

import sympy as sp
from _binary import standardised

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, penalty, surrogate

SOURCE = sy.Source(
    "2502.18548",
    "v3",
    "the binary question with groups of two, and the penalty's section (abstract and figure of the paper seen, its equations as in the ledger)",
)
p, ref = sp.symbols("p p_ref", positive=True)
beta = sp.Symbol("beta", positive=True)
margin = sp.Symbol("gamma", positive=True)

stationary = sy.Claim(
    id="B12a",
    title="Two answers, groups of two: the stationary policy in closed form",
    statement=(
        r"Let answer a be preferred to b with margin $\gamma = P(r_a > r_b) - P(r_a < r_b)$, and q the reference's chance of a. GRPO with $G = 2$ and the penalty $\beta$ times k3 is stationary at $p = \frac{1}{2}\left[1 - c + \sqrt{(1-c)^2 + 4cq}\right]$, "
        r"$c = \beta/\gamma$: the root in $(q, 1)$ of $p^2 + (c - 1)p - cq = 0$. For fixed rewards $\gamma = 1$."
    ),
    source=SOURCE,
    verdict="proved",
    scope="every 0 < q < 1, beta > 0, 0 < gamma <= 1; population std, no epsilon, on policy at the stationary point (pi_old = pi)",
    hypotheses=("a softmax over the two answers, so that only p moves",),
    finding=r"It is no logarithmic pooling: $p - q = \frac{\gamma}{\beta} p(1-p)$, so an answer that the reference never gives stays at p = 0, or jumps to $1 - c$ once $\beta < \gamma$. The sample std replaces $\beta$ by $\sqrt{2}\beta$.",
)


@stationary.step(
    "The equation",
    route="sympy",
    shows=r"the reward pulls with $w_2 \gamma = \gamma$ on $\nabla p$, the penalty with $\frac{d}{dp} \mathrm{KL}(\mathrm{ref}\|\pi) = \frac{p-q}{p(1-p)}$ times $\beta$; both in the same direction $\nabla p$",
)
def equation(ddof=0):
    q = ref
    sy.equal(sy.prompt_weight(standardised(2, ddof), 2, p), 1, "the pair's weight")
    divergence = q * sp.log(q / p) + (1 - q) * sp.log((1 - q) / (1 - p))
    sy.equal(sp.diff(divergence, p), (p - q) / (p * (1 - p)), "the penalty's slope")
    c = beta / margin
    root = (1 - c + sp.sqrt((1 - c) ** 2 + 4 * c * q)) / 2
    sy.equal(root**2 + (c - 1) * root - c * q, 0, "the closed form solves the quadratic")
    sy.equal(
        (margin * p * (1 - p) - beta * (p - q)) / margin,
        -(p**2 + (c - 1) * p - c * q),
        "the quadratic is the balance of the two pulls",
    )


@stationary.step(
    "One root, between q and 1",
    route="smt",
    shows=r"$f(p) = p^2 + (c-1)p - cq$ has $f(q) = -q(1-q) < 0 < f(1) = c(1-q)$, and no second root above 0; the update pushes towards it from both sides",
)
def root_place(low=1):
    c, x, y = sp.symbols("c x y", real=True)
    inside = [c > 0, ref > 0, ref < 1]
    f = lambda t: t**2 + (c - 1) * t - c * ref  # noqa: E731
    sy.require(sy.smt_valid(inside, sp.And(f(low * ref) < 0, f(sp.Integer(1)) > 0)), "the signs at q and 1")
    sy.require(
        sy.smt_valid([*inside, x > 0, y > 0, sp.Eq(f(x), 0), sp.Eq(f(y), 0)], sp.Eq(x, y)),
        "one positive root",
    )
    sy.require(
        sy.smt_valid([*inside, x > 0, y > 0, sp.Eq(f(x), 0), y < x], f(y) < 0),
        "below the root the update rises",
    )


@stationary.step(
    "The shipped GRPO with its penalty",
    route="exact engine",
    shows=r"q = 3/8, $\beta = 1/2$: the closed form is 3/4; the engine's expected update there is zero at G = 2, and not at p = 7/10",
)
def shipped_engine(chance="3/4", strength=0.5):
    import jax
    import jax.numpy as jnp
    import numpy as np

    q, c = sp.Rational(3, 8), sp.Rational(1, 2)
    sy.equal((1 - c + sp.sqrt((1 - c) ** 2 + 4 * c * q)) / 2, sp.Rational(3, 4), "the closed form")
    with jax.enable_x64(True):
        reference = jnp.log(jnp.asarray([[0.375, 0.625]]))
    chance = sp.Rational(chance)
    moments = sy.engine(
        catalogue.get("grpo", eps=0.0, beta=strength),
        sy.SymbolicBandit([chance, 1 - chance], [1, 0]),
        2,
        ref_params=reference,
    )
    sy.require(
        np.max(np.abs(moments.mean)) < 1e-12, f"the update there is {np.max(np.abs(moments.mean)):.3g}"
    )


stationary.sabotage("the sample standard deviation", equation, ddof=1)
stationary.sabotage("a root above 4 q", root_place, low=4)
stationary.sabotage("another point", shipped_engine, chance="7/10")


pull = sy.Claim(
    id="B12b",
    title="The k3 penalty as a loss pulls with the gradient of KL(ref || pi), not of KL(pi || ref)",
    statement=r"On policy, $\mathrm{E}_\pi[\nabla k_3] = \nabla\, \mathrm{KL}(\pi_{\mathrm{ref}} \| \pi)$ with $k_3 = \frac{\pi_{\mathrm{ref}}}{\pi} - 1 - \log\frac{\pi_{\mathrm{ref}}}{\pi}$, although $\mathrm{E}_\pi[k_3] = \mathrm{KL}(\pi \| \pi_{\mathrm{ref}})$.",
    source=SOURCE,
    verdict="proved",
    scope="every number of answers K (a sum over answers), every pi and ref with the same support; on policy (first step)",
    finding="The value is that of one divergence, the gradient that of the other. The two agree to first order at pi = ref, and differ most where the reference gives chances that pi has dropped: the pull back is strong there.",
)


@pull.step(
    "Answer by answer",
    route="sympy",
    shows=r"$\frac{d k_3}{d \log \pi} = 1 - \frac{\pi_{\mathrm{ref}}}{\pi}$, so the mean over $\pi$ of its product with the score is $-\sum \pi_{\mathrm{ref}} \nabla \log \pi = \nabla\, \mathrm{KL}(\pi_{\mathrm{ref}}\|\pi)$ (the 1 drops out: $\mathrm{E}\,s = 0$)",
)
def by_answer(reverse=False):
    x, r = sp.symbols("x r", positive=True)
    L = sp.log(x)
    k3 = r / sp.exp(L) - 1 - (sp.log(r) - L)
    sy.equal(sp.diff(r / x - 1 - sp.log(r / x), x) * x, 1 - r / x, "the slope in log pi")
    sy.equal(k3, r / x - 1 - sp.log(r / x), "k3")
    # pi (1 - r/pi) s summed over answers, against d/dtheta of sum r log(r/pi), or of sum pi log(pi/r) for the sabotage.
    drift = sp.Symbol("s", real=True)
    claimed = -r * drift if not reverse else x * drift * sp.log(x / r)
    sy.equal(x * (1 - r / x) * drift - x * drift, claimed, "an answer's part, less its part of E[s] = 0")


@pull.step(
    "The shipped penalty",
    route="traced code",
    shows=r"the traced derivative of the objective's penalty by log pi, symbolic ratio: $-\beta(1 - \pi_{\mathrm{ref}}/\pi)$",
)
def traced(kind="k3"):
    import jax

    x = sy.symbols("x", (1, 1, 1))
    y = sy.symbols("y", (1, 1, 1))
    slope = sy.trace(jax.grad(lambda a, b: getattr(penalty, kind)(a, b).sum()), x, y).reshape(-1)[0]
    sy.equal(slope, 1 - sp.exp(y.flat[0] - x.flat[0]), "the penalty's slope")


@pull.step(
    "Three answers",
    route="exact engine",
    shows=r"no reward, penalty only: the engine's expected update is minus the gradient of $\mathrm{KL}(\mathrm{ref}\|\pi)$ in the logits, which is $\pi - \mathrm{ref}$",
)
def three(reverse=False):
    import jax
    import jax.numpy as jnp
    import numpy as np

    chances, reference = ["1/2", "1/3", "1/6"], [sp.Rational(1, 4), sp.Rational(1, 4), sp.Rational(1, 2)]
    bandit = sy.SymbolicBandit(chances, [0, 0, 0])
    only = compose(
        advantage=advantage.group_mean,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        penalty=penalty.k3,
    )
    with jax.enable_x64(True):
        logits = jnp.log(jnp.asarray([[float(x) for x in reference]]))
    computed = np.asarray(sy.engine(only, bandit, 2, ref_params=logits).mean).reshape(-1)
    pi = bandit.probabilities
    forward = [x - r for x, r in zip(pi, reference, strict=True)]
    total = sp.Add(*[x * sp.log(x / r) for x, r in zip(pi, reference, strict=True)])
    backward = [x * (sp.log(x / r) - total) for x, r in zip(pi, reference, strict=True)]
    claimed = backward if reverse else forward
    gap = max(abs(f + float(c)) for f, c in zip(computed, claimed, strict=True))
    sy.require(gap < 1e-12, f"the update differs by {gap:.3g}")
    return sy.Exhibit(text=f"update {np.round(computed, 6).tolist()}")


pull.sabotage("the gradient of KL(pi || ref)", by_answer, reverse=True)
pull.sabotage("k2 in place of k3", traced, kind="k2")
pull.sabotage("the gradient of KL(pi || ref) in the engine", three, reverse=True)
