"""B30: self-standardised advantages are at most sqrt(G-1)."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
advantage, sample, others = sp.symbols("A A_s R", real=True)

claim = sy.Claim(
    id="B30",
    title=r"Self-standardised advantages are at most $\sqrt{G-1}$",
    statement=sy.Statement(
        setting="A group of G real rewards that are not all equal, standardised by the group's mean and deviation",
        forall={G: sy.whole(2)},
        quantities={
            advantage: sy.Quantity("A_i", "an advantage with the population standard deviation"),
            sample: sy.Quantity(r"\tilde A_i", "the same advantage with the sample standard deviation"),
            others: sy.Quantity(
                "R",
                r"$\sum_{j \ne i} (A_j + \frac{A_i}{G-1})^2$, zero exactly where all other rewards are equal",
            ),
        },
        goals={
            "bound": sp.Le(advantage**2, G - 1),
            "equality": sp.Equivalent(sp.Eq(advantage**2, G - 1), sp.Eq(others, 0)),
            "sample bound": sp.Le(sample**2, (G - 1) ** 2 / G),
        },
    ),
    source=sy.Source(
        "2402.03300",
        "v3",
        "the standardised advantage of GRPO",
        relation="folklore",
        says="rewards are standardised by the group's mean and standard deviation; no bound is stated",
        caveat=(
            "for any sample the bound is Samuelson's inequality (1968); we know of no source that states it of "
            "advantages"
        ),
    ),
    verdict="proved",
    scope="every G, all real rewards that are not all equal; an epsilon only lowers the advantages",
    proof=(
        r"The advantages have $\sum_j A_j = 0$ and $\sum_j A_j^2 = G$. The sum of squares of the others about "
        r"their mean $-A_i/(G-1)$ is therefore $G - \frac{G}{G-1} A_i^2$. It is not negative, which is the "
        r"bound, and zero exactly where all others are equal, which is the equality. The sample standard "
        r"deviation is larger by $\sqrt{G/(G-1)}$, and so is its bound smaller. Small reward vectors, and the "
        r"shipped GRPO, have been listed."
    ),
    finding=(
        r"With the sample standard deviation the bound is $(G-1)/\sqrt{G}$. The bound is met by one right "
        r"answer among G - 1 wrong ones: the rarer the success, the larger its weight, up to $\sqrt{G-1}$ and "
        r"no more."
    ),
)


@claim.step(
    "Any G",
    route="smt",
    shows=(
        r"$\sum_{j \ne i} (A_j + \frac{A_i}{G-1})^2$ from $\sum_j A_j = 0$ and $\sum_j A_j^2 = G$; it is "
        r"not negative"
    ),
)
def any_group(ddof=0):
    a = sp.Symbol("x", real=True)
    squares, total, shift = G - ddof - a**2, -a, a / (G - 1)  # sums over j != i of A_j^2 and of A_j
    remainder = squares + 2 * shift * total + (G - 1) * shift**2
    claim.goal("bound").holds({advantage: a}, where=[remainder >= 0, G - ddof > 0])
    claim.goal("equality").holds({advantage: a, others: remainder})
    claim.goal("sample bound").holds({sample: a * sp.sqrt((G - 1) / G)}, where=[remainder >= 0])


def quantities(rewards, deviation=None):
    """The quantities of the first rollout of a group, from its rewards, or from advantages that were computed."""
    size = sp.Integer(len(rewards))
    mean = sum(rewards) / size
    squares = sum((r - mean) ** 2 for r in rewards)
    row = [(r - mean) / (deviation or sp.sqrt(squares / size)) for r in rewards]
    remainder = sum((x + row[0] / (size - 1)) ** 2 for x in row[1:])
    return {advantage: row[0], others: sp.expand(remainder), sample: row[0] * sp.sqrt((size - 1) / size)}


@claim.step(
    "All small reward vectors",
    route="enumeration",
    shows=(
        "rewards in {0, 1, 5}, G = 2 to 4: the bound, and equality where the other rewards are equal and "
        "nowhere else"
    ),
)
def small(ddof=0):
    reached = 0
    for size in (2, 3, 4):
        for rewards in itertools.product(map(sp.Integer, (0, 1, 5)), repeat=size):
            if len(set(rewards)) == 1:
                continue
            mean = sum(rewards) / sp.Integer(size)
            deviation = sp.sqrt(sum((r - mean) ** 2 for r in rewards) / (size - ddof))
            values = quantities(rewards, deviation)
            alone = len(set(rewards[1:])) == 1
            sy.require((values[others] == 0) == alone, f"the others of {rewards}")
            for name in ("bound", "equality", "sample bound"):
                claim.goal(name).holds(values, at={G: size})
            reached += alone
    return sy.Exhibit(text=f"{reached} vectors reach the bound")


@claim.step(
    "As shipped",
    route="traced code",
    shows=(
        "GRPO with its defaults below the bound and without epsilon at it, one right among G - 1 wrong, G = "
        "2, 3, 5, 8; three reward levels; the sample deviation"
    ),
)
def shipped(ddof=0, eps=0.0, factor=1):
    for size in (2, 3, 5, 8):
        for rest in ((0,) * (size - 1), (0, 1, 3, 0, 1, 3, 0)[: size - 1]):
            rewards = tuple(map(sp.Integer, (1 if not any(rest) else 7, *rest)))
            bare, exact, wide = (
                sy.weights_of(catalogue.get("grpo", **settings))(rewards)
                for settings in ({}, {"eps": eps, "ddof": ddof}, {"eps": 0.0, "ddof": 1})
            )
            row = [size * x for x in exact]
            remainder = sum((x + row[0] / (size - 1)) ** 2 for x in row[1:])
            claim.goal("bound").holds({advantage: factor * size * bare[0]}, at={G: size})
            claim.goal("equality").holds({advantage: row[0], others: remainder}, at={G: size})
            claim.goal("sample bound").holds({sample: factor * size * wide[0]}, at={G: size})


@claim.step(
    "The shipped formula for all rewards",
    route="traced code",
    shows="G = 3, rewards symbols: the traced advantage in its regions, the bound by z3",
)
def for_all(scale=1):
    rollouts = sy.symbolic_group(3, on_policy=True)
    r = rollouts.rewards.reshape(-1)
    mean = sp.Add(*r) / 3
    spread = sp.Add(*[(x - mean) ** 2 for x in r])
    for region in rollouts.regions(catalogue.get("grpo", eps=0.0), where=[spread > 0])[:2]:
        value = scale * 3 * region.value.reshape(-1)[0]
        sy.equal(
            sp.simplify(value**2 * spread), scale**2 * 3 * (r[0] - mean) ** 2, "the traced advantage's square"
        )
        square = scale * sp.sqrt(3 * (r[0] - mean) ** 2 / spread)
        claim.goal("bound").holds({advantage: square}, at={G: 3}, where=[spread > 0])


claim.sabotage("the sample std with the population's identity", any_group, ddof=1)
claim.sabotage("the sample std on small vectors", small, ddof=1)
claim.sabotage("the sample std as shipped", shipped, ddof=1)
claim.sabotage("an epsilon", shipped, eps=1e-3)
claim.sabotage("advantages that are larger by a tenth", shipped, factor=sp.Rational(11, 10))
claim.sabotage("an advantage that is larger by a tenth, for all rewards", for_all, scale=sp.Rational(11, 10))
