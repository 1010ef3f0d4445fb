"""A piece in an estimator of plain other pieces, as a claim, and the engine that the corrections are about."""

import numpy as np
import sympy as sp
from _definitions import Definition, R, Scene, define

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

OURS = "of this package; the piece's own documentation"
PLAIN = {
    "advantage": advantage.raw,
    "surrogate": surrogate.likelihood,
    "aggregate": aggregate.sequence_token_sum,
}
SUM = r"Raw rewards, $\log \pi$ and sums over tokens stand around the piece, unless it takes their place."
sampler = sp.Symbol("v", real=True)


def around(**pieces):
    """An estimator of plain pieces, but for these."""
    return compose(**{**PLAIN, **pieces}, min_group=1)


def piece(identifier, name, formula, words, *, source=None, quantities=None, fields=lambda _: {}, **pieces):
    """The claim that a piece in an estimator of plain other pieces has these weights."""
    settings, tolerance = pieces.pop("settings", {}), pieces.pop("tolerance", 0.0)
    made = pieces.pop("made", None) or (lambda _: around(**pieces))
    return define(
        identifier,
        Definition(
            name, formula, quantities or {}, fields, settings=settings, composed=made, tolerance=tolerance
        ),
        f"The piece `{name}` as shipped",
        source or sy.Source(OURS, relation="ours"),
        f"{words} {SUM}",
    )


SAMPLER_RATIOS = (R(1), R(1, 4), R(3, 5), R(2), R(9, 2), R(6))


def sampler_ratio(scene: Scene, q, i, t):
    return SAMPLER_RATIOS[(2 * i + t + 3 * q + i // 6) % len(SAMPLER_RATIOS)]


def sampler_logs(scene: Scene):
    logs = np.full(scene.mask.shape, sp.Integer(0), object)
    for place in np.ndindex(logs.shape):
        logs[place] = -sp.log(sampler_ratio(scene, *place))
    return {"logp_sampler": logs}


SAMPLER = {sampler: ("v", "its ratio of trainer's to sampler's probability", sampler_ratio)}
