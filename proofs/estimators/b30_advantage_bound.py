"""B30: self-standardised advantages are at most sqrt(G-1)."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="B30",
    title="Self-standardised advantages are at most sqrt(G-1)",
    statement=(
        r"With the population standard deviation, $|A_i| \le \sqrt{G-1}$ for every reward vector; "
        r"equality holds exactly when all other rewards are equal and differ from $r_i$."
    ),
    source=sy.Source(
        "2402.03300",
        "v3",
        "the standardised advantage of GRPO; the bound is folklore (Samuelson's inequality, 1968)",
    ),
    verdict="proved",
    scope=(
        "every G >= 2 (symbolic), all real rewards that are not all equal; an epsilon only lowers the "
        "advantages"
    ),
    finding=(
        r"With the sample standard deviation the bound is $(G-1)/\sqrt{G}$. The bound is met by one "
        r"right answer among G - 1 wrong ones: the rarer the success, the larger its weight, up to "
        r"$\sqrt{G-1}$ and no more."
    ),
)


@claim.step(
    "Two identities, any G",
    route="sympy",
    shows=(
        r"with $\sum_j A_j = 0$ and $\sum_j A_j^2 = G$: $\sum_{j \ne i} (A_j + \frac{A_i}{G-1})^2 = G "
        r"- \frac{G}{G-1} A_i^2 \ge 0$"
    ),
)
def identities(ddof=0):
    G, a = sp.Symbol("G", integer=True, positive=True), sp.Symbol("A", real=True)
    squares = G - ddof - a**2  # the sum over j != i of A_j^2
    others = -a  # the sum over j != i of A_j
    shift = a / (G - 1)
    remainder = squares + 2 * shift * others + (G - 1) * shift**2
    sy.equal(remainder, G - G / (G - 1) * a**2, "the sum of squares about the others' mean")
    sy.equal(sp.solve(remainder, a)[-1] ** 2, G - 1, "it vanishes at A^2 = G - 1")


@claim.step(
    "The bound and its equality",
    route="smt",
    shows=(
        r"G = 2, 3, 4: z3 on $G d_i^2 \le (G-1)\, G\, \mathrm{Var}$ for all real deviations, and on "
        r"when it is an equality"
    ),
)
def bound(factor=1):
    for size in (2, 3, 4):
        d = sp.symbols(f"d1:{size + 1}", real=True)
        centred = sp.Eq(sp.Add(*d), 0)
        variance = sp.Add(*[x**2 for x in d]) / size
        sy.require(
            sy.smt_valid([centred], d[0] ** 2 <= factor * (size - 1) * variance), f"the bound at G = {size}"
        )
        same = sp.And(*[sp.Eq(x, d[1]) for x in d[1:]])
        sy.require(
            sy.smt_valid([centred], sp.Equivalent(sp.Eq(d[0] ** 2, (size - 1) * variance), same)),
            f"equality at G = {size}",
        )


@claim.step(
    "All small reward vectors",
    route="enumeration",
    shows="rewards in {0, 1, 2, 5}, G = 2..5: A^2 <= G - 1, equality for the vectors named and no others",
)
def small(ddof=0):
    reached = 0
    for size in range(2, 6):
        for rewards in itertools.product((0, 1, 2, 5), repeat=size):
            mean = sp.Rational(sum(rewards), size)
            squares = sum((r - mean) ** 2 for r in rewards)
            if squares == 0:
                continue
            square = (rewards[0] - mean) ** 2 * (size - ddof) / squares
            sy.require(square <= size - 1, f"the bound at {rewards}")
            alone = len(set(rewards[1:])) == 1
            sy.require((square == size - 1) == alone, f"equality at {rewards}")
            reached += alone
    return sy.Exhibit(text=f"{reached} vectors reach the bound")


@claim.step(
    "As shipped",
    route="traced code",
    shows=(
        r"one right among G - 1 wrong: the shipped GRPO has $A_1 = \sqrt{G-1}$ and $-1/\sqrt{G-1}$ for "
        r"the others, G = 2..8; sample std: $(G-1)/\sqrt{G}$"
    ),
)
def shipped(ddof=0, eps=0.0):
    for size in range(2, 9):
        weights = sy.weights_of(catalogue.get("grpo", eps=eps, ddof=ddof))(
            (sp.Integer(1),) + (sp.Integer(0),) * (size - 1)
        )
        sy.equal(
            [size * w for w in weights],
            [sp.sqrt(size - 1)] + [-1 / sp.sqrt(size - 1)] * (size - 1),
            f"advantages at G = {size}",
        )
    sample = sy.weights_of(catalogue.get("grpo", eps=0.0, ddof=1))((sp.Integer(1),) + (sp.Integer(0),) * 3)
    sy.equal(4 * sample[0], sp.Rational(3, 2), "the sample bound at G = 4")


@claim.step(
    "The shipped formula for all rewards",
    route="traced code",
    shows=(
        "G = 3, rewards symbols: in every region the traced advantage is below sqrt(2), decided by z3; "
        "with an epsilon strictly"
    ),
)
def for_all(limit=2):
    rollouts = sy.symbolic_group(3, on_policy=True)
    r = rollouts.rewards.reshape(-1)
    mean = sp.Add(*r) / 3
    spread = sp.Add(*[(x - mean) ** 2 for x in r])
    for region in rollouts.regions(catalogue.get("grpo", eps=0.0), where=[spread > 0])[:2]:
        value = (3 * region.value.reshape(-1)[0]) ** 2
        sy.equal(sp.simplify(value * spread), 3 * (r[0] - mean) ** 2, "the square of the traced advantage")
    sy.require(
        sy.smt_valid([spread > 0], 3 * (r[0] - mean) ** 2 <= limit * spread), "the bound for all rewards"
    )
    sy.require(
        sy.find_point([spread > 0, sp.Eq(3 * (r[0] - mean) ** 2, 2 * spread)]) is not None,
        "the bound is reached",
    )


claim.sabotage("the sample std with the population's bound", identities, ddof=1)
claim.sabotage("a bound below", bound, factor=sp.Rational(9, 10))
claim.sabotage("the sample std on small vectors", small, ddof=1)
claim.sabotage("the sample std as shipped", shipped, ddof=1)
claim.sabotage("an epsilon", shipped, eps=1e-3)
claim.sabotage("a smaller square", for_all, limit=1)
