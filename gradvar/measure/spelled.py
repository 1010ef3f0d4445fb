"""Samplers and corrections made from their words: ``top_p:0.95``, ``tis:2+k3_mean:0.01``."""

from collections.abc import Callable
from functools import partial
from typing import Any

from gradvar import policies
from gradvar.core.spelling import CorrectionWord, SamplerWord
from gradvar.pieces import corrections


def sampler_piece(word: SamplerWord, stale_params: Callable[[], Any]) -> Any:
    """The sampler of a word, None for ``none``; ``stale_params`` gives the parameters that a stale engine serves."""
    made: dict[str, Callable[[], Any]] = {
        "none": lambda: None,
        "stale": lambda: policies.stale(stale_params()),
        "bfloat16": policies.bfloat16_weights,
        "fp8": policies.fp8_weights,
        "fp8_channel": partial(policies.fp8_weights, per_channel=True),
        "int8": policies.int8_weights,
        "int8_channel": partial(policies.int8_weights, per_channel=True),
    }
    if word.name in made:
        return made[word.name]()
    number: Any = int(word.value or 0) if word.name == "top_k" else word.value
    return getattr(policies, word.name)(number, renormalised=word.renormalised)


def correction_piece(words: tuple[CorrectionWord, ...]) -> Any:
    """The correction of words that were read; None for ``none``."""
    piece: Any = None
    for word in words:
        if word.name == "none":
            return None
        if word.name == "normalised":
            piece = corrections.batch_normalised(piece)
            continue
        made = _single(word)
        piece = made if piece is None else corrections.chained(piece, made)
    return piece


def _single(word: CorrectionWord) -> Any:
    if word.name[0] == "k":
        kind, _, level = word.name.partition("_")
        settings: dict[str, Any] = {"divergence": kind, "level": level, "high": word.values[-1]}
        if kind == "k1":
            settings["low"] = word.values[0]
        return partial(corrections.rejection, **settings)
    forms: dict[str, tuple[Any, tuple[str, ...]]] = {
        "ratio": (corrections.token_ratio, ()),
        "tis": (corrections.token_truncation, ("cap",)),
        "mis": (corrections.token_band, ("low", "high")),
        "icepop": (corrections.token_band, ("low", "high")),
        "seq_ratio": (corrections.sequence_ratio, ()),
        "seq_tis": (corrections.sequence_truncation, ("cap",)),
        "seq_mask": (corrections.sequence_mask, ("cap",)),
        "geo_mask": (corrections.geometric_mask, ("low", "high")),
        "m2po": (corrections.second_moment_mask, ("threshold",)),
        "opsm": (corrections.off_policy_sequence_mask, ("threshold",)),
    }
    piece, names = forms[word.name]
    return partial(piece, **dict(zip(names, word.values, strict=True))) if names else piece
