"""Functions of logits, of entropies and of losses by token, sound and with one slip each. NumPy."""

import numpy as np


def _log_softmax(logits):
    top = logits - logits.max(-1, keepdims=True)
    return top - np.log(np.exp(top).sum(-1, keepdims=True))


def _at(values, labels):
    return np.take_along_axis(values, labels[..., None], -1)[..., 0]


def log_probs(slip):
    """Log-probabilities of labels at a temperature, by token."""

    def call(logits, labels, temperature):
        if slip == "over the temperature":
            return _at(_log_softmax(logits), labels) / temperature
        if slip == "times the temperature":
            return _at(_log_softmax(logits * temperature), labels)
        if slip == "no temperature":
            temperature = 1.0
        scaled = logits / temperature
        if slip == "not normalised":
            return _at(scaled, labels)
        if slip == "softmax then log":
            with np.errstate(all="ignore"):
                return np.log(_at(np.exp(scaled) / np.exp(scaled).sum(-1, keepdims=True), labels))
        return _at(np.exp(_log_softmax(scaled)) if slip == "no logarithm" else _log_softmax(scaled), labels)

    return call


def next_token(slip):
    """Log-probabilities of the tokens that follow, as a trainer reads them off its model's logits."""

    def call(logits, input_ids):
        later = input_ids[:, :-1] if slip == "not shifted" else input_ids[:, 1:]
        return _at(_log_softmax(logits[:, :-1]), later)

    return call


def cross_entropy(slip):
    """The mean over labels that are not -100."""

    def call(logits, labels):
        real = labels != -100
        losses = np.where(real, -_at(_log_softmax(logits), np.where(real, labels, 0)), 0.0)
        return losses.mean() if slip == "ignored labels count" else losses.sum() / max(real.sum(), 1)

    return call


def entropy(slip):
    """The mean entropy of the tokens that count."""

    def call(logits, mask):
        logs = _log_softmax(logits)
        cells = -(np.exp(logs) * logs).sum(-1)
        if slip == "over the words":
            cells = cells / logits.shape[-1]
        if slip == "over padding":
            return cells.mean()
        return (cells * mask).sum() / max(mask.sum(), 1)

    return call


def averaged(slip):
    """Losses of tokens, a mean over rollouts of their means."""

    def call(loss_mat, loss_mask):
        rows, counts = (loss_mat * loss_mask).sum(-1), loss_mask.sum(-1)
        if slip == "no guard":
            with np.errstate(all="ignore"):
                return (rows / counts).mean()
        if slip == "over the width":
            return (rows / loss_mat.shape[1]).mean()
        return (loss_mat.mean(-1) if slip == "mask ignored" else rows / np.maximum(counts, 1)).mean()

    return call


def packed(slip):
    """Rows that hold several sequences, each with its own mean."""

    def call(per_token_loss, completion_mask, segment_ids):
        means = []
        for losses, mask, ids in zip(per_token_loss, completion_mask, segment_ids, strict=True):
            ids = np.zeros_like(ids) if slip == "a row is a sequence" else ids
            cells = [(ids == label) & (mask > 0) for label in np.unique(ids)]
            means += [losses[c].mean() for c in cells if c.any()]
        return np.mean(means) if means else 0.0

    return call


def whitened(slip):
    """Values with mean zero and variance one over the tokens that count."""

    def call(values, mask):
        real = values[mask > 0] if slip != "padding counts" else values.ravel()
        if len(real) == 0:
            return values * 0.0
        scale = real.var() if slip == "over the variance" else np.sqrt(real.var() + 1e-8)
        return (values - real.mean()) / scale * mask

    return call


def top_entropy(slip):
    """The upper half of the tokens that count, by entropy."""

    def call(entropies, mask):
        real = entropies[mask > 0]
        if len(real) == 0:
            return np.zeros(mask.shape, bool)
        line = np.quantile((entropies * mask) if slip == "padding counts" else real, 0.5)
        if slip == "masked tokens too":
            return entropies >= line
        chosen = np.abs(entropies - line) <= 1.0 if slip == "the middle" else entropies >= line
        return chosen & (mask > 0)

    return call


def counted(slip):
    """The overlong punishment of a mask whose tokens are counted."""

    def call(action_mask, max_length, buffer_len):
        lengths = action_mask.sum(-1)
        if slip == "span":
            places = np.arange(action_mask.shape[1]) + 1
            first = np.where(action_mask.any(-1), action_mask.argmax(-1), 0)
            lengths = np.maximum((places * action_mask).max(-1) - first, 0)
        return -np.clip((lengths - max_length + buffer_len) / buffer_len, 0, 1)

    return call


def entries(slip):
    """A list of dicts, whose parameter has no name that says so."""

    def call(entries):
        return _with_advantages(entries, slip)

    return call


def _with_advantages(entries, slip):
    out = []
    for entry in entries:
        group = np.array([e["reward"] for e in entries if e["group_id"] == entry["group_id"]], float)
        group = group[:1] if slip == "the first alone" else group
        known = np.isfinite(group).all()
        out.append({**entry, "advantage": entry["reward"] - group.mean() if known else 0.0})
    return out


VIOLATORS = (
    *(
        (log_probs, s, "known_form")
        for s in ("over the temperature", "times the temperature", "not normalised")
    ),
    (log_probs, "no logarithm", "known_form"),
    (log_probs, "no temperature", "takes_effect"),
    (log_probs, "softmax then log", "finite_answers"),
    (next_token, "not shifted", "known_form"),
    (cross_entropy, "ignored labels count", "ignored_labels_silent"),
    (entropy, "over padding", "known_form"),
    (averaged, "no guard", "rows_without_tokens"),
    (averaged, "over the width", "known_form"),
    (averaged, "mask ignored", "takes_effect"),
    (packed, "a row is a sequence", "known_form"),
    (whitened, "padding counts", "masked_cells_inert"),
    (whitened, "over the variance", "known_form"),
    (top_entropy, "padding counts", "selection_padding"),
    (top_entropy, "masked tokens too", "selection_real"),
    (top_entropy, "the middle", "selection_ordered"),
    (counted, "span", "shaping_tokens"),
)
"""(maker, slip, law that must fail)."""
SOUND = (
    log_probs, next_token, cross_entropy, entropy, averaged, packed, whitened, top_entropy, counted
)  # fmt: skip
KINDS = {
    log_probs: "labels", next_token: "labels", cross_entropy: "labels", entropy: "entropy", averaged: "aggregation",
    packed: "aggregation", whitened: "aggregation", top_entropy: "selection", counted: "shaping",
}  # fmt: skip
