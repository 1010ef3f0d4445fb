"""A decoder-only transformer of the Llama, Qwen and SmolLM families, as pure functions of a tree of arrays.

RMS norm (arXiv 1910.07467, Eq. 4), rotary embedding (arXiv 2104.09864, Eq. 34, with the pairs taken as the
two halves of a head, as public checkpoints store them), grouped-query attention (arXiv 2305.13245) and SwiGLU
(arXiv 2002.05202, Eq. 6), each before a residual sum.

Axes: Q prompts, G continuations of one prompt, S tokens, W width, H query heads, N key-value heads, D
features of a head. The prompt is run once, as [Q, 1, L, W]; its keys and values are the *memory* that all G
continuations attend to, so neither its work nor its keys are repeated over the group. The layers' parameters
are stacked on a leading axis and scanned over: compile time does not grow with depth.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gradvar.policies.transformer.config import TransformerConfig
from gradvar.policies.transformer.rope import Rope

Params = dict[str, Any]

_DOTS = jax.checkpoint_policies.dots_saveable
_FEW_LAYERS = 4  # up to here an unrolled loop both compiles and runs faster than a scan


class Memory(NamedTuple):
    """The prompts' keys and values, and where they hold a token rather than padding."""

    keys: Float[Array, "layer prompt past kv head"]
    values: Float[Array, "layer prompt past kv head"]
    valid: Bool[Array, "prompt past"]


class Cache(NamedTuple):
    """Keys and values of what each continuation has generated so far."""

    keys: Float[Array, "layer prompt group time kv head"]
    values: Float[Array, "layer prompt group time kv head"]


def precise(dtype: jnp.dtype) -> jnp.dtype:
    """At least float32: the precision of norms, softmax and log-probabilities."""
    return jnp.promote_types(dtype, jnp.float32)


def shapes(config: TransformerConfig) -> dict[str, Any]:
    """The parameters' shapes, as a tree like that of the parameters."""
    c = config
    query, kv = c.heads * c.head_width, c.kv_heads * c.head_width
    layer = {
        "query": (c.width, query), "key": (c.width, kv), "value": (c.width, kv), "output": (query, c.width),
        "gate": (c.width, c.hidden), "up": (c.width, c.hidden), "down": (c.hidden, c.width),
        "attention_norm": (c.width,), "mlp_norm": (c.width,),
    }  # fmt: skip
    if c.qk_norm:
        layer |= {"query_norm": (c.head_width,), "key_norm": (c.head_width,)}
    if c.qkv_bias:
        layer |= {"query_bias": (query,), "key_bias": (kv,), "value_bias": (kv,)}
    head = {} if c.tied else {"head": (c.width, c.vocab)}
    stacked = {name: (c.layers, *shape) for name, shape in layer.items()}
    return {"embed": (c.vocab, c.width), **head, "layers": stacked, "norm": (c.width,)}


def init(config: TransformerConfig, key: PRNGKeyArray, scale: float | Array) -> Params:
    """Normal weights of variance 1/fan-in, less where they end in a residual sum; zero biases, unit norms."""
    c, dtype, wanted = config, jnp.dtype(config.dtype), shapes(config)
    residual = (2 * c.layers) ** -0.5
    gains = {"embed": scale if c.tied else 1.0, "output": residual, "down": residual, "head": scale}
    named = {**wanted, **wanted["layers"]}
    order = ("embed", "query", "key", "value", "output", "gate", "up", "down", *(() if c.tied else ("head",)))
    sizes = [math.prod(named[name]) for name in order]
    # one draw for all: compiling a random generator takes longer than running it
    flat = jnp.split(jax.random.normal(key, (sum(sizes),), precise(dtype)), np.cumsum(sizes)[:-1])
    drawn: dict[str, Array] = {}
    for name, numbers in zip(order, flat, strict=True):
        fan_in = c.width if name == "embed" else named[name][-2]
        drawn[name] = (numbers.reshape(named[name]) * (gains.get(name, 1.0) / fan_in**0.5)).astype(dtype)

    def fill(name: str, shape: tuple[int, ...]) -> Array:
        return drawn[name] if name in drawn else jnp.full(shape, float(name.endswith("norm")), dtype)

    layers = {name: fill(name, shape) for name, shape in wanted["layers"].items()}
    return {name: layers if name == "layers" else fill(name, shape) for name, shape in wanted.items()}


def linear(x: Float[Array, "*batch width"], weight: Float[Array, "width out"]) -> Array:
    """``x @ weight`` as one product of two matrices, so that on CPU its gradient is a library call too."""
    return (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], weight.shape[-1])


def rms_norm(x: Float[Array, "*batch width"], weight: Float[Array, " width"], eps: float) -> Array:
    """``weight * x / sqrt(mean(x^2) + eps)``, the quotient in at least float32."""
    wide = x.astype(precise(x.dtype))
    normed = wide * jax.lax.rsqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + eps)
    return weight * normed.astype(x.dtype)


def rotate(
    x: Float[Array, "*batch token heads head"], positions: Int[Array, "*batch token"], rope: Rope
) -> Float[Array, "*batch token heads head"]:
    """Rotary embedding: features i and i + D/2 turn together, by ``position`` times the pair's frequency."""
    half, wide = x.shape[-1] // 2, precise(x.dtype)
    angles = positions[..., None, None] * jnp.asarray(rope.frequencies(x.shape[-1]), wide)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    if rope.scale != 1:
        cos, sin = rope.scale * cos, rope.scale * sin
    cos, sin = cos.astype(x.dtype), sin.astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attend(
    queries: Float[Array, "prompt group token heads head"],
    continuation: tuple[Array, Array, Array],
    memory: tuple[Array, Array, Array],
) -> Float[Array, "prompt group token heads*head"]:
    """Softmax attention over a continuation's own tokens and its prompt's, H/N query heads to one of keys.

    ``continuation``: keys and values [Q, G, U, N, D] and what each token may see [Q, G or 1, S, U]; ``memory``: keys
    and values [Q, M, N, D] and which of them are tokens [Q, M].
    """
    (keys, values, allowed), (past_keys, past_values, valid) = continuation, memory
    q, g, s, heads, d = queries.shape
    grouped = queries.reshape(q, g, s, keys.shape[-2], heads // keys.shape[-2], d)
    wide = precise(queries.dtype)
    own_scores = jnp.einsum("qgsnrd,qgund->qgnrsu", grouped, keys, preferred_element_type=wide)
    past_scores = jnp.einsum("qgsnrd,qmnd->qgnrsm", grouped, past_keys, preferred_element_type=wide)
    # a finite floor: a padding token sees nothing, and must not become NaN
    floor = jnp.finfo(wide).min
    own_scores = jnp.where(allowed[:, :, None, None], own_scores / d**0.5, floor)
    past_scores = jnp.where(valid[:, None, None, None, None], past_scores / d**0.5, floor)
    weights = jax.nn.softmax(jnp.concatenate([past_scores, own_scores], axis=-1), axis=-1).astype(
        queries.dtype
    )
    past = past_keys.shape[1]
    mixed = jnp.einsum("qgnrsm,qmnd->qgsnrd", weights[..., :past], past_values)
    mixed = mixed + jnp.einsum("qgnrsu,qgund->qgsnrd", weights[..., past:], values)
    return mixed.reshape(q, g, s, heads * d)


def forward(
    config: TransformerConfig,
    params: Params,
    tokens: Int[Array, "prompt group token"],
    positions: Int[Array, "prompt group token"],
    allowed: Bool[Array, " prompt #group token time"],
    memory: Memory,
    cache: Cache | None = None,
    start: int | Int[Array, ""] = 0,
) -> tuple[Float[Array, "prompt group token width"], Cache]:
    """Compute the hidden states after the last norm, and the keys and values of the continuations.

    Without a cache the tokens attend to the memory and to each other; with one, their keys are written into
    it at ``start`` and all of it is attended to.

    Args:
        config: Sizes of the network.
        params: Its parameters.
        tokens: Of the continuations.
        positions: Of these tokens, counted from the first token of the prompt.
        allowed: True where a token attends to a key.
        memory: Keys and values of the prompts.
        cache: Keys and values of the continuations' earlier tokens; None where ``tokens`` are all there are.
        start: Place of the first token in the cache.
    """
    c = config

    def product(layer: dict[str, Array], x: Array, name: str) -> Array:
        y = linear(x, layer[name])
        if f"{name}_in" in layer:  # a low-rank adapter beside the matrix (arXiv 2106.09685, Eq. 3)
            y = y + c.adapter_scale * linear(linear(x, layer[f"{name}_in"]), layer[f"{name}_out"])
        return y

    def project(layer: dict[str, Array], x: Array, name: str, heads: int) -> Array:
        y = product(layer, x, name)
        y = y + layer[f"{name}_bias"] if c.qkv_bias else y
        y = y.reshape(*y.shape[:-1], heads, c.head_width)
        return rms_norm(y, layer[f"{name}_norm"], c.norm_eps) if c.qk_norm and name != "value" else y

    def turned(x: Array, rotary: Array | None) -> Array:
        y = rotate(x, positions, c.positions)
        return y if rotary is None else jnp.where(rotary, y, x)

    def block(x: Array, inputs: tuple) -> tuple[Array, tuple[Array, Array]]:
        layer, past_keys, past_values, stored, rotary = inputs
        h = rms_norm(x, layer["attention_norm"], c.norm_eps)
        queries = turned(project(layer, h, "query", c.heads), rotary)
        keys = turned(project(layer, h, "key", c.kv_heads), rotary)
        values = project(layer, h, "value", c.kv_heads)
        if stored is not None:
            keys = jax.lax.dynamic_update_slice_in_dim(stored.keys, keys, start, axis=2)
            values = jax.lax.dynamic_update_slice_in_dim(stored.values, values, start, axis=2)
        mixed = attend(queries, (keys, values, allowed), (past_keys, past_values, memory.valid))
        x = x + product(layer, mixed, "output")
        h = rms_norm(x, layer["mlp_norm"], c.norm_eps)
        gated = jax.nn.silu(product(layer, h, "gate")) * product(layer, h, "up")
        x = x + product(layer, gated, "down")
        return x, (keys, values)

    x = params["embed"][tokens]
    rotary = None if c.rotary is None else jnp.asarray(c.rotary)
    unrolled = c.layers <= _FEW_LAYERS
    # Products are kept for the backward pass, what lies between them is done again: a fifth less time, half the memory.
    # Not where layers are unrolled: what is done again there is rounded as the program around it has it, and results
    # would depend on the number of devices.
    checkpointed = block if unrolled else jax.checkpoint(block, policy=_DOTS, prevent_cse=False)
    stacks = params["layers"] if isinstance(params["layers"], tuple) else (params["layers"],)
    done, written = 0, []
    for stack in stacks:  # more than one where some layers are frozen: no gradient runs through those before
        layers = slice(done, done := done + len(stack["attention_norm"]))
        scanned = jax.tree.map(
            lambda a, layers=layers: a[layers], (memory.keys, memory.values, cache, rotary)
        )
        x, stored = jax.lax.scan(checkpointed, x, (stack, *scanned), unroll=c.layers if unrolled else 1)
        written.append(Cache(*stored))
    cached = written[0] if len(written) == 1 else jax.tree.map(lambda *a: jnp.concatenate(a), *written)
    return rms_norm(x, params["norm"], c.norm_eps), cached


def logits(
    config: TransformerConfig, params: Params, hidden: Float[Array, "*batch width"]
) -> Float[Array, "*batch vocab"]:
    """Logits in at least float32, divided by the temperature."""
    head = params["embed"].T if config.tied else params["head"]
    wide = jnp.matmul(hidden, head, preferred_element_type=precise(hidden.dtype))
    return wide / config.temperature


def prefill(
    config: TransformerConfig, params: Params, prompts: Int[Array, "prompt past"]
) -> tuple[Float[Array, "prompt 1 past width"], Memory, Int[Array, " prompt"]]:
    """Runs the prompts: hidden states, the memory for continuations, and lengths without padding.

    Padding is a run of ``config.pad`` tokens on the left; the same token further right is a token like any
    other. Padded prompts have the positions, and get the results, of the same prompts without padding.
    """
    c = config
    valid = jnp.ones(prompts.shape, bool) if c.pad is None else jnp.cumsum(prompts != c.pad, axis=-1) > 0
    positions = jnp.maximum(jnp.cumsum(valid, axis=-1) - 1, 0)[:, None]
    causal = jnp.tril(jnp.ones((prompts.shape[1],) * 2, bool))
    allowed = causal & valid[:, None, None, :]
    nothing = jnp.zeros((c.layers, prompts.shape[0], 0, c.kv_heads, c.head_width), jnp.dtype(c.dtype))
    empty = Memory(nothing, nothing, jnp.ones((prompts.shape[0], 0), bool))
    tokens = jnp.where(valid, prompts, 0)[:, None]
    hidden, prompt_cache = forward(c, params, tokens, positions, allowed, empty)
    return (
        hidden,
        Memory(prompt_cache.keys[:, :, 0], prompt_cache.values[:, :, 0], valid),
        jnp.sum(valid, axis=-1),
    )
