"""What the definitions with PPO's clipped surrogate share: epsilons, advantages, sums over the batch, scales."""

from functools import cache

import sympy as sp
from _definitions import G, Q, R, Scene, above_clip, mean, n, r, variance

EPS, TINY, CLIP = R(1, 10**6), R(1, 10**8), R(1, 5)
SEQUENCES = 1 / (Q * G * n)  # a mean over rollouts of means over tokens
advantage_of, batch_sum, batch_square, within, spread_of = sp.symbols("A B1 B2 W V", real=True)
RATIO = r"\min(\rho A, \mathrm{clip}(\rho) A)"
OBJECTIVE = rf"The objective is $\frac{{1}}{{Q G}} \sum_i \frac{{1}}{{|o_i|}} \sum_t {RATIO}$"
standardised = (r - mean) / (sp.sqrt(variance) + EPS)


# What is one number for a batch or a group is computed once for it, not once for each of its tokens.
@cache
def batch_sums(scene: Scene) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """The sums of all rewards of the batch, of their squares, and of the squares of rewards less their groups' means."""
    rewards = list(scene.rewards.reshape(-1))
    deviations = [x for q in (0, 1) for x in centred(scene, q)]
    return sp.Add(*rewards), sp.Add(*[x * x for x in rewards]), sp.Add(*[x * x for x in deviations])


@cache
def centred(scene: Scene, q: int) -> list[sp.Expr]:
    """A group's rewards less their mean."""
    row = scene.rewards[q]
    middle = sp.Add(*row) / len(row)
    return [x - middle for x in row]


BATCH = {
    batch_sum: ("B_1", "the sum of the batch's rewards", lambda scene, q, i, t: batch_sums(scene)[0]),
    batch_square: (
        "B_2",
        "the sum of their squares",
        lambda scene, q, i, t: batch_sums(scene)[1],
    ),
}
batch_mean = batch_sum / (Q * G)
WITHIN = {
    within: (
        "W",
        "the batch's sum of squares of rewards less their groups' means",
        lambda scene, q, i, t: batch_sums(scene)[2],
    )
}


def scale(value: object, ddof: int = 0) -> object:
    """The standard deviation over the batch of a value of each rollout, of mean zero or made so."""

    @cache
    def over_batch(scene: Scene) -> sp.Expr:
        values = [value(scene, q, i) for q in (0, 1) for i in range(scene.size)]  # type: ignore[operator]
        middle = sp.Add(*values) / len(values)
        return sp.sqrt(sp.Add(*[(x - middle) ** 2 for x in values]) / (len(values) - ddof))

    return lambda scene, q, i, t: over_batch(scene)


def per_rollout(value: object) -> object:
    """A function of a rollout as one of a token."""
    return lambda scene, q, i, t: value(scene, q, i)  # type: ignore[operator]


SCALED = above_clip(advantage_of, CLIP, CLIP) * advantage_of / (spread_of + TINY)
