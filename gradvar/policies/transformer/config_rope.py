"""How a model's configuration says that positions become angles."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradvar.policies.transformer.config_reader import Reader, shown
from gradvar.policies.transformer.rope import Rope

_STRETCH = frozenset(
    {"factor", "short_factor", "long_factor", "low_freq_factor", "high_freq_factor", "attention_factor"}
)
"""Settings that mean nothing to a plain rope."""
_DEFAULT_THETA = {"smollm3": 2_000_000.0, "gemma3_text": 1_000_000.0}


def read_rotary(content: Mapping[str, Any], layers: int, path: Path) -> tuple[bool, ...] | None:
    """SmolLM3: which layers have a rotary embedding; by default every fourth has none."""
    flags = content.get("no_rope_layers")
    if flags is None:
        every = Reader(content, path).count("no_rope_layer_interval", 4)
        flags = [(layer + 1) % every != 0 for layer in range(layers)]
    if not isinstance(flags, list) or len(flags) < layers or any(flag not in (0, 1) for flag in flags):
        raise ValueError(
            f"folder: {path} has no_rope_layers {shown(flags)}; give 0 or 1 for each of {layers} layers"
        )
    flags = [bool(flag) for flag in flags[:layers]]
    return None if all(flags) else tuple(flags)


def read_rope(content: Mapping[str, Any], family: str, context: int, path: Path) -> Rope:
    """From ``rope_theta`` and ``rope_scaling``, or the newer ``rope_parameters`` that holds both.

    Args:
        content: Of the configuration.
        family: Its ``model_type``.
        context: The longest sequence, in tokens.
        path: Of the file, for messages.
    """
    config = Reader(content, path)
    scaling = config.settings("rope_parameters") or config.settings("rope_scaling")
    if isinstance(scaling.get("full_attention"), dict):  # Gemma 3: by kind of layer
        scaling = scaling["full_attention"]
    read = Reader(scaling, path)
    fallback = config.number("rope_theta", _DEFAULT_THETA.get(family, 10_000.0))
    theta = read.number("rope_theta", fallback)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if "rope_type" not in scaling and "type" not in scaling and _STRETCH & scaling.keys():
        raise ValueError(
            f"folder: {path} has {', '.join(sorted(_STRETCH & scaling.keys()))} of a rope and no rope_type; name it"
        )
    if family != "phi3" and not read.is_one("partial_rotary_factor"):
        raise ValueError(
            f"folder: {path} has partial_rotary_factor {shown(scaling['partial_rotary_factor'])}; not supported"
        )
    try:
        if family == "phi3":
            return _phi3(scaling, theta, content, path)
        if kind in (
            "default",
            "dynamic",
        ):  # dynamic: plain up to the model's context, and no longer is allowed
            return Rope(theta)
        if kind == "linear":
            return Rope(theta, "linear", read.number("factor", 1.0))
        if kind == "llama3":
            return Rope(
                theta, "llama3", read.number("factor", 8.0),
                read.count("original_max_position_embeddings", context),
                read.number("low_freq_factor", 1.0), read.number("high_freq_factor", 4.0),
            )  # fmt: skip
        if kind == "yarn":
            return _yarn(scaling, theta, context, path)
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"folder: {path}: {error}") from None
    raise ValueError(
        f"folder: {path} has rope type {kind!r}; supported are default, linear, dynamic, yarn and llama3"
    )


def _yarn(scaling: Mapping[str, Any], theta: float, context: int, path: Path) -> Rope:
    read = Reader(scaling, path)
    trained = read.count("original_max_position_embeddings", context)
    factor = read.number("factor", context / trained)
    gain = None if scaling.get("attention_factor") is None else read.number("attention_factor", 1.0)
    scales = scaling.get("mscale"), scaling.get("mscale_all_dim")
    if gain is None and all(scales):
        over, under = (
            0.1 * read.number(key, 1.0) * math.log(factor) + 1 for key in ("mscale", "mscale_all_dim")
        )
        gain = over / under
    return Rope(
        theta, "yarn", factor, trained, read.number("beta_slow", 1.0), read.number("beta_fast", 32.0),
        gain, read.flag("truncate", True),
    )  # fmt: skip


def _phi3(scaling: Mapping[str, Any], theta: float, content: Mapping[str, Any], path: Path) -> Rope:
    """Plain, or LongRoPE's divisors for sequences within the first context, which are all that are allowed."""
    config = Reader(content, path)
    share = Reader(scaling, path).number(
        "partial_rotary_factor", config.number("partial_rotary_factor", 1.0, 1), 1
    )
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return Rope(theta, share=share)
    if kind not in ("longrope", "su", "yarn"):
        raise ValueError(
            f"folder: {path} has rope type {kind!r}; supported for phi3 are default and longrope"
        )
    context = config.count("max_position_embeddings", 4096)
    trained = config.count("original_max_position_embeddings", context)
    factor = Reader(scaling, path).number("factor", context / trained)
    gain = math.sqrt(1 + math.log(factor) / math.log(trained)) if factor > 1 else 1.0
    if scaling.get("attention_factor") is not None:
        gain = Reader(scaling, path).number("attention_factor", 1.0)
    divisors: Any = scaling.get("short_factor")
    numbers = isinstance(divisors, list) and all(type(x) in (int, float) for x in divisors)
    width = config.count("head_dim", config.count("hidden_size") // config.count("num_attention_heads"))
    if not numbers or 2 * len(divisors) != int(width * share):
        raise ValueError(
            f"folder: {path} has short_factor {str(divisors)[:40]}; give {int(width * share) // 2} numbers"
        )
    return Rope(theta, "divided", divisors=tuple(map(float, divisors)), share=share, gain=gain)
