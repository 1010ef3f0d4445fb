"""The transformer's settings, checked once and hashable."""

from dataclasses import dataclass

import jax.numpy as jnp

from gradvar.core.checks import finite, one_of, positive, whole
from gradvar.policies.sampler import check_stop
from gradvar.policies.transformer.rope import Rope
from gradvar.policies.transformer.variant import LLAMA, Variant


@dataclass(frozen=True)
class TransformerConfig:
    """Settings of a Llama-, Qwen- or SmolLM-like decoder and of its completions.

    ``vocab`` tokens; completions of ``completion_length`` tokens that may end earlier with the token
    ``stop``. ``layers`` blocks of ``width``, with ``heads`` query heads in groups over ``kv_heads`` key-value
    heads of ``head_dim`` features (``width // heads`` unless given) and a SwiGLU of ``hidden`` features.
    ``qkv_bias`` adds biases to queries, keys and values (Qwen2 has them, Llama not); ``qk_norm`` norms every head's
    queries and keys (Qwen3). ``rope`` stretches the rotary embedding for longer contexts (then ``rope_theta`` is
    its own); ``rotary`` says for each layer whether it has one (SmolLM3; None: all). ``tied`` reads the logits off
    the embedding. ``max_length`` bounds prompt and completion together. ``pad`` is the token that
    fills prompts on the left (None: all prompts are full; it may lie outside the vocabulary). ``dtype`` is
    that of parameters and activations; norms, softmax and log-probabilities are computed in at least float32.
    ``temperature`` divides the logits: the policy that is sampled from, and whose log-probabilities are
    given, is the tempered one. ``adapter_scale`` multiplies the products of low-rank adapters, where there are any.
    ``variant``: what sets other families' blocks apart.

    The defaults are a model of about 100,000 parameters.
    """

    vocab: int
    completion_length: int
    layers: int = 2
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 192
    head_dim: int | None = None
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    rope: Rope | None = None
    rotary: tuple[bool, ...] | None = None
    qkv_bias: bool = False
    qk_norm: bool = False
    tied: bool = True
    max_length: int = 256
    dtype: str = "float32"
    stop: int | None = None
    pad: int | None = None
    temperature: float = 1.0
    adapter_scale: float = 1.0
    variant: Variant = LLAMA

    def __post_init__(self) -> None:
        whole("vocab", self.vocab, 2)
        for name in ("completion_length", "layers", "width", "heads", "kv_heads", "hidden", "max_length"):
            whole(name, getattr(self, name), 1)
        check_stop(self.stop, self.vocab)
        if self.heads % self.kv_heads:
            raise ValueError(
                f"kv_heads: {self.kv_heads} does not divide heads = {self.heads}; give a divisor of heads"
            )
        if self.head_dim is None and self.width % self.heads:
            raise ValueError(
                f"heads: {self.heads} does not divide width = {self.width}; give a divisor, or head_dim"
            )
        if self.head_width < 2 or self.head_width % 2:
            raise ValueError(
                f"head_dim: {self.head_width} features per head cannot be paired for the rotary embedding; "
                "give an even number"
            )
        if self.completion_length >= self.max_length:
            raise ValueError(
                f"max_length: {self.max_length} leaves no room for a prompt before {self.completion_length} "
                "tokens of completion; give more"
            )
        for name in ("temperature", "rope_theta", "norm_eps"):
            positive(name, finite(name, getattr(self, name)))
        if self.rotary is not None and len(self.rotary) != self.layers:
            raise ValueError(
                f"rotary: {len(self.rotary)} entries for {self.layers} layers; give one for each"
            )
        windows = self.variant.windows
        if windows is not None and len(windows) != self.layers:
            raise ValueError(
                f"windows: {len(windows)} entries for {self.layers} layers; give one for each, 0 where there is none"
            )
        one_of("dtype", self.dtype, ("float64", "float32", "bfloat16", "float16"))
        if self.dtype == "float64" and jnp.result_type(float) != jnp.float64:
            raise ValueError(
                "dtype: 'float64' needs double precision; set JAX_ENABLE_X64=1, or give 'float32'"
            )

    @property
    def positions(self) -> Rope:
        """How positions become angles."""
        return Rope(self.rope_theta) if self.rope is None else self.rope

    @property
    def head_width(self) -> int:
        """Number of features of each attention head."""
        return self.width // self.heads if self.head_dim is None else self.head_dim
