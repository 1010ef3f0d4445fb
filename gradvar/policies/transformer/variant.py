"""What sets a decoder apart from Llama's: the settings in which the supported families differ."""

from dataclasses import dataclass
from typing import Literal, get_args

from gradvar.core.checks import at_least, finite, one_of, positive, whole
from gradvar.policies.transformer.rope import Rope

Activation = Literal["silu", "gelu"]
Normed = Literal["before", "after", "both"]
QkNorm = Literal["none", "head", "projection"]


@dataclass(frozen=True)
class Variant:
    """How a family's blocks differ from Llama's; the defaults are Llama's.

    ``normed``: whether attention and MLP have norms before them, after them (OLMo 2, arXiv 2501.00656), or both (Gemma
    2, arXiv 2408.00118). ``qk_norm``: none, over each head's features (Qwen3, Gemma 3), or over the whole projection
    (OLMo 2). ``unit_norms``: norms multiply by one plus their weight (Gemma). ``activation``: of the gate; gelu is its
    tanh approximation.

    ``embed_scale`` multiplies embeddings, ``residual_scale`` what is added to the residual sum, ``attention_scale`` the
    products of queries and keys (None: one over the root of the features), and ``logit_divisor`` divides logits
    (Granite). ``attention_cap`` and ``logit_cap``: x becomes cap * tanh(x / cap) (Gemma 2).

    ``windows``: for each layer how many tokens, itself included, a token attends to; 0 for all (None: all in all
    layers). ``local_rope`` is the rotary embedding of layers with a window (Gemma 3).

    ``experts`` MLPs a layer, of which each token goes through the ``active`` with the largest router probabilities,
    weighted by these; ``renormalised``: after dividing them by their sum (Qwen3-MoE, arXiv 2505.09388).
    """

    normed: Normed = "before"
    qk_norm: QkNorm = "none"
    unit_norms: bool = False
    activation: Activation = "silu"
    embed_scale: float = 1.0
    residual_scale: float = 1.0
    attention_scale: float | None = None
    logit_divisor: float = 1.0
    attention_cap: float | None = None
    logit_cap: float | None = None
    windows: tuple[int, ...] | None = None
    local_rope: Rope | None = None
    experts: int = 0
    active: int = 0
    renormalised: bool = True

    def __post_init__(self) -> None:
        one_of("normed", self.normed, get_args(Normed))
        one_of("qk_norm", self.qk_norm, get_args(QkNorm))
        one_of("activation", self.activation, get_args(Activation))
        for name in (
            "embed_scale",
            "residual_scale",
            "attention_scale",
            "logit_divisor",
            "attention_cap",
            "logit_cap",
        ):
            value = getattr(self, name)
            if value is not None:
                positive(name, finite(name, value))
        for window in self.windows or ():
            at_least("windows", window, 0)
        whole("experts", self.experts, 0)
        if self.experts and not 1 <= self.active <= self.experts:
            raise ValueError(f"active: {self.active} of {self.experts} experts; give 1 to {self.experts}")

    def window_within(self, tokens: int) -> bool:
        """True if some layer's window hides a token from another among so many."""
        return any(0 < window < tokens for window in self.windows or ())


LLAMA = Variant()
