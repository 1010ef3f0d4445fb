"""Samplers and corrections made from their words: ``top_p:0.95``, ``tis:2+k3_mean:0.01``."""

from collections.abc import Callable
from functools import partial
from typing import Any

from gradvar import policies
from gradvar.core.compose import Piece, compose, corrected
from gradvar.core.estimator import Estimator
from gradvar.core.spelling import SURROGATES, CorrectionWord, SamplerWord, read_correction
from gradvar.pieces import corrections, surrogates


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
    if word.name == "template":
        return policies.other_template(int(word.value or 0))
    number: Any = int(word.value or 0) if word.name == "top_k" else word.value
    return getattr(policies, word.name)(number, renormalised=word.renormalised)


def corrected_by(estimator: Estimator, text: str) -> Estimator:
    """The estimator with what ``text`` spells: weights beside its surrogate, and before them a surrogate in its place.

    Raises:
        ValueError: The text cannot be read, or the estimator is not composed of pieces.
    """
    words = read_correction(text)
    first = words[0] if words[0].name in SURROGATES else None
    correction = correction_piece(words[1:] if first else words)
    if first is None:
        return estimator if correction is None else corrected(estimator, correction, text)
    if not estimator.parts:
        raise ValueError(
            f"corrections: '{text}' takes a surrogate's place, and {estimator.name} has no pieces"
        )
    surrogate: Piece = estimator.parts["surrogate"]
    if first.name == "loglinear":
        share = first.values[0]
        if share > 1:
            raise ValueError(f"corrections: '{text}'; give a share between 0 and 1")
        surrogate = surrogates.log_linear_proximal(surrogate, share=share)
        correction = correction and surrogates.log_linear_proximal(correction, share=share)
    else:
        surrogate = _surrogate(first)
    pieces: dict[str, Any] = {**estimator.parts, "surrogate": surrogate}
    if correction is not None:
        pieces["correction"] = correction
    name = f"{estimator.name}+{text}"
    return compose(**pieces, name=name, paper=estimator.paper, min_group=estimator.min_group)


def _surrogate(word: CorrectionWord) -> Piece:
    piece: Piece = getattr(surrogates, word.name)
    settings: dict[str, tuple[str, ...]] = {
        "dppo_tv": ("low", "high"), "dppo_kl": ("threshold",), "clip_cov": ("share",), "kl_cov": ("share",),
    }  # fmt: skip
    bound: dict[str, Any] = dict.fromkeys(
        settings.get(word.name, ()), word.values[0] if word.values else None
    )
    if word.name == "clip_cov":
        bound["seed"] = 0  # draws, as trainers do: the mean over the choices would hide their variance
    return partial(piece, **bound) if bound else piece


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
        "tis": (corrections.token_truncation, ("floor", "cap")),
        "mis": (corrections.token_band, ("low", "high")),
        "icepop": (corrections.token_band, ("low", "high")),
        "seq_ratio": (corrections.sequence_ratio, ()),
        "seq_tis": (corrections.sequence_truncation, ("floor", "cap")),
        "seq_mask": (corrections.sequence_mask, ("floor", "cap")),
        "geo_mask": (corrections.geometric_mask, ("low", "high")),
        "geo_tis": (corrections.geometric_ratio, ("floor", "cap")),
        "outlier": (corrections.outlier_mask, ("low", "high")),
        "m2po": (corrections.second_moment_mask, ("threshold",)),
        "opsm": (corrections.off_policy_sequence_mask, ("threshold",)),
    }
    if word.name == "prob_mask":
        return partial(corrections.probability_mask, low=word.values[0], high=word.values[0])
    piece, names = forms[word.name]
    return partial(piece, **dict(zip(names, word.values, strict=True))) if names else piece
