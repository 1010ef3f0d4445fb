"""R8: the kernel that VESPO's code lays over a sequence's importance weight is largest off policy."""

import sympy as sp

from gradvar import symbolic as sy

k, lam, W = (sp.Symbol(name, positive=True) for name in ("k", "lambda", "W"))
slope, at_one, log_height, log_x, x = sp.symbols("d o h L x", real=True)

claim = sy.Claim(
    id="R8",
    title=(
        "VESPO's weight of a sequence is largest off policy: at the ratio 2/3 for positive advantages, 3/2 for "
        "negative ones"
    ),
    statement=sy.Statement(
        setting=(
            r"The kernel $\varphi(W) = W^k e^{\lambda (1 - W)}$ of the sequence ratio W; the code's defaults are "
            r"$k = 2$, $\lambda = 3$ for advantages of at least zero and $k = 3$, $\lambda = 2$ for negative ones"
        ),
        forall={k: sy.above(0), lam: sy.above(0), W: sy.above(0)},
        quantities={
            slope: sy.Quantity("d", r"the derivative of $\log \varphi$ at W"),
            at_one: sy.Quantity("o", r"$\log \varphi(1)$, on policy"),
            log_height: sy.Quantity("h", r"$\log \varphi(k/\lambda)$"),
            log_x: sy.Quantity("L", "the logarithm of x"),
            x: sy.Quantity("x", "a positive number other than one"),
        },
        lemmas={
            "logarithm": sy.Lemma(
                sp.Gt(log_x, 1 - 1 / x), cited="the strict concavity of the logarithm, for x other than one"
            )
        },
        goals={
            "rises up to k over lambda": sp.Equivalent(slope > 0, sp.Lt(W, k / lam)),
            "falls beyond": sp.Equivalent(slope < 0, sp.Gt(W, k / lam)),
            "one on policy": sp.Eq(at_one, 0),
            "more than one at the peak": sp.Implies(sp.Ne(k, lam), log_height > 0),
        },
    ),
    source=sy.Source(
        "2602.10693",
        place="released code, recipe/vespo/code/core_algos.py, compute_policy_loss_vespo",
        relation="ours",
        says=(
            "the ratio of the whole sequence, held, goes through this kernel, normalised to one at the ratio "
            "one; the settings read from the configuration default to (2, 3) and (3, 2), those of the docstring "
            "are others"
        ),
        caveat="the paper was not read; a reshaped weight is meant to be biased in exchange for variance",
    ),
    verdict="proved",
    scope="any positive k and lambda; with equal ones the peak is on policy",
    proof=(
        r"The derivative of $\log \varphi = k \log W + \lambda (1 - W)$ is $k/W - \lambda$, positive below "
        r"$k/\lambda$ and negative above. On policy the logarithm is zero. At the peak it is $\lambda - k + k "
        r"\log(k/\lambda)$, which is positive unless $k = \lambda$, since $\log x > 1 - 1/x$ for x other than "
        r"one. For the defaults the peaks are 2/3 and 3/2, with heights $\frac{4}{9} e$ and $\frac{27}{8} "
        "e^{-1}$, about 1.21 and 1.24."
    ),
    finding=(
        "A correct sequence that has become less likely counts more than one on policy, up to the ratio 2/3; a "
        "wrong one that has become more likely does, up to 3/2. The weight pulls sequences back towards the "
        "sampler's probabilities."
    ),
)


@claim.step(
    "Any settings",
    route="smt",
    shows=r"$\log \varphi$ differentiated, and its value at one and at $k/\lambda$",
)
def any_settings(power=1, cited=True):
    kernel = power * k * sp.log(W) + lam * (1 - W)
    derivative = sp.diff(kernel, W)
    claim.goal("rises up to k over lambda").holds({slope: derivative})
    claim.goal("falls beyond").holds({slope: derivative})
    claim.goal("one on policy").holds({at_one: kernel.subs(W, 1)})
    value = sp.Symbol("l", real=True)  # the logarithm of k / lambda
    height = sp.expand(kernel.subs(W, k / lam)).subs({sp.log(k / lam): value, sp.log(k) - sp.log(lam): value})
    height = lam - k + k * value if height.has(sp.log) else height
    sy.equal(height.subs(value, sp.log(k / lam)), kernel.subs(W, k / lam), "the height in this logarithm")
    using = {"logarithm": {log_x: value, x: k / lam}} if cited else {}
    claim.goal("more than one at the peak").holds({log_height: height}, using=using)


SETTINGS = ((2, 3), (3, 2), (sp.Rational(1, 2), 2), (4, 4), (5, sp.Rational(3, 2)))
RATIOS = [sp.Rational(n, 12) for n in (1, 4, 8, 9, 12, 16, 18, 24, 48)]


@claim.step(
    "Settings in numbers", route="enumeration", shows="the code's and three others, ratios from 1/12 to 4"
)
def in_numbers(shift=0):
    for a, b in SETTINGS:

        def kernel(w, a=a, b=b):
            return a * sp.log(w + shift) + b * (1 - w)

        place = sp.Rational(a) / b
        for w in RATIOS:
            at = {k: a, lam: b, W: w}
            step = a / (w + shift) - b
            claim.goal("rises up to k over lambda").holds({slope: step}, at=at)
            claim.goal("falls beyond").holds({slope: step}, at=at)
            if w != place:
                sy.require(
                    sy.exact_sign(kernel(place) - kernel(w)) > 0, f"the peak is above the value at {w}"
                )
        claim.goal("one on policy").holds({at_one: kernel(sp.Integer(1))}, at={k: a, lam: b})
        claim.goal("more than one at the peak").holds({log_height: kernel(place)}, at={k: a, lam: b})


claim.sabotage("twice the power", any_settings, power=2)
claim.sabotage("without the concavity of the logarithm", any_settings, cited=False)
claim.sabotage("a ratio shifted by one half", in_numbers, shift=sp.Rational(1, 2))
