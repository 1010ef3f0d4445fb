"""Losses on pairs, sound and with one slip each, in the layouts that trainers have. NumPy."""

import numpy as np


def _ls(x):
    return -np.logaddexp(0.0, -x)


def _s(x):
    return np.exp(_ls(x))


LOSSES = {
    "dpo": lambda c, r, b: -_ls(b * (c - r)),
    "hinge": lambda c, r, b: np.maximum(0.0, 1 - b * (c - r)),
    "ipo": lambda c, r, b: (c - r - 0.5 / b) ** 2,
    "exo_pair": lambda c, r, b: (
        _s(b * (c - r)) * (_ls(b * (c - r)) - np.log1p(-1e-3))
        + _s(b * (r - c)) * (_ls(b * (r - c)) - np.log(1e-3))
    ),
    "nca_pair": lambda c, r, b: -_ls(b * c) - 0.5 * (_ls(-b * c) + _ls(-b * r)),
    "sppo_hard": lambda c, r, b: (c - 0.5 / b) ** 2 + (r + 0.5 / b) ** 2,
    "apo_zero": lambda c, r, b: 1 - _s(b * c) + _s(b * r),
    "apo_down": lambda c, r, b: 1 + _s(b * c) - _s(b * (c - r)),
    "bco_pair": lambda c, r, b: -_ls(b * c) - _ls(-b * r),
}
SPOILT = {
    "naive logarithm": lambda c, r, b: -np.log(1 / (1 + np.exp(-b * (c - r)))),
    "exchanged": lambda c, r, b: -_ls(b * (r - c)),
    "beta squared": lambda c, r, b: -_ls(b * b * (c - r)),
    "beta outside": lambda c, r, b: -b * _ls(c - r),
    "ipo without its half": lambda c, r, b: (c - r - 1 / b) ** 2,
    "hinge at zero": lambda c, r, b: np.maximum(0.0, -b * (c - r)),
    "apo_down of two": lambda c, r, b: 1 + _s(b * c) - _s(b * r),
}


def _loss(name):
    return LOSSES.get(name) or SPOILT.get(name) or LOSSES["dpo"]


def ratios(name):
    """Log-ratios [B] -> loss."""

    def loss(chosen_logratios, rejected_logratios, beta=0.1):
        return _loss(name)(chosen_logratios, rejected_logratios, beta).mean()

    return loss


def sequences(name):
    """Log-probabilities [B] under policy and reference -> losses [B] and rewards."""

    def dpo_loss(
        policy_chosen_logps,
        policy_rejected_logps,
        reference_chosen_logps,
        reference_rejected_logps,
        beta=0.1,
    ):
        sign = -1 if name == "reference added" else 1
        one = sign * reference_chosen_logps
        two = {"reference ignored": 0 * one, "one reference": one}.get(name, sign * reference_rejected_logps)
        c, r = policy_chosen_logps - one * (name != "reference ignored"), policy_rejected_logps - two
        return _loss(name)(c, r, beta), beta * c, beta * r

    return dpo_loss


def tokens(name):
    """Log-probabilities of tokens [2B, T], the chosen responses first."""

    def loss(logps, ref_logps, mask, beta=0.1):
        counts = np.ones_like(mask) if name == "padding counts" else mask
        gap = (logps - ref_logps) * counts
        if name == "ipo":
            gap = gap / mask.sum(-1, keepdims=True)
        if name == "mean over the width":
            c, r = np.split(gap.mean(-1), 2)
            return LOSSES["ipo"](c, r, beta).mean()
        if name == "interleaved":
            c, r = gap.sum(-1)[::2], gap.sum(-1)[1::2]
        else:
            c, r = np.split(gap.sum(-1), 2)
        if name == "ipo on sums":
            return LOSSES["ipo"](c, r, beta).mean()
        return _loss(name)(c, r, beta).mean()

    return loss


def smoothed(name):
    """Label smoothing: conservative or robust."""

    def dpo_loss(chosen_logratios, rejected_logratios, beta, label_smoothing=0.1):
        x, e = beta * (chosen_logratios - rejected_logratios), label_smoothing
        if name in ("robust", "robust without its scale"):
            scale = 1 - 2 * e if name == "robust" else 1 - e
            return ((-(1 - e) * _ls(x) + e * _ls(-x)) / scale).mean()
        turned = 1 if name == "smoothing reversed" else -1
        return (turned * e * _ls(-x) - (1 - e) * _ls(x) * (1 if turned < 0 else 0.5)).mean()

    return dpo_loss


def free(name):
    """SimPO: no reference."""

    def simpo_loss(policy_chosen_logps, policy_rejected_logps, beta, simpo_gamma):
        sign = 1 if name == "margin reversed" else -1
        return -_ls(beta * (policy_chosen_logps - policy_rejected_logps) + sign * simpo_gamma).mean()

    return simpo_loss


VIOLATORS = (
    *((m, "naive logarithm", "pair_extreme") for m in (ratios, sequences, tokens)),
    *((m, "exchanged", law) for m in (ratios, sequences, tokens) for law in ("pair_direction", "known_form")),
    *(
        (m, slip, "known_form")
        for m in (ratios, sequences, tokens)
        for slip in ("beta squared", "beta outside", "ipo without its half", "apo_down of two")
    ),
    *(
        (sequences, slip, "pair_reference")
        for slip in ("reference added", "reference ignored", "one reference")
    ),
    (sequences, "reference ignored", "takes_effect"),
    (ratios, "hinge at zero", "known_form"),
    (tokens, "interleaved", "pair_direction"),
    (tokens, "padding counts", "masked_cells_inert"),
    (tokens, "mean over the width", "pair_tokens"),
    (tokens, "ipo on sums", "known_form"),
    (smoothed, "robust without its scale", "known_form"),
    (smoothed, "smoothing reversed", "known_form"),
    (free, "margin reversed", "known_form"),
)
"""(maker, slip, law that must fail)."""
SOUND = (
    *((m, name) for m in (ratios, sequences) for name in LOSSES),
    *((tokens, name) for name in ("dpo", "hinge", "ipo", "apo_zero")),
    (smoothed, "dpo"),
    (smoothed, "robust"),
    (free, "simpo"),
)
"""(maker, form that it has)."""
