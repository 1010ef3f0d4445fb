"""A decoder-only transformer of the Llama family and its relatives, as pure functions of a tree of arrays.

RMS norm (arXiv 1910.07467, Eq. 4), rotary embedding (arXiv 2104.09864, Eq. 34, with the pairs taken as the
two halves of a head, as public checkpoints store them), grouped-query attention (arXiv 2305.13245) and SwiGLU
(arXiv 2002.05202, Eq. 6), each before a residual sum; ``config.variant`` says what other families do otherwise.

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
from gradvar.policies.transformer.layers import (
    attend,
    capped,
    gated,
    linear,
    mixed_experts,
    precise,
    rms_norm,
    rotate,
    within,
)

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


def shapes(config: TransformerConfig) -> dict[str, Any]:
    """The parameters' shapes, as a tree like that of the parameters."""
    c, v = config, config.variant
    query, kv = c.heads * c.head_width, c.kv_heads * c.head_width
    experts = (v.experts,) if v.experts else ()
    layer: dict[str, tuple[int, ...]] = {
        "query": (c.width, query), "key": (c.width, kv), "value": (c.width, kv), "output": (query, c.width),
        "gate": (*experts, c.width, c.hidden), "up": (*experts, c.width, c.hidden),
        "down": (*experts, c.hidden, c.width),
    }  # fmt: skip
    if v.normed != "after":
        layer |= {"attention_norm": (c.width,), "mlp_norm": (c.width,)}
    if v.normed != "before":
        layer |= {"attention_after_norm": (c.width,), "mlp_after_norm": (c.width,)}
    if v.experts:
        layer |= {"router": (c.width, v.experts)}
    if c.qk_norm or v.qk_norm == "head":
        layer |= {"query_norm": (c.head_width,), "key_norm": (c.head_width,)}
    if v.qk_norm == "projection":
        layer |= {"query_norm": (query,), "key_norm": (kv,)}
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
    order += ("router",) if c.variant.experts else ()
    sizes = [math.prod(named[name]) for name in order]
    # one draw for all: compiling a random generator takes longer than running it
    flat = jnp.split(jax.random.normal(key, (sum(sizes),), precise(dtype)), np.cumsum(sizes)[:-1])
    drawn: dict[str, Array] = {}
    for name, numbers in zip(order, flat, strict=True):
        fan_in = c.width if name == "embed" else named[name][-2]
        drawn[name] = (numbers.reshape(named[name]) * (gains.get(name, 1.0) / fan_in**0.5)).astype(dtype)

    def fill(name: str, shape: tuple[int, ...]) -> Array:
        unit = name.endswith("norm") and not c.variant.unit_norms
        return drawn[name] if name in drawn else jnp.full(shape, float(unit), dtype)

    layers = {name: fill(name, shape) for name, shape in wanted["layers"].items()}
    return {name: layers if name == "layers" else fill(name, shape) for name, shape in wanted.items()}


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
    c, v = config, config.variant

    def product(layer: dict[str, Array], x: Array, name: str) -> Array:
        y = linear(x, layer[name])
        if f"{name}_in" in layer:  # a low-rank adapter beside the matrix (arXiv 2106.09685, Eq. 3)
            y = y + c.adapter_scale * linear(linear(x, layer[f"{name}_in"]), layer[f"{name}_out"])
        return y

    def norm(layer: dict[str, Array], x: Array, name: str) -> Array:
        return rms_norm(x, layer[name], c.norm_eps, unit=v.unit_norms)

    def project(layer: dict[str, Array], x: Array, name: str, heads: int) -> Array:
        y = product(layer, x, name)
        y = y + layer[f"{name}_bias"] if c.qkv_bias else y
        normed = f"{name}_norm" in layer
        if normed and v.qk_norm == "projection":
            y = norm(layer, y, f"{name}_norm")
        y = y.reshape(*y.shape[:-1], heads, c.head_width)
        return norm(layer, y, f"{name}_norm") if normed and v.qk_norm != "projection" else y

    def turned(x: Array, rotary: Array | None, window: Array | None) -> Array:
        y = rotate(x, positions, c.positions)
        if v.local_rope is not None and window is not None:
            y = jnp.where(window > 0, rotate(x, positions, v.local_rope), y)
        return y if rotary is None else jnp.where(rotary, y, x)

    def added(layer: dict[str, Array], x: Array, change: Array, name: str) -> Array:
        change = change if v.normed == "before" else norm(layer, change, f"{name}_after_norm")
        return x + (change if v.residual_scale == 1 else v.residual_scale * change)

    def visible(window: Array | None) -> tuple[Array, Array]:
        """What each token sees of its continuation, and of the memory [Q, G or 1, S or 1, M]."""
        past = memory.valid[:, None, None]
        if window is None or not v.window_within(memory.valid.shape[1] + allowed.shape[-1]):
            return allowed, past
        past_keys = jnp.maximum(jnp.cumsum(memory.valid, axis=-1) - 1, 0)[:, None]
        own_keys = positions if cache is None else positions[..., :1] - start + jnp.arange(allowed.shape[-1])
        return allowed & within(window, positions, own_keys), past & within(window, positions, past_keys)

    def block(x: Array, inputs: tuple) -> tuple[Array, tuple[Array, Array]]:
        layer, past_keys, past_values, stored, rotary, window = inputs
        h = x if v.normed == "after" else norm(layer, x, "attention_norm")
        queries = turned(project(layer, h, "query", c.heads), rotary, window)
        keys = turned(project(layer, h, "key", c.kv_heads), rotary, window)
        values = project(layer, h, "value", c.kv_heads)
        if stored is not None:
            keys = jax.lax.dynamic_update_slice_in_dim(stored.keys, keys, start, axis=2)
            values = jax.lax.dynamic_update_slice_in_dim(stored.values, values, start, axis=2)
        near, past = visible(window)
        mixed = attend(queries, (keys, values, near), (past_keys, past_values, past), v)
        x = added(layer, x, product(layer, mixed, "output"), "attention")
        h = x if v.normed == "after" else norm(layer, x, "mlp_norm")
        if v.experts:
            return added(layer, x, mixed_experts(layer, h, v), "mlp"), (keys, values)
        change = gated(lambda y, name: product(layer, y, name), h, v.activation)
        return added(layer, x, change, "mlp"), (keys, values)

    x = params["embed"][tokens]
    x = x if v.embed_scale == 1 else x * jnp.asarray(v.embed_scale, x.dtype)
    rotary = None if c.rotary is None else jnp.asarray(c.rotary)
    windows = None if v.windows is None else jnp.asarray(v.windows)
    unrolled = c.layers <= _FEW_LAYERS
    # Products are kept for the backward pass, what lies between them is done again: a fifth less time, half the memory.
    # Not where layers are unrolled: what is done again there is rounded as the program around it has it, and results
    # would depend on the number of devices.
    checkpointed = block if unrolled else jax.checkpoint(block, policy=_DOTS, prevent_cse=False)
    stacks = params["layers"] if isinstance(params["layers"], tuple) else (params["layers"],)
    done, written = 0, []
    for stack in stacks:  # more than one where some layers are frozen: no gradient runs through those before
        layers = slice(done, done := done + len(stack["output"]))
        scanned = jax.tree.map(
            lambda a, layers=layers: a[layers], (memory.keys, memory.values, cache, rotary, windows)
        )
        x, stored = jax.lax.scan(checkpointed, x, (stack, *scanned), unroll=c.layers if unrolled else 1)
        written.append(Cache(*stored))
    cached = written[0] if len(written) == 1 else jax.tree.map(lambda *a: jnp.concatenate(a), *written)
    return rms_norm(x, params["norm"], c.norm_eps, unit=v.unit_norms), cached


def logits(
    config: TransformerConfig, params: Params, hidden: Float[Array, "*batch width"]
) -> Float[Array, "*batch vocab"]:
    """Logits in at least float32, divided by the temperature."""
    v, head = config.variant, params["embed"].T if config.tied else params["head"]
    wide = jnp.matmul(hidden, head, preferred_element_type=precise(hidden.dtype))
    wide = wide if v.logit_divisor == 1 else wide / v.logit_divisor
    return capped(wide, v.logit_cap) / config.temperature


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
