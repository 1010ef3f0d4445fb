"""The supported families: what each one's configuration means beside Llama's, and how it names its tensors."""

from collections.abc import Mapping
from typing import Any

from gradvar.policies.transformer.config import TransformerConfig
from gradvar.policies.transformer.config_reader import Reader
from gradvar.policies.transformer.rope import Rope
from gradvar.policies.transformer.variant import Activation, Variant

FAMILIES = (
    "llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "smollm3", "gemma2", "gemma3_text", "phi3", "olmo2", "granite",
)  # fmt: skip
"""Values of ``model_type``; SmolLM and SmolLM2 are of type llama."""

TIED = ("smollm3", "gemma2", "gemma3_text")
"""Families whose logits are read off the embedding unless they say otherwise."""
HEAD_DIM = {"qwen3": 128, "gemma2": 256, "gemma3_text": 256}
"""Features of a head where the configuration does not say."""
EPS = {"olmo2": 1e-5, "phi3": 1e-5}
"""Of norms, where the configuration does not say and it is not 1e-6."""
_GEMMA = ("gemma2", "gemma3_text")
LAYER_TYPES = dict.fromkeys(_GEMMA, ("full_attention", "sliding_attention"))
"""Kinds of layers that a family may list, beside those that attend to everything."""

PLAIN = {"embed": "model.embed_tokens.weight", "norm": "model.norm.weight"}
"""Tensors that no layer holds."""
HEAD = "lm_head.weight"
"""The matrix of logits where it is not the embedding."""
FUSED = {
    "self_attn.qkv_proj.weight": ("query", "key", "value"),
    "mlp.gate_up_proj.weight": ("gate", "up"),
}
"""Tensors that hold several matrices, one below the other (Phi-3)."""
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
_AFTER = {
    "attention_after_norm": "post_attention_layernorm.weight",
    "mlp_norm": "pre_feedforward_layernorm.weight",
    "mlp_after_norm": "post_feedforward_layernorm.weight",
}
_EXPERTS = {"router": "mlp.gate.weight"}
_EXPERTS |= {name: f"mlp.experts.{{expert}}.{name}_proj.weight" for name in ("gate", "up", "down")}
_ACTIVATIONS: dict[str, Activation] = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu"}


def tensor_names(config: TransformerConfig) -> dict[str, str]:
    """A layer's tensors by our names; ``{expert}`` stands for an expert's number."""
    after = _AFTER if config.variant.normed != "before" else {}
    return _LAYER | after | (_EXPERTS if config.variant.experts else {})


def activation_key(family: str) -> str:
    """The setting that names the activation."""
    return "hidden_activation" if family in _GEMMA else "hidden_act"


def read_activation(content: Mapping[str, Any], family: str) -> Activation | None:
    """The activation of the gate; None for one that is not implemented."""
    default = "gelu_pytorch_tanh" if family in _GEMMA else "silu"
    name = content.get(activation_key(family))
    name = default if name is None else name
    return _ACTIVATIONS.get(name) if isinstance(name, str) else None


def read_context(read: Reader, family: str) -> int:
    """Tokens of prompt and completion at most; of Phi-3's stretched models those of the first context."""
    context = read.count("max_position_embeddings", 2048)
    if family != "phi3":
        return context
    return min(context, read.count("original_max_position_embeddings", context))


def read_variant(read: Reader, family: str, layers: int, width: int) -> Variant:
    """What sets this model's blocks apart from Llama's.

    Args:
        read: Reads the configuration.
        family: Its ``model_type``.
        layers: How many there are.
        width: Of the hidden states.
    """
    if family in ("mistral", "phi3"):
        return Variant(windows=_windows(read, layers, ["sliding_attention"] * layers))
    if family == "olmo2":
        return Variant(normed="after", qk_norm="projection")
    if family == "granite":
        return Variant(
            embed_scale=read.number("embedding_multiplier", 1.0),
            residual_scale=read.number("residual_multiplier", 1.0),
            attention_scale=read.number("attention_multiplier", 1.0),
            logit_divisor=read.number("logits_scaling", 1.0),
        )
    if family == "qwen3_moe":
        return Variant(
            qk_norm="head", experts=read.count("num_local_experts" if "num_local_experts" in read.content
                                               else "num_experts", 128, 1 << 12),
            active=read.count("num_experts_per_tok", 8, 1 << 12), renormalised=read.flag("norm_topk_prob", False),
        )  # fmt: skip
    return _gemma(read, family, layers, width) if family in _GEMMA else Variant()


def _gemma(read: Reader, family: str, layers: int, width: int) -> Variant:
    """Gemma 2: every other layer has a window; products and logits are capped. Gemma 3: all but every sixth."""
    second = family == "gemma2"
    every = 2 if second else read.count("sliding_window_pattern", 6)
    kinds = read.entries("layer_types") or [
        "sliding_attention" if (layer + 1) % every else "full_attention" for layer in range(layers)
    ]

    def cap(name: str, default: float | None) -> float | None:
        value = read.content.get(name, default)
        return None if value is None else read.number(name, 1.0 if default is None else default)

    return Variant(
        normed="both", qk_norm="none" if second else "head", unit_norms=True, activation="gelu",
        embed_scale=width**0.5, attention_scale=read.number("query_pre_attn_scalar", 256.0) ** -0.5,
        attention_cap=cap("attn_logit_softcapping", 50.0 if second else None),
        logit_cap=cap("final_logit_softcapping", 30.0 if second else None),
        windows=_windows(read, layers, kinds), local_rope=None if second else _local_rope(read),
    )  # fmt: skip


def _windows(read: Reader, layers: int, kinds: list[str]) -> tuple[int, ...] | None:
    """Of each layer, 0 for those that attend to everything."""
    if read.content.get("sliding_window", 4096) is None:
        return None
    window = read.count("sliding_window", 4096)
    if len(kinds) != layers:
        raise ValueError(
            f"folder: {read.path} has {len(kinds)} layer_types for {layers} layers; give one for each"
        )
    return tuple(window if kind == "sliding_attention" else 0 for kind in kinds)


def _local_rope(read: Reader) -> Rope:
    """Gemma 3's layers with a window turn by a base of their own."""
    local = read.settings("rope_parameters").get("sliding_attention")
    if isinstance(local, dict):
        return Rope(Reader(local, read.path).number("rope_theta", 10_000.0))
    return Rope(read.number("rope_local_base_freq", 10_000.0))
