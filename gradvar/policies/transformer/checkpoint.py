"""A local Hugging Face folder: config.json read strictly, weights from safetensors. Nothing in the files is executed.

What a model of the supported families can say in its configuration is either implemented or refused by name: a setting
that is silently ignored gives plausible and wrong log-probabilities.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from gradvar.files.atomic import read_json
from gradvar.policies.transformer.config import TransformerConfig
from gradvar.policies.transformer.network import Params, shapes
from gradvar.policies.transformer.rope import Rope

FAMILIES = ("llama", "qwen2", "qwen3", "smollm3")
"""Values of ``model_type``; SmolLM and SmolLM2 are of type llama."""

_MOST = 1 << 28  # of any number of things
_MOST_LAYERS = 1 << 12
_AGAIN = "copy the whole folder of the model again"
_DEFAULT_THETA = {"smollm3": 2_000_000.0}
_DEFAULT_EPS = 1e-6

_PLAIN = {"embed": "model.embed_tokens.weight", "norm": "model.norm.weight"}
_HEAD = "lm_head.weight"
_LAYER = {
    "attention_norm": "input_layernorm.weight",
    "mlp_norm": "post_attention_layernorm.weight",
    "query": "self_attn.q_proj.weight",
    "key": "self_attn.k_proj.weight",
    "value": "self_attn.v_proj.weight",
    "output": "self_attn.o_proj.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
}
_LAYER |= {f"{name}_bias": f"self_attn.{name[0]}_proj.bias" for name in ("query", "key", "value")}
_LAYER |= {f"{name}_norm": f"self_attn.{name[0]}_norm.weight" for name in ("query", "key")}


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
            f"folder: {path} has model_type {family!r}; supported are {', '.join(FAMILIES)} "
            "(SmolLM and SmolLM2 are llama)"
        )
    read = _Reader(content, path)
    _refuse(content, family, path)
    layers, heads = read.count("num_hidden_layers", largest=_MOST_LAYERS), read.count("num_attention_heads")
    width = read.count("hidden_size")
    context = read.count("max_position_embeddings", 2048)
    length = settings.pop("completion_length")
    ours = {
        "vocab": read.count("vocab_size"), "completion_length": length, "layers": layers, "width": width,
        "heads": heads, "kv_heads": read.count("num_key_value_heads", heads), "hidden": read.count("intermediate_size"),
        "head_dim": read.count("head_dim", 128 if family == "qwen3" else 0) or None,
        "norm_eps": read.number("rms_norm_eps", _DEFAULT_EPS, 0.1), "rope": _rope(content, family, context, path),
        "rotary": _rotary(content, layers, path) if family == "smollm3" else None,
        "qkv_bias": family == "qwen2", "qk_norm": family == "qwen3",
        "tied": read.flag("tie_word_embeddings", family == "smollm3"), "max_length": context,
    }  # fmt: skip
    if settings.get("max_length", 0) > context:
        raise ValueError(
            f"max_length: {settings['max_length']}; the model's own context is {context}, give no more"
        )
    return TransformerConfig(**(ours | settings))


class _Reader:
    """Numbers of a configuration, with the file and the key named where they are none."""

    def __init__(self, content: Mapping[str, Any], path: Path) -> None:
        self.content, self.path = content, path

    def count(self, key: str, default: int | None = None, largest: int = _MOST) -> int:
        value = self.content.get(key)
        value = default if value is None else value
        least = 0 if default == 0 else 1
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= largest:
            raise ValueError(
                f"folder: {self.path} has {key} {_shown(value)}; give a whole number from 1 to {largest}"
            )
        return value

    def number(self, key: str, default: float, largest: float = 1e30) -> float:
        value = self.content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= largest:
            raise ValueError(
                f"folder: {self.path} has {key} {_shown(value)}; give a number above 0, {largest:g} at most"
            )
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.content.get(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise ValueError(f"folder: {self.path} has {key} {_shown(value)}; give true or false")
        return value


def _shown(value: Any) -> str:
    """A value of a configuration, cut where it is long; Python writes no whole number of many thousand digits."""
    if isinstance(value, int) and abs(value) >= 10**100:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _refuse(content: Mapping[str, Any], family: str, path: Path) -> None:
    """What the families can ask for and this policy does not do."""
    read = _Reader(content, path)
    kinds = content.get("layer_types") or []
    if not isinstance(kinds, list):
        raise ValueError(f"folder: {path} has layer_types {_shown(kinds)}; give a list, or null")
    unsupported = {
        "hidden_act": content.get("hidden_act", "silu") not in ("silu", "swish"),
        "attention_bias": family != "qwen2" and read.flag("attention_bias", False),
        "mlp_bias": read.flag("mlp_bias", False),
        "use_sliding_window": read.flag("use_sliding_window", False),
        "layer_types": any(kind != "full_attention" for kind in kinds),
        "quantization_config": content.get("quantization_config") is not None,
        "partial_rotary_factor": content.get("partial_rotary_factor") not in (None, 1, 1.0),
    }
    for key, bad in unsupported.items():
        if bad:
            raise ValueError(
                f"folder: {path} has {key} {content[key]!r}, which this policy does not do; give a model without it"
            )


def _rotary(content: Mapping[str, Any], layers: int, path: Path) -> tuple[bool, ...] | None:
    """SmolLM3: which layers have a rotary embedding; by default every fourth has none."""
    flags = content.get("no_rope_layers")
    if flags is None:
        every = _Reader(content, path).count("no_rope_layer_interval", 4)
        flags = [(layer + 1) % every != 0 for layer in range(layers)]
    if not isinstance(flags, list) or len(flags) < layers or any(flag not in (0, 1) for flag in flags):
        raise ValueError(
            f"folder: {path} has no_rope_layers {flags!r}; give 0 or 1 for each of {layers} layers"
        )
    flags = [bool(flag) for flag in flags[:layers]]
    return None if all(flags) else tuple(flags)


def _rope(content: Mapping[str, Any], family: str, context: int, path: Path) -> Rope:
    """From ``rope_theta`` and ``rope_scaling``, or the newer ``rope_parameters`` that holds both."""
    scaling = content.get("rope_parameters") or content.get("rope_scaling") or {}
    if not isinstance(scaling, dict):
        raise ValueError(f"folder: {path} has rope_scaling {scaling!r}; give an object of settings, or null")
    read = _Reader(scaling, path)
    fallback = _Reader(content, path).number("rope_theta", _DEFAULT_THETA.get(family, 10_000.0))
    theta = read.number("rope_theta", fallback)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if scaling.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise ValueError(
            f"folder: {path} has partial_rotary_factor {scaling['partial_rotary_factor']!r}; not supported"
        )
    try:
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
    read = _Reader(scaling, path)
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


def read_stop(folder: Path) -> int | None:
    """The first end-of-sequence token of generation_config.json or config.json; None where neither has one.

    Raises ``ValueError`` where it is no token.
    """
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        stop = read_json(path, "folder", _AGAIN).get("eos_token_id") if path.is_file() else None
        stops = stop if isinstance(stop, list) else [] if stop is None else [stop]
        for token in stops:
            if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < 1 << 31:
                raise ValueError(f"folder: {path} has eos_token_id {_shown(token)}; give a token's number")
        if stops:
            return int(stops[0])
    return None


def read_weights(folder: Path, config: TransformerConfig) -> Params:
    """The parameters from ``model.safetensors``, or from the files that its index names, as ``config.dtype``.

    A layer's matrices are stacked one by one, so that little more than the result is held. Raises ``ValueError``
    naming the tensor that is missing, of another shape, or not finite, and on tensors that nothing asked for.
    """
    with ExitStack() as stack:
        tensors = _Tensors(folder, config.dtype, stack)
        wanted = shapes(config)
        plain = dict(_PLAIN)
        if config.tied and plain["embed"] not in tensors.files and _HEAD in tensors.files:
            plain["embed"] = _HEAD  # one matrix under either name
        params: Params = {name: tensors.take(theirs, wanted[name]) for name, theirs in plain.items()}
        if not config.tied:
            params["head"] = tensors.take(_HEAD, wanted["head"][::-1]).T
        params["layers"] = {}
        for name, (_, *shape) in wanted["layers"].items():
            rows = (f"model.layers.{i}.{_LAYER[name]}" for i in range(config.layers))
            params["layers"][name] = jnp.stack([tensors.take(row, tuple(shape[::-1])).T for row in rows])
        left = tensors.left((_HEAD,) if config.tied else ())
    if left:
        raise ValueError(
            f"folder: {folder} holds {len(left)} tensors that config.json does not speak of, such as {left[0]}; "
            "the two do not belong together, or the model is not of a supported family"
        )
    return params


class _Tensors:
    """The tensors of one or several safetensors files, each read when it is asked for."""

    def __init__(self, folder: Path, dtype: str, stack: ExitStack) -> None:
        self.dtype = jnp.dtype(dtype)
        self.files: dict[str, tuple[Path, Any]] = {}
        for path in _weight_files(folder):
            try:
                opened = stack.enter_context(safe_open(path, framework="numpy"))
            except (SafetensorError, OSError, ValueError) as error:
                line = str(error).splitlines()[0]
                raise ValueError(
                    f"folder: {path} is no whole safetensors file ({line}); copy it again"
                ) from None
            for name in opened.keys():  # noqa: SIM118, not a mapping
                if name in self.files:
                    raise ValueError(
                        f"folder: {name} is in {self.files[name][0]} and in {path}; the two may differ, give it once"
                    )
                self.files[name] = (path, opened)
        self.folder = folder
        self.taken: set[str] = set()

    def take(self, name: str, shape: tuple[int, ...]) -> Any:
        """One tensor of this shape, outputs by inputs where it is a matrix."""
        if name not in self.files:
            raise ValueError(
                f"folder: {self.folder} has no tensor {name}; its weights do not fit config.json"
            )
        path, opened = self.files[name]
        stored_shape = tuple(opened.get_slice(name).get_shape())
        if stored_shape != shape:
            raise ValueError(
                f"folder: {name} in {path} has shape {stored_shape} and config.json asks for {shape}; "
                "the two do not belong together"
            )
        try:
            tensor = opened.get_tensor(name)
        except Exception as error:  # the reader's own, and NumPy's for a type that it does not know
            line = str(error).splitlines()[0]
            raise ValueError(f"folder: {name} in {path} cannot be read ({line}); copy it again") from None
        if not jnp.issubdtype(tensor.dtype, jnp.floating):
            raise ValueError(
                f"folder: {name} in {path} holds {tensor.dtype}; quantised weights are not supported"
            )
        if not np.isfinite(tensor).all():
            raise ValueError(f"folder: {name} in {path} holds a NaN or an infinity; copy it again")
        self.taken.add(name)
        return jnp.asarray(tensor, self.dtype)

    def left(self, known: tuple[str, ...]) -> list[str]:
        """What was not taken, but for buffers that other versions save too."""
        rest = set(self.files) - self.taken - set(known)
        return sorted(name for name in rest if not name.endswith("rotary_emb.inv_freq"))


def _weight_files(folder: Path) -> Iterator[Path]:
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if not index.is_file():
        if not single.is_file():
            pickled = sorted(path.name for path in folder.glob("*.bin"))
            fix = (
                f"; {pickled[0]} may hold code and is not read, save the model as safetensors"
                if pickled
                else ""
            )
            raise ValueError(f"folder: {folder} has no model.safetensors and no index of one{fix}")
        yield single
        return
    listed = read_json(index, "folder", _AGAIN).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise ValueError(f"folder: {index} has no weight_map from tensors to files; copy it again")
    for name in sorted(set(listed.values())):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(
                f"folder: {index} names the file {name!r}; give plain names of safetensors files"
            )
        if not (folder / name).is_file():
            raise ValueError(f"folder: {folder / name} is missing; copy the whole folder")
        yield folder / name
