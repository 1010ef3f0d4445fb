"""Rewards shaped by length, sound and with one slip each. NumPy."""

import numpy as np

BEYOND = {"uncut": np.inf, "cut too late": 1.5}


def _cosine(progress, good, slip):
    wave = 0.25 * (1 + np.cos(np.pi * progress * (2.0 if slip == "two turns" else 1.0)))
    wrong = -0.5 - wave
    if slip == "wrong above right":
        wrong = 0.9 - wave
    return np.where(good, 0.5 + wave, wrong)


def cosine(slip):
    """Right answers: the shorter the better; wrong ones: the longer the less bad."""

    def shape(lengths, correct, max_len=1000):
        lengths, good = np.asarray(lengths, float), np.asarray(correct, bool)
        if slip == "lengths ignored":
            lengths = np.zeros_like(lengths)
        if slip == "longest of the batch":
            max_len = max(lengths.max(), 1.0)
        if slip == "neighbour's grade":
            good = np.roll(good, 1)
        progress = np.minimum(lengths / max_len, BEYOND.get(slip, 1.0))
        if slip == "starts again":
            progress = (lengths / max_len) % 1.0
        if slip == "grade ignored":
            good = np.ones_like(good)
        with np.errstate(divide="ignore", invalid="ignore"):
            empty = 0.0 * np.log(lengths) if slip == "log of the length" else 0.0
        return _cosine(progress, good, slip) + empty

    return shape


def ramp(slip):
    """The soft overlong punishment."""

    def shape(rewards, response_lengths, max_response_length=100, buffer=20):
        lengths = np.asarray(response_lengths, float)
        if slip == "longest of the batch":
            lengths = np.full_like(lengths, lengths.max())
        over = (lengths - (max_response_length - buffer)) / buffer
        if slip == "buffer ignored":
            over = (lengths - 0.8 * max_response_length) / (0.2 * max_response_length)
        over = np.maximum(over, 0.0)
        most = {"twice": 2.0, **BEYOND}.get(slip, 1.0)
        down = np.minimum(over, most)
        if slip == "from the wrong end":
            down = np.where(over > 0, np.maximum(1.0 - over, 0.0), 0.0)
        if slip == "forgiven beyond":
            down = np.where(over > 1, 0.0, down)
        return np.asarray(rewards) - down

    return shape


def penalty(slip):
    """The punishment alone, as the loss of a reward; too long is too long."""

    def shape(lens, max_length):
        lens = np.asarray(lens, float)
        out = np.where(lens > max_length, -1.0, 0.0)
        if slip == "lengths ignored":
            out = np.zeros_like(lens)
        return -lens / max_length if slip == "uncut" else out

    return shape


def exceeding(slip):
    """A cosine below the longest length, one number from there on."""

    def shape(lengths, is_correct, max_len):
        lengths = np.asarray(lengths, float)
        inside = _cosine(lengths / max_len, np.asarray(is_correct, bool), slip)
        return np.where(lengths >= max_len, 5.0 if slip == "paid beyond" else -1.5, inside)

    return shape


def multiplied(slip):
    """What a right answer earns shrinks with its length to a half."""

    def shape(rewards, lengths, max_len):
        share = np.minimum(np.asarray(lengths, float) / max_len, BEYOND.get(slip, 1.0))
        factor = 1.0 - (1.5 if slip == "below nothing" else 0.5) * share
        return np.asarray(rewards) * factor

    return shape


VIOLATORS = (
    *((m, "uncut", "shaping_capped") for m in (cosine, ramp, penalty, multiplied)),
    *((m, "cut too late", "shaping_capped") for m in (cosine, ramp, multiplied)),
    (cosine, "starts again", "shaping_capped"),
    *((m, "two turns", "shaping_monotone") for m in (cosine, exceeding)),
    (ramp, "from the wrong end", "shaping_monotone"),
    (ramp, "forgiven beyond", "shaping_monotone"),
    (exceeding, "paid beyond", "shaping_monotone"),
    *((m, "wrong above right", "shaping_correct") for m in (cosine, exceeding)),
    (multiplied, "below nothing", "shaping_correct"),
    *((m, "longest of the batch", "shaping_rows") for m in (cosine, ramp)),
    (cosine, "neighbour's grade", "shaping_rows"),
    (cosine, "log of the length", "shaping_finite"),
    *((m, "lengths ignored", "takes_effect") for m in (cosine, penalty)),
    (cosine, "grade ignored", "takes_effect"),
    (ramp, "buffer ignored", "takes_effect"),
)
"""(maker, slip, law that must fail)."""
SOUND = (cosine, ramp, penalty, exceeding, multiplied)
