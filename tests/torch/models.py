"""A small Llama in double precision, named as Hugging Face names it; one with adapters; and its weights in our tree."""

import math

import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

VOCAB, WIDTH, HIDDEN = 7, 8, 12


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)


def turned(x, theta=10_000.0):
    """Rotary embedding of [row, head, token, feature]."""
    half = x.shape[-1] // 2
    speed = theta ** (-torch.arange(half, dtype=x.dtype) / half)
    angle = torch.arange(x.shape[2], dtype=x.dtype)[:, None] * speed
    one, two = x[..., :half], x[..., half:]
    return torch.cat([one * angle.cos() - two * angle.sin(), two * angle.cos() + one * angle.sin()], -1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(WIDTH, WIDTH)
        self.k_proj = nn.Linear(WIDTH, WIDTH // 2)
        self.v_proj = nn.Linear(WIDTH, WIDTH // 2)
        self.o_proj = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x):
        def heads(y, number):
            return y.reshape(*y.shape[:2], number, -1).transpose(1, 2)

        q, k, v = heads(self.q_proj(x), 2), heads(self.k_proj(x), 1), heads(self.v_proj(x), 1)
        logits = turned(q) @ turned(k).transpose(-1, -2) / math.sqrt(q.shape[-1])
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        mixed = torch.softmax(logits.masked_fill(~causal, -math.inf), -1) @ v
        return self.o_proj(mixed.transpose(1, 2).reshape(x.shape))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.up_proj = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down_proj = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x):
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = Norm(WIDTH), Norm(WIDTH)
        self.self_attn, self.mlp = Attention(), Mlp()

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Inner(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB, WIDTH)
        self.layers = nn.ModuleList(Block() for _ in range(layers))
        self.norm = Norm(WIDTH)


class Llama(nn.Module):
    """Qwen2's arrangement: biases on queries, keys and values, and a tied head; a dropout that evaluation turns off."""

    def __init__(self, layers=1, seed=0, tied=True):
        super().__init__()
        torch.manual_seed(seed)
        self.model = Inner(layers)
        self.dropout = nn.Dropout(0.5)
        self.lm_head = nn.Linear(WIDTH, VOCAB, bias=False)
        if tied:
            self.lm_head.weight = self.model.embed_tokens.weight
        self.double()
        with torch.no_grad():
            for parameter in self.parameters():  # no zero bias, no unit norm
                parameter.add_(0.3 * torch.randn_like(parameter))

    def forward(self, input_ids):
        x = self.model.embed_tokens(input_ids)
        for layer in self.model.layers:
            x = layer(self.dropout(x))
        return self.lm_head(self.model.norm(x))


class Adapted(nn.Module):
    """A linear layer with an adapter of rank 2, as LoRA has them."""

    def __init__(self, base):
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Linear(base.in_features, 2, bias=False)
        self.lora_B = nn.Linear(2, base.out_features, bias=True)
        self.double()

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x))


def adapted(seed=0):
    model = Llama(2, seed)
    for layer in model.model.layers:
        layer.self_attn.q_proj = Adapted(layer.self_attn.q_proj)
        layer.mlp.down_proj = Adapted(layer.mlp.down_proj)
    return model


OURS = {
    "attention_norm": "input_layernorm.weight",
    "mlp_norm": "post_attention_layernorm.weight",
    "query": "self_attn.q_proj.weight",
    "key": "self_attn.k_proj.weight",
    "value": "self_attn.v_proj.weight",
    "output": "self_attn.o_proj.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
    "query_bias": "self_attn.q_proj.bias",
    "key_bias": "self_attn.k_proj.bias",
    "value_bias": "self_attn.v_proj.bias",
}


def translated(named, layers=1):
    """Arrays by Hugging Face's names, as the tree of the house's transformer; with a tied head."""
    ours = {
        name: jnp.asarray(np.stack([named[f"model.layers.{i}.{theirs}"].T for i in range(layers)]))
        for name, theirs in OURS.items()
    }
    embed, norm = named["model.embed_tokens.weight"], named["model.norm.weight"]
    return {"embed": jnp.asarray(embed), "norm": jnp.asarray(norm), "layers": ours}
