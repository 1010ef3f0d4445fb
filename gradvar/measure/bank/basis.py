"""The second step of recording: a basis for the token weights of every rollout, so that a few backward passes do.

Stack the token-weight vectors that one rollout gets over replicates, group sizes and settings. Their span is small:
dimension 1 for sequence weights (every token alike), at most 2 for each clip setting, a few more with a penalty. With
an orthonormal basis phi_1..phi_B of it, any of those weights is w = sum_b <w, phi_b> phi_b, so the B vectors
J^T phi_b hold everything that any of those estimators needs to know about the rollout.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from gradvar.core.devices import map_threads
from gradvar.core.estimator import Estimator
from gradvar.measure.bank.coefficients import deal_weights
from gradvar.measure.bank.data import Rollouts
from gradvar.measure.bank.partition import draw_partition

_PILOT_GROUPS = (2, 8)  # group sizes on whose batches the weights are sampled, ascending
_PILOT_DEALS = 12
_BLOCK = 1 << 20  # bytes of weight vectors that are factorised together

Basis = Float[np.ndarray, "prompt rollout basis time"]


def find_basis(
    rollouts: Rollouts,
    estimators: Sequence[Estimator],
    cuts: Sequence[float],
    tolerance: float,
    known: Basis | None = None,
) -> Basis:
    """Find an orthonormal basis, rollout by rollout, of sequence weights, clips and ``estimators``' token weights.

    The estimators' weights are taken on batches of small and of larger groups, with companions of every reward. A
    vector that they miss is not lost silently: evaluation measures what the basis leaves unexplained, and raises.

    Args:
        rollouts: The rollouts that the weights are of.
        estimators: Whose weights to span.
        cuts: Ratios at which any token-level clip is to be spanned.
        tolerance: Relative residual that may be left of any weight vector.
        known: A basis of some of it; what that explains needs no new vector.
    """
    size, count, time = rollouts.shape
    fixed = [rollouts.mask[:, :, None].astype(np.float64)]  # [prompt, rollout, 1, time]: every token alike
    if len(cuts):
        fixed.append(clip_regions(np.float64(rollouts.logp) - rollouts.logp_old, rollouts.mask, cuts))
    rng = np.random.default_rng(0)
    arrays, prompt_index = rollouts.objective_arrays(), np.arange(size)[:, None]
    deals = []
    # An estimator that needs more companions than a pilot has is sampled with as many as it needs.
    larger = {e.min_group for e in estimators if e.min_group > _PILOT_GROUPS[-1]}
    for group in sorted({min(g, count // 2) for g in {*_PILOT_GROUPS, *larger}}):
        orders = [
            draw_partition(rng, rollouts.shape, group, size, 1).orders[0] for _ in range(_PILOT_DEALS // 2)
        ]
        deals.append((group, np.repeat(orders, 2, axis=0)))  # [deal, prompt, place]
    pilots = [(group, places, *_pilot_rewards(rollouts, places, rng)) for group, places in deals]

    def sample_weights(pilot: tuple[int, np.ndarray, np.ndarray, np.ndarray]) -> list[np.ndarray]:
        group, orders, rewards, is_real = pilot
        fitting = tuple(e for e in estimators if e.min_group <= group)
        if not fitting:
            return []
        samples = []
        # All prompts in a batch, as when prompts are all there is: that evaluation needs no new program.
        for order, deal_rewards, real in zip(orders, rewards, is_real, strict=True):
            dealt = arrays | {"rewards": jnp.asarray(deal_rewards)}
            weights = np.zeros((len(fitting), *rollouts.shape), rollouts.logp.dtype)
            weights[:, prompt_index, order] = deal_weights(fitting, dealt, order, group, size)
            samples.append(np.where(real[:, :, None], weights, 0.0))  # [estimator, prompt, rollout, time]
        return samples

    sampled = [weights for samples in map_threads(sample_weights, pilots) for weights in samples]
    bases = []
    for prompt in range(size):
        stacks = [x[prompt] for x in fixed] + [np.moveaxis(x[:, prompt], 0, 1) for x in sampled]
        stacked = np.concatenate(stacks, 1)  # [rollout, weight, time]
        bases.append(span(stacked, tolerance, known=None if known is None else known[prompt]))
    basis = np.zeros((size, count, max(x.shape[1] for x in bases), time), rollouts.logp.dtype)
    for prompt, vectors in enumerate(bases):
        basis[prompt, :, : vectors.shape[1]] = vectors
    return basis


def _pilot_rewards(
    rollouts: Rollouts, orders: np.ndarray, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "deal prompt rollout"], Bool[np.ndarray, "deal prompt rollout"]]:
    """Rewards under which every rollout meets companions of each kind, and which rollouts kept their reward.

    Most groups of a prompt that is nearly always solved have equal rewards and so no weight at all; the few that do
    not must find their weights in the basis too. So every other place of a group is given another reward, the same
    one in turn for all of a deal, then random ones; only rollouts with their real reward count. Each order is dealt
    twice, and the second time it is the other places that are given one, so that no rollout is left out.
    """
    deals, size, places = orders.shape
    values = np.unique(rollouts.rewards)
    values = values[np.linspace(0, len(values) - 1, min(len(values), 8)).astype(int)]
    replacement = values[np.arange(deals)[:, None, None] // 2 % len(values)] * np.ones((1, size, places))
    is_random = np.arange(deals) >= 2 * len(values)
    replacement[is_random] = rng.choice(values, size=replacement[is_random].shape)
    is_replaced = (np.arange(places) + np.arange(deals)[:, None]) % 2 == 1  # [deal, place]
    is_replaced = np.broadcast_to(is_replaced[:, None], orders.shape)
    rewards = np.broadcast_to(rollouts.rewards, (deals, *rollouts.rewards.shape)).copy()
    real = np.take_along_axis(rewards, orders, 2)  # [deal, prompt, place]
    dealt = np.where(is_replaced, replacement, real).astype(rewards.dtype)
    np.put_along_axis(rewards, orders, dealt, 2)
    is_real = np.zeros(rewards.shape, bool)
    np.put_along_axis(is_real, orders, ~is_replaced, 2)
    return rewards, is_real


def span(
    stacked: Float[np.ndarray, "rollout weight time"],
    tolerance: float,
    known: Float[np.ndarray, "rollout basis time"] | None = None,
) -> Float[np.ndarray, "rollout basis time"]:
    """Find orthonormal rows that span each rollout's weight vectors, to a relative residual for every one.

    Gram-Schmidt with pivoting: the worst explained vector is taken next, until none is left (a rank-revealing
    factorisation whose stopping rule is the very error that matters). Vectors are compared after scaling to norm 1, so
    that an estimator with small weights counts as much as one with large ones. Rollouts that need fewer vectors than
    others are filled up with zeros.

    Args:
        stacked: The weight vectors of every rollout.
        tolerance: The relative residual that may be left of each.
        known: An orthonormal basis; what it explains needs no new vector.

    Raises:
        ValueError: The tolerance is below what rounding leaves.
    """
    rollouts, number, time = stacked.shape
    # A few rollouts at a time, so that what every pass reads again stays in the processor's cache.
    step = max(1, _BLOCK // (8 * number * time + 1))
    blocks = [slice(start, start + step) for start in range(0, rollouts, step)]
    bases = [_span(stacked[x], tolerance, None if known is None else known[x]) for x in blocks]
    basis = np.zeros((rollouts, max((x.shape[1] for x in bases), default=0), time))
    for block, vectors in zip(blocks, bases, strict=True):
        basis[block, : vectors.shape[1]] = vectors
    return basis


def _span(
    stacked: Float[np.ndarray, "rollout weight time"],
    tolerance: float,
    known: Float[np.ndarray, "rollout basis time"] | None,
) -> Float[np.ndarray, "rollout vector time"]:
    """``span`` of a block of rollouts."""
    rollouts, _, time = stacked.shape
    norms = np.linalg.norm(stacked, axis=-1, keepdims=True).astype(float)
    residual = np.divide(stacked, norms, out=np.zeros(stacked.shape), where=norms > 0)
    fixed = [] if known is None else list(np.moveaxis(known.astype(float), 1, 0))  # [rollout, time] each
    for _ in range(2):  # twice, because of the rounding of the first pass
        for vector in fixed:
            residual -= (residual @ vector[..., None]) * vector[:, None]
    vectors: list[np.ndarray] = []  # [rollout, time] each
    rollout_index = np.arange(rollouts)
    while residual.shape[1]:
        squares = np.einsum("imt,imt->im", residual, residual)
        worst = squares.argmax(1)  # [rollout]
        unexplained = squares[rollout_index, worst] > tolerance**2
        if not unexplained.any():
            break
        if len(vectors) == time:  # they span everything: what is left is rounding
            raise ValueError(
                f"tolerance: {tolerance:.1e}, and rounding leaves {np.sqrt(squares.max()):.1e}; give more"
            )
        new = np.where(unexplained[:, None], residual[rollout_index, worst], 0.0)  # [rollout, time]
        for vector in [*fixed, *vectors]:  # once more against them all: rounding must not tilt the basis
            new = new - np.einsum("it,it->i", vector, new)[:, None] * vector
        length = np.linalg.norm(new, axis=-1, keepdims=True)
        new = np.divide(new, length, out=np.zeros(new.shape), where=length > 0)
        vectors.append(new)
        # what is explained in every rollout never comes back: projecting only makes residuals smaller
        residual = residual[:, (squares > tolerance**2).any(0)]
        residual -= (residual @ new[..., None]) * new[:, None]
    return np.stack(vectors, 1) if vectors else np.zeros((rollouts, 0, time))


def clip_regions(
    log_ratio: Float[np.ndarray, "*batch time"], mask: Bool[np.ndarray, "*batch time"], cuts: Sequence[float]
) -> Float[np.ndarray, "*batch vector time"]:
    """The vectors that token-level clips at these ratios need: every token alike, and the ratio on each region.

    ``cuts`` are ratios, such as 0.8 and 1.2. A clip setting is a union of the regions between them, whichever the signs
    of the advantages, and a clipped weight (CISPO) is the region's ratio or a constant on it; hence both are kept.
    """
    edges = np.asarray(sorted(set(cuts)), float)
    if not np.all(np.isfinite(edges)) or (edges <= 0).any():
        raise ValueError(f"cuts: {tuple(cuts)}; give ratios above 0, such as (0.8, 1.2)")
    ratio = np.exp(np.where(mask, log_ratio, 0.0))
    region = np.searchsorted(edges, ratio, side="left")  # [*batch, time]
    inside = (region[..., None, :] == np.arange(len(edges) + 1)[:, None]) & mask[..., None, :]
    every = mask[..., None, :].astype(float)
    return np.concatenate([every, inside * ratio[..., None, :], inside.astype(float)], axis=-2)
