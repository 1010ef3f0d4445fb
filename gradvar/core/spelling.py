"""Samplers and corrections as they are spelt on the command line: ``top_p:0.95``, ``tis:2+k3_mean:0.01``.

A word is a name with its numbers behind colons; what is left out takes the default. Reading loads no JAX.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradvar.core.naming import nearest

SAMPLERS: Mapping[str, tuple[str, ...]] = {
    "none": (), "stale": ("steps",), "temperature": ("value",), "top_k": ("number",), "top_p": ("mass",),
    "min_p": ("share",), "noise": ("size",), "bfloat16": (), "fp8": (), "fp8_channel": (), "int8": (),
    "int8_channel": (), "template": ("token",),
}  # fmt: skip
"""Every sampler with its numbers, which have no defaults; ``:raw`` behind them reports unchanged log-probabilities."""

CORRECTIONS: Mapping[str, tuple[float, ...]] = {
    "none": (), "ratio": (), "tis": (0.0, 2.0), "mis": (0.0, 2.0), "icepop": (0.5, 5.0), "seq_ratio": (),
    "seq_tis": (0.0, 2.0), "seq_mask": (0.0, 3.0), "geo_mask": (0.999, 1.002), "geo_tis": (0.0, 2.0),
    "outlier": (1e-4, 100.0), "prob_mask": (0.2,), "m2po": (0.04,), "opsm": (0.5,), "normalised": (),
    **{f"k1_{level}": (0.5, 2.0) for level in ("token", "sum", "mean")},
    **{f"{kind}_{level}": (2.0,) for kind in ("k2", "k3") for level in ("token", "sum", "mean", "max")},
}  # fmt: skip
"""Every correction with the defaults of its numbers: a cap or threshold, or the ends of a band (one: the upper end)."""

SURROGATES: Mapping[str, tuple[float, ...]] = {
    "dppo_tv": (0.2,), "dppo_kl": (0.05,), "vespo": (), "topr": (), "clip_cov": (0.0002,), "kl_cov": (0.0002,),
    "loglinear": (0.5,),
}  # fmt: skip
"""What takes the surrogate's place, or for ``loglinear`` the proximal policy's, with its number: threshold or share."""

_WITH_RAW = ("temperature", "top_k", "top_p", "min_p", "noise")
_WHOLE = ("stale", "top_k")
_TOKEN = ("template",)


@dataclass(frozen=True)
class SamplerWord:
    """A sampler that was read: its name, its number, and whether it reports the changed log-probabilities."""

    name: str
    value: float | None = None
    renormalised: bool = True

    @property
    def steps(self) -> int:
        """Optimiser steps between the engine and the trainer's proximal policy."""
        return int(self.value or 0) if self.name == "stale" else 0


@dataclass(frozen=True)
class CorrectionWord:
    """A correction that was read; ``low`` and ``high`` are the numbers of a band."""

    name: str
    values: tuple[float, ...]


def read_sampler(text: str, argument: str = "sampler") -> SamplerWord:
    """Read a sampler.

    >>> read_sampler("top-p:0.95"), read_sampler("stale:4").steps
    (SamplerWord(name='top_p', value=0.95, renormalised=True), 4)
    >>> read_sampler("top-q:0.9")
    Traceback (most recent call last):
    ValueError: sampler: no 'top-q'; did you mean top_p or top_k?
    """
    name, *rest = text.split(":")
    name = _known_name(argument, name, SAMPLERS)
    raw = bool(rest) and rest[-1] == "raw"
    if raw and name not in _WITH_RAW:
        raise ValueError(f"{argument}: '{text}'; only {', '.join(_WITH_RAW)} take :raw, leave it out")
    values = _numbers(argument, text, rest[: len(rest) - raw])
    wanted = SAMPLERS[name]
    if len(values) != len(wanted):
        form = ":".join((name, *(part.upper() for part in wanted)))
        raise ValueError(f"{argument}: '{text}'; give {form}")
    if name in _WHOLE and not (values[0].is_integer() and values[0] >= 1):
        raise ValueError(f"{argument}: '{text}'; give a whole number from 1 up")
    if name in _TOKEN and not (values[0].is_integer() and values[0] >= 0):
        raise ValueError(f"{argument}: '{text}'; give a token, a whole number from 0 up")
    least = 0.0 if name in ("noise", "min_p", *_TOKEN) else math.ulp(0.0)
    most = 1.0 if name in ("top_p", "min_p") else math.inf
    if values and not least <= values[0] <= most:
        limits = "above zero" if least else "that is not negative"
        raise ValueError(
            f"{argument}: '{text}'; give a number {limits}{' and at most 1' if most == 1 else ''}"
        )
    return SamplerWord(name, values[0] if values else None, not raw)


def read_correction(text: str) -> tuple[CorrectionWord, ...]:
    """Read a correction, or several of which the product is taken; a surrogate of its own may stand first.

    >>> read_correction("tis")
    (CorrectionWord(name='tis', values=(0.0, 2.0)),)
    >>> [word.name for word in read_correction("clip_cov+tis")]
    ['clip_cov', 'tis']
    >>> [word.values for word in read_correction("mis:4+k1_mean:0.9:1.1")]
    [(0.0, 4.0), (0.9, 1.1)]
    >>> read_correction("tsi:2")
    Traceback (most recent call last):
    ValueError: corrections: no 'tsi'; did you mean tis or ratio?
    """
    words = []
    for part in text.split("+"):
        name, *rest = part.split(":")
        name = _known_name("corrections", name, {**CORRECTIONS, **SURROGATES})
        values = _numbers("corrections", part, rest)
        defaults = CORRECTIONS[name] if name in CORRECTIONS else SURROGATES[name]
        if len(values) > len(defaults):
            raise ValueError(f"corrections: '{part}'; {name} takes {len(defaults)} numbers at most")
        if any(value < 0 for value in values):
            raise ValueError(f"corrections: '{part}'; give numbers that are not negative")
        values = (*defaults[: len(defaults) - len(values)], *values)
        if len(values) == 2 and not values[0] < values[1]:
            raise ValueError(f"corrections: '{part}'; give the lower end of the band first")
        words.append(CorrectionWord(name, values))
    names = [word.name for word in words]
    if len(words) > 1 and "none" in names:
        raise ValueError(f"corrections: '{text}'; none stands alone")
    if any(name in SURROGATES for name in names[1:]):
        raise ValueError(f"corrections: '{text}'; {', '.join(SURROGATES)} stand first, one of them at most")
    if names[names[0] in SURROGATES :][:1] == ["normalised"]:
        raise ValueError(
            f"corrections: '{text}'; normalised comes behind what it divides, as tis:2+normalised"
        )
    return tuple(words)


def _numbers(argument: str, text: str, parts: list[str]) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        raise ValueError(f"{argument}: '{text}' has a number that cannot be read; give NAME:NUMBER") from None
    if any(math.isnan(value) for value in values):
        raise ValueError(f"{argument}: '{text}'; give numbers")
    return values


def _known_name(argument: str, name: str, known: Mapping[str, Any]) -> str:
    """The name as it is spelt here, whatever its case and whether its words are joined by - or _."""
    spelt = name.lower().replace("-", "_")
    if spelt in known:
        return spelt
    near = nearest(name, known, most=2, likeness=0.5)
    advice = f"did you mean {' or '.join(near)}?" if near else f"give {', '.join(known)}"
    raise ValueError(f"{argument}: no '{name}'; {advice}")
