"""Losses of the critic and estimates of the KL, sound and with one slip each. NumPy."""

import numpy as np


def _average(cells, mask, way):
    rows, counts = (cells * mask).sum(-1), np.maximum(mask.sum(-1), 1)
    return {
        "tokens": lambda: rows.sum() / max(mask.sum(), 1),
        "rows": lambda: (rows / counts).mean(),
        "sum": lambda: rows.sum(),
        "padding": lambda: (cells * mask).mean(),
        "width": lambda: (rows / cells.shape[1]).mean(),
        "no guard": lambda: (rows / mask.sum(-1)).mean(),
        "unmasked": lambda: cells.mean(),
    }[way]()


def value_loss(slip="", way="tokens", factor=0.5):
    def loss(values, old_values, returns, mask, cliprange=0.2):
        near = old_values + np.clip(values - old_values, -cliprange, cliprange)
        one, two = (values - returns) ** 2, (near - returns) ** 2
        cells = {"min": np.minimum(one, two), "clipped alone": two, "old ignored": one}.get(
            slip, np.maximum(one, two)
        )
        return factor * _average(cells, mask, way)

    return loss


def kl(slip="k3", way="tokens"):
    def loss(logps, ref_logps, mask):
        d = logps - ref_logps
        cells = {
            "k1": d,
            "k2": d**2 / 2,
            "k3": np.exp(-d) + d - 1,
            "reversed": np.exp(d) - d - 1,
            "minus one lost": np.exp(-d) + d,
            "ratio less one": np.exp(d) - 1,
            "negative k1": -d,
            "negative k3": 1 - d - np.exp(-d),
        }[slip]
        return _average(cells, mask, way)

    return loss


KL_SLIPS = ("reversed", "minus one lost", "ratio less one", "negative k1", "negative k3")
VIOLATORS = (
    *((value_loss, {"slip": s}, "known_form") for s in ("min", "clipped alone")),
    (value_loss, {"slip": "old ignored"}, "takes_effect"),
    (value_loss, {"factor": -0.5}, "known_form"),
    *((kl, {"slip": s}, "known_form") for s in KL_SLIPS),
    *((make, {"way": w}, "known_form") for make in (value_loss, kl) for w in ("padding", "width", "unmasked")),
    *((make, {"way": "unmasked"}, "masked_cells_inert") for make in (value_loss, kl)),
    *((make, {"way": "no guard"}, "rows_without_tokens") for make in (value_loss, kl)),
)  # fmt: skip
SOUND = (
    *((value_loss, {"way": w}) for w in ("tokens", "rows", "sum")),
    *((kl, {"slip": s, "way": w}) for s in ("k1", "k2", "k3") for w in ("tokens", "rows", "sum")),
)
