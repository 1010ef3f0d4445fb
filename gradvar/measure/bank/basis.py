"""A basis for the token weights of a rollout, so that a few backward passes serve every estimator.

Stack the token-weight vectors that one rollout gets over replicates, group sizes and settings. Their span
is small: dimension 1 for sequence weights (every token alike), at most 2 for each clip setting, a few more
with a penalty. With an orthonormal basis phi_1..phi_B of it, any of those weights is w = sum_b <w, phi_b>
phi_b, so the B vectors J^T phi_b hold everything that any of those estimators needs to know about the
rollout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

_BLOCK = 1 << 20  # bytes of weight vectors that are factorised together


def span(
    stacked: Float[np.ndarray, "rollout weight time"],
    tolerance: float,
    most: int | None = None,
    known: Float[np.ndarray, "rollout basis time"] | None = None,
) -> Float[np.ndarray, "rollout basis time"]:
    """Orthonormal rows that span each rollout's weight vectors, to a relative residual of ``tolerance`` for
    every one.

    Gram-Schmidt with pivoting: the worst explained vector is taken next, until none is left (a
    rank-revealing factorisation whose stopping rule is the very error that matters). Vectors are compared
    after scaling to norm 1, so that an estimator with small weights counts as much as one with large ones.
    Rollouts that need fewer vectors than others are filled up with zeros. What a ``known`` orthonormal basis
    explains needs no new vector. Raises ``ValueError`` when more than ``most`` vectors are needed."""
    rollouts, number, time = stacked.shape
    limit = time if most is None else min(most, time)
    # A few rollouts at a time, so that what every pass reads again stays in the processor's cache.
    each = max(1, _BLOCK // (8 * number * time + 1))
    blocks = [slice(start, start + each) for start in range(0, rollouts, each)]
    found = [_span(stacked[at], tolerance, limit, None if known is None else known[at]) for at in blocks]
    width = max((x.shape[1] for x in found), default=0)
    basis = np.zeros((rollouts, width, time))
    for at, vectors in zip(blocks, found, strict=True):
        basis[at, : vectors.shape[1]] = vectors
    return basis


def _span(
    stacked: Float[np.ndarray, "rollout weight time"],
    tolerance: float,
    limit: int,
    known: Float[np.ndarray, "rollout basis time"] | None,
) -> Float[np.ndarray, "rollout found time"]:
    """``span`` of a few rollouts."""
    rollouts, _, time = stacked.shape
    norms = np.linalg.norm(stacked, axis=-1, keepdims=True).astype(float)
    residual = np.divide(stacked, norms, out=np.zeros(stacked.shape), where=norms > 0)
    given = [] if known is None else list(np.moveaxis(known.astype(float), 1, 0))
    for _ in range(2):  # twice: rounding of the first pass
        for one in given:
            residual -= (residual @ one[..., None]) * one[:, None]
    found: list[np.ndarray] = []
    here = np.arange(rollouts)
    while residual.shape[1]:
        squares = np.einsum("imt,imt->im", residual, residual)
        worst = squares.argmax(1)
        open_ = squares[here, worst] > tolerance**2
        if not open_.any():
            break
        if len(found) == limit:
            left = float(np.sqrt(squares.max()))
            raise ValueError(
                f"basis: {limit} vectors leave a residual of {left:.1e}; allow more, or fewer settings"
            )
        new = np.where(open_[:, None], residual[here, worst], 0.0)
        for one in [*given, *found]:  # once more against the known ones: rounding must not tilt the basis
            new = new - np.einsum("it,it->i", one, new)[:, None] * one
        length = np.linalg.norm(new, axis=-1, keepdims=True)
        new = np.divide(new, length, out=np.zeros(new.shape), where=length > 0)
        found.append(new)
        # what is explained everywhere never comes back: projecting only makes residuals smaller
        residual = residual[:, (squares > tolerance**2).any(0)]
        residual -= (residual @ new[..., None]) * new[:, None]
    return np.stack(found, 1) if found else np.zeros((rollouts, 0, time))


def regions(
    log_ratio: Float[np.ndarray, "*batch time"], mask: Bool[np.ndarray, "*batch time"], cuts: Sequence[float]
) -> Float[np.ndarray, "*batch vector time"]:
    """The vectors that token-level clips at these ratios need: every token alike, and the ratio on each
    region.

    ``cuts`` are ratios, such as 0.8 and 1.2. A clip setting is a union of the regions between them,
    whichever the signs of the advantages, and a clipped weight (CISPO) is the region's ratio or a constant
    on it; hence both are kept."""
    edges = np.asarray(sorted(set(cuts)), float)
    if not np.all(np.isfinite(edges)) or (edges <= 0).any():
        raise ValueError(f"cuts: {tuple(cuts)}; give ratios above 0, such as (0.8, 1.2)")
    ratio = np.exp(np.where(mask, log_ratio, 0.0))
    place = np.searchsorted(edges, ratio, side="left")
    inside = (place[..., None, :] == np.arange(len(edges) + 1)[:, None]) & mask[..., None, :]
    every = mask[..., None, :].astype(float)
    return np.concatenate([every, inside * ratio[..., None, :], inside.astype(float)], axis=-2)
