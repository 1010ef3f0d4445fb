"""A local Hugging Face folder's config.json, read strictly.

What a model of the supported families can say in its configuration is either implemented or refused by name: a setting
that is silently ignored gives plausible and wrong log-probabilities.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradvar.files.atomic import read_json
from gradvar.policies.transformer.config import TransformerConfig
from gradvar.policies.transformer.config_reader import Reader, shown
from gradvar.policies.transformer.config_rope import read_rope, read_rotary
from gradvar.policies.transformer.families import (
    EPS,
    FAMILIES,
    HEAD_DIM,
    LAYER_TYPES,
    TIED,
    activation_key,
    read_activation,
    read_context,
    read_variant,
)

_MOST_LAYERS = 1 << 12
_AGAIN = "copy the whole folder of the model again"


def read_config(folder: Path, **settings: Any) -> TransformerConfig:
    """The settings in ``folder/config.json``; ``settings`` (completion_length, stop, pad, dtype, ...) are ours.

    Raises ``ValueError`` naming what is missing, of a wrong type, or not supported.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"folder: no file {path}; give the folder of a saved model")
    content = read_json(path, "folder", _AGAIN)
    family = content.get("model_type")
    if family not in FAMILIES:
        raise ValueError(
            f"folder: {path} has model_type {shown(family)}; supported are {', '.join(FAMILIES)} "
            "(SmolLM and SmolLM2 are llama); any other causal model records with gradvar.torch.record in PyTorch"
        )
    read = Reader(content, path)
    _refuse(content, family, path)
    layers, heads = read.count("num_hidden_layers", largest=_MOST_LAYERS), read.count("num_attention_heads")
    width = read.count("hidden_size")
    context = read_context(read, family)
    try:
        variant = read_variant(read, family, layers, width)
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"folder: {path}: {error}") from None
    hidden = read.count("moe_intermediate_size" if variant.experts else "intermediate_size")
    length = settings.pop("completion_length")
    ours = {
        "vocab": read.count("vocab_size"), "completion_length": length, "layers": layers, "width": width,
        "heads": heads, "kv_heads": read.count("num_key_value_heads", heads), "hidden": hidden,
        "head_dim": read.count("head_dim", HEAD_DIM.get(family, 0)) or None,
        "norm_eps": read.number("rms_norm_eps", EPS.get(family, 1e-6), 0.1),
        "rope": read_rope(content, family, context, path),
        "rotary": read_rotary(content, layers, path) if family == "smollm3" else None,
        "qkv_bias": family == "qwen2", "qk_norm": family == "qwen3",
        "tied": read.flag("tie_word_embeddings", family in TIED), "max_length": context, "variant": variant,
    }  # fmt: skip
    if settings.get("max_length", 0) > context:
        raise ValueError(
            f"max_length: {settings['max_length']}; the model's own context is {context}, give no more"
        )
    return TransformerConfig(**(ours | settings))


def _refuse(content: Mapping[str, Any], family: str, path: Path) -> None:
    """What the families can ask for and this policy does not do."""
    read = Reader(content, path)
    kinds = read.entries("layer_types")
    unsupported = {
        activation_key(family): read_activation(content, family) is None,
        "attention_bias": family != "qwen2" and read.flag("attention_bias", False),
        "mlp_bias": read.flag("mlp_bias", False),
        "use_sliding_window": read.flag("use_sliding_window", False),
        "layer_types": any(kind not in LAYER_TYPES.get(family, ("full_attention",)) for kind in kinds),
        "use_bidirectional_attention": read.flag("use_bidirectional_attention", False),
        "quantization_config": content.get("quantization_config") is not None,
        "partial_rotary_factor": family != "phi3" and not read.is_one("partial_rotary_factor"),
        "decoder_sparse_step": not read.is_one("decoder_sparse_step"),
        "mlp_only_layers": bool(read.entries("mlp_only_layers")),
    }
    for key, bad in unsupported.items():
        if bad:
            raise ValueError(
                f"folder: {path} has {key} {shown(content.get(key))}, which this policy does not do; "
                "give a model without it"
            )


def read_stop(folder: Path) -> int | None:
    """The first end-of-sequence token of generation_config.json or config.json; None where neither has one.

    Raises ``ValueError`` where it is no token.
    """
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        stop = read_json(path, "folder", _AGAIN).get("eos_token_id") if path.exists() else None
        stops = stop if isinstance(stop, list) else [] if stop is None else [stop]
        for token in stops:
            if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < 1 << 31:
                raise ValueError(f"folder: {path} has eos_token_id {shown(token)}; give a token's number")
        if stops:
            return int(stops[0])
    return None
