"""What the words for samplers and corrections mean, in a line each: the tables of ``gradvar list``. Loads no JAX."""

from collections.abc import Iterable, Mapping

from gradvar.core.spelling import CORRECTIONS, SAMPLERS, SURROGATES

_ENGINES: Mapping[str, str] = {
    "none": "the policy itself: nothing to correct",
    "stale": "the weights of so many optimiser steps before",
    "temperature": "logits over a temperature that the trainer does not know of",
    "top_k": "the k likeliest tokens",
    "top_p": "the likeliest tokens of this mass",
    "min_p": "the tokens with this share of the likeliest one's chance",
    "noise": "normal noise of this size, in nats, on every next-token log-probability",
    "bfloat16": "weights rounded to bfloat16",
    "fp8": "weights in FP8 (e4m3), one scale for a tensor",
    "fp8_channel": "weights in FP8 (e4m3), one scale for a row",
    "int8": "weights in 255 steps, one scale for a tensor",
    "int8_channel": "weights in 255 steps, one scale for a row",
    "template": "a chat template that ends the prompt with this token",
}
_WEIGHTS: Mapping[str, str] = {
    "none": "no weights",
    "ratio": "w, the token's ratio of trainer to engine: decoupled PPO",
    "tis": "w between the two numbers: truncated importance sampling by token",
    "mis": "w inside the band, else 0: masked importance sampling",
    "icepop": "the same with IcePop's band",
    "seq_ratio": "W, the product of w over the rollout: unbiased, at the largest variance",
    "seq_tis": "W between the two numbers",
    "seq_mask": "W inside the band, else 0: TRL's default",
    "geo_mask": "w on rollouts whose geometric mean of w lies in the band, else 0",
    "geo_tis": "the geometric mean of w on every token of the rollout, between the two numbers",
    "outlier": "0 on a rollout with one w outside the band, else 1",
    "prob_mask": "0 where the token's probability differs by more, else 1",
    "m2po": "0 on the largest (log w)^2 of the batch, until the mean of the others is below",
    "opsm": "0 on rollouts of negative advantage that the policy finds unlikely by so many nats a token",
    "normalised": "behind others: their weights over the mean in the batch",
}
_LEVELS: Mapping[str, str] = {
    "token": "of the token", "sum": "summed over the rollout", "mean": "in the rollout's mean",
    "max": "of the rollout's largest token",
}  # fmt: skip
_KINDS: Mapping[str, str] = {"k1": "-log w", "k2": "(log w)^2 / 2", "k3": "w - 1 - log w"}
_IN_PLACE: Mapping[str, str] = {
    "dppo_tv": "DPPO: no gradient where the probability moved by more in the advantage's way",
    "dppo_kl": "DPPO: the same by the divergence of two points",
    "vespo": "VESPO: a kernel of the whole ratio, current policy to engine",
    "topr": "TOPR: 1 for positive advantages, the ratio up to 1 for negative ones",
    "clip_cov": "Clip-Cov: PPO's clip, and a random share of the tokens of large covariance dropped",
    "kl_cov": "KL-Cov: |log ratio| taken off for the share of tokens of the largest covariance",
    "loglinear": "the proximal policy between engine (0) and current policy (1); weights may follow",
}


def engine_rows() -> list[dict[str, str]]:
    """Every sampler: how it is spelt, its numbers, and what it is.

    >>> engine_rows()[4]
    {'word': 'top_p:MASS', 'what it is': 'the likeliest tokens of this mass'}
    """
    return [
        {"word": ":".join((name, *map(str.upper, numbers))), "what it is": _ENGINES[name]}
        for name, numbers in SAMPLERS.items()
    ]


def correction_rows() -> list[dict[str, str]]:
    """Every correction: how it is spelt with its default numbers, and what it is.

    >>> correction_rows()[2]["word"], correction_rows()[-1]["word"]
    ('tis:0:2', 'loglinear:0.5')
    """
    return [
        {"word": _spelt(name, numbers), "what it is": _meaning(name)}
        for name, numbers in {**CORRECTIONS, **SURROGATES}.items()
    ]


def _spelt(name: str, numbers: Iterable[float]) -> str:
    return ":".join((name, *(f"{number:g}" for number in numbers)))


def _meaning(name: str) -> str:
    kind, _, level = name.partition("_")
    if kind in _KINDS:
        bounds = "1/w outside the band" if kind == "k1" else f"{_KINDS[kind]} above the number"
        return f"0 where {bounds}, {_LEVELS[level]}, else 1"
    if name in _WEIGHTS:
        return _WEIGHTS[name]
    return f"{'around' if name == 'loglinear' else 'in place of'} the surrogate: {_IN_PLACE[name]}"
