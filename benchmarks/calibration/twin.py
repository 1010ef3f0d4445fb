"""Twins of the engines in NumPy: the same sums over blocks, of gradients that are drawn instead of differentiated.

``draw`` gives the ``BlockSums`` of many repeats of a measurement at once, made as ``direct`` and the bank make them
(pairs of replicates that share their prompt; deals of recorded rollouts); from there on the package's code is at work.
``truth`` gives the exact figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, sqrt

import numpy as np

from benchmarks.calibration import population
from benchmarks.calibration.cells import Cell
from gradvar.measure.direct_sums import BLOCKS
from gradvar.stats.figures import BlockSums

PARAMS = population.PARAMS
_BANK_REPLICATES = 512
FIGURES = ("trace_cov", "within", "between", "signal", "snr", "bias_factor")


@dataclass(frozen=True)
class Scale:
    """Of a prompt's a [P]: its mean has norm one, the part of the prompt's own the square ``own``. Of scores: the
    variance of their noise in each parameter."""

    own: float
    noise: float


def scale(cell: Cell) -> Scale:
    """Own parts and noise that give the signal-to-noise ratio asked for, as near as can be."""
    c, _, c2, noise, _ = population.coefficient_moments(cell)
    signal = (c * population.length_moments(cell)) ** 2
    share = max(1.0, signal * (1 + 1 / cell.snr) / (c2 + noise))  # of ||a||^2, noise as large as a
    return Scale(share - 1, share / PARAMS)


def truth(cell: Cell, scales: Scale) -> dict[str, float]:
    """The exact figures of one prompt's gradient."""
    c, squared, c2, noise, covariance = population.coefficient_moments(cell)
    norm = 1 + scales.own
    signal = (c * population.length_moments(cell)) ** 2
    second = c2 * norm + PARAMS * scales.noise * noise
    between = squared * norm - signal
    trace = second - signal
    return {
        "trace_cov": trace, "within": trace - between, "between": between, "signal": signal, "snr": signal / trace,
        "bias_factor": c / covariance,
    }  # fmt: skip


def rival(cell: Cell) -> Cell:
    """What a paired ratio of tr Cov is taken with: the other estimator, or twice the group where both are one."""
    if cell.group_size == 2:
        return replace(cell, group_size=4)
    return replace(cell, estimator="grpo" if cell.estimator == "rloo" else "rloo")


def draw(rng: np.random.Generator, cell: Cell, scales: Scale, repeats: int) -> list[BlockSums]:
    """Block sums of ``repeats`` measurements, and of a bank also those of its ``rival`` on the same rollouts."""
    if cell.engine == "direct":
        return [_direct(rng, cell, scales, repeats)]
    shape = (repeats, cell.prompts)
    prompts = Prompts(rng, cell, scales, shape, cell.rollouts)
    return [_bank(rng, cell, prompts), _bank(rng, rival(cell), prompts)]


class Prompts:
    """Rewards [..., prompt, rollout] and scores [..., prompt, rollout, param] of prompts of the population."""

    def __init__(
        self, rng: np.random.Generator, cell: Cell, scales: Scale, shape: tuple[int, ...], rollouts: int
    ) -> None:
        self.shape = shape
        p = population.draw_success(rng, cell.success, shape)
        self.rewards, z = population.draw_rewards(rng, cell.rewards, p, rollouts)
        prompt, length = population.draw_lengths(rng, cell, shape, rollouts)
        a = sqrt(scales.own / PARAMS) * rng.standard_normal((*shape, PARAMS), np.float32)
        a[..., 0] += 1.0
        a *= np.sqrt(prompt)[..., None].astype(np.float32)
        noise = rng.standard_normal((*z.shape, PARAMS), np.float32)
        noise *= np.sqrt(scales.noise * length)[..., None].astype(np.float32)
        self.scores = noise
        self.scores += z[..., None].astype(np.float32) * a[..., None, :]
        s = cell.staleness
        self.log_ratio = s * rng.standard_normal(z.shape) - s * s / 2 if s else None

    def gradients(self, cell: Cell, order: np.ndarray) -> np.ndarray:
        """Gradients [..., prompt, group, param] of the rollouts in this order [group, place]."""
        rewards = self.rewards[..., order]
        ratio = None if self.log_ratio is None else self.log_ratio[..., order]
        weights = population.weighted(cell, population.advantages(cell.estimator, rewards), ratio)
        scores = self.scores[..., order, :]  # [..., prompt, group, place, param]
        return (weights[..., None, :].astype(np.float32) @ scores)[..., 0, :].astype(np.float64)


def _grad_j(cell: Cell) -> np.ndarray:
    """grad J over the population; [param]."""
    gradient = np.zeros(PARAMS)
    gradient[0] = population.coefficient_moments(cell)[-1] * population.length_moments(cell)
    return gradient


def _bank(rng: np.random.Generator, cell: Cell, prompts: Prompts) -> BlockSums:
    batches = cell.rollouts // cell.group_size
    deals = max(1, ceil(_BANK_REPLICATES / (cell.prompts * batches)))
    total, squares, shared, joint = np.zeros(1), np.zeros(1), np.zeros(1), np.zeros(1)
    share = batches * (batches - 1) * deals
    for _ in range(deals):
        # rollouts of a prompt are alike, so one shuffle serves all prompts
        order = rng.permutation(cell.rollouts)[: batches * cell.group_size].reshape(batches, cell.group_size)
        g = prompts.gradients(cell, order)  # [repeat, prompt, batch, param]
        each = (g**2).sum(3)  # [repeat, prompt, batch]
        together, norms = g.sum(2), each.sum(2)
        total, squares = total + together, squares + norms
        shared = shared + ((together**2).sum(-1) - norms) / share
        joint = joint + (norms**2 - (each**2).sum(2)) / share
    count = np.full(cell.prompts, float(deals * batches))
    reference = None
    if not cell.known:
        every = replace(cell, estimator="rloo", staleness=0.0)
        reference = prompts.gradients(every, np.arange(cell.rollouts)[None])[:, :, 0] * count[0]
    return block_sums(cell, count, total, (squares, shared * count / 2, joint * count / 2), reference)


def _direct(rng: np.random.Generator, cell: Cell, scales: Scale, repeats: int) -> BlockSums:
    number, size = cell.replicates // 2, cell.group_size
    prompts = Prompts(rng, cell, scales, (repeats, number), 2 * size)
    order = np.arange(2 * size).reshape(2, size)
    g = prompts.gradients(cell, order)  # [repeat, pair, 2, param]
    blocks = min(BLOCKS, number)
    starts = -(-np.arange(blocks) * number // blocks)

    def into_blocks(x: np.ndarray) -> np.ndarray:
        return np.add.reduceat(x, starts, axis=1)

    reference = None
    if not cell.known:
        every = replace(cell, estimator="rloo", staleness=0.0)
        reference = into_blocks(prompts.gradients(every, order).sum(2))
    count = np.diff(np.append(starts, number)) * 2.0
    each = (g**2).sum(3)  # [repeat, pair, 2]
    of_pairs = each.sum(2), (g[:, :, 0] * g[:, :, 1]).sum(-1), each[:, :, 0] * each[:, :, 1]
    squares, products, joint = map(into_blocks, of_pairs)
    return block_sums(cell, count, into_blocks(g.sum(2)), (squares, products, joint), reference)


def block_sums(
    cell: Cell,
    count: np.ndarray,
    total: np.ndarray,
    of_pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    reference: np.ndarray | None,
) -> BlockSums:
    """What the engines make: from each block's sum of gradients, and its squares, products and joint squares."""
    squares, pairs, joint = of_pairs
    gram = total @ total.swapaxes(1, 2)
    if reference is None:
        gradient = _grad_j(cell)
        return BlockSums(
            count, gram, squares, pairs, total @ gradient, gradient @ gradient, True, joint=joint
        )
    transposed = reference.swapaxes(1, 2)
    return BlockSums(
        count, gram, squares, pairs, total @ transposed, reference @ transposed, False, joint=joint
    )
