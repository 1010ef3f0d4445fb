"""The transformer as a policy: log-probabilities by a full pass, samples with a key-value cache."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gradvar.policies import network
from gradvar.policies.checkpoint import read_config, read_stop, read_weights
from gradvar.policies.common import (
    check_completions,
    check_number,
    check_tokens,
    draw,
    rollout_keys,
    stop_mask,
)
from gradvar.policies.network import Cache, Params
from gradvar.policies.tokenizer import PAD, Tokenizer
from gradvar.policies.transformer_config import TransformerConfig


class Pretrained(NamedTuple):
    """What a folder holds: the policy, its parameters, and its tokenizer where there is one."""

    policy: Transformer
    params: Params
    tokenizer: Tokenizer | None


@dataclass(frozen=True)
class Transformer:
    """A decoder-only transformer: prompts are tokens [Q, L], completions [Q, G, T] with T as configured.

    After a stop token a completion holds stop tokens, which are masked and have log-probability zero.
    Instances hash and compare by their settings, and compiled code is shared between equal ones.
    """

    config: TransformerConfig
    causal: ClassVar[bool] = True
    """Log-probabilities of tokens depend on nothing that comes later, nor on how much does."""

    @classmethod
    def for_task(cls, task: Any, **settings: Any) -> Transformer:
        """A transformer with the task's vocabulary, length, stop and padding token, and ``settings``."""
        theirs = {"vocab": task.vocab, "completion_length": task.completion_length, "stop": task.stop}
        theirs |= {"pad": getattr(task, "pad", None)}
        return cls(TransformerConfig(**(theirs | settings)))

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        completion_length: int = 64,
        dtype: str = "float32",
        stop: int | None = None,
        temperature: float = 1.0,
        max_length: int | None = None,
    ) -> Pretrained:
        """A local Hugging Face folder of the Llama, Qwen2, Qwen3 or SmolLM families: (policy, params, tokenizer).

        ``config.json``, ``*.safetensors`` (one file, or several with an index) and ``tokenizer.json`` (the third
        is None where there is none). Nothing is downloaded and nothing in the files is executed. ``stop``: the token
        that ends a completion; by default the tokenizer's end-of-sequence token, or the configuration's first one.
        Prompts are padded with ``tokenizer.PAD``. ``max_length``: at most, and by default, the model's own context.

        Raises ``ValueError`` naming what is missing, damaged, or not supported.
        """
        folder = Path(folder).expanduser()
        tokenizer = Tokenizer(folder) if (folder / "tokenizer.json").is_file() else None
        settings: dict[str, Any] = {"completion_length": completion_length, "dtype": dtype, "pad": PAD}
        settings |= {"temperature": temperature} | ({"max_length": max_length} if max_length else {})
        config = read_config(folder, **settings)
        if stop is None:
            stop = (
                tokenizer.stop if tokenizer is not None and tokenizer.stop is not None else read_stop(folder)
            )
        policy = cls(replace(config, stop=stop))
        return Pretrained(policy, read_weights(folder, policy.config), tokenizer)

    def init(self, key: PRNGKeyArray, scale: float = 1.0) -> Params:
        """Fresh parameters; the logits have a standard deviation of about ``scale``."""
        return self._init(key, scale)

    @partial(jax.jit, static_argnums=0)
    def _init(self, key: Array, scale: float | Array) -> Params:
        return network.init(self.config, key, scale)

    def num_params(self) -> int:
        """How many numbers the parameters hold."""
        shapes = jax.tree.leaves(network.shapes(self.config), is_leaf=lambda x: isinstance(x, tuple))
        return sum(math.prod(shape) for shape in shapes)

    @partial(jax.jit, static_argnums=0)
    def logits(self, params: Params, tokens: Int[Array, "row token"]) -> Float[Array, "row token vocab"]:
        """The logits after every token of ``tokens``, left padding as for prompts: the plain causal pass."""
        hidden, _, _ = network.prefill(self.config, params, tokens)
        return network.logits(self.config, params, hidden[:, 0])

    @partial(jax.jit, static_argnums=0)
    def _logprobs(self, params: Params, prompts: Array, completions: Array) -> Array:
        c = self.config
        q, g, t = completions.shape
        fed = completions[..., :-1]  # the last token predicts nothing
        if g == 1:  # one pass over both: half the program to compile, and no prompt to share
            hidden, _, _ = network.prefill(c, params, jnp.concatenate([prompts, fed[:, 0]], axis=1))
            hidden = hidden[:, :, prompts.shape[1] - 1 :]
        else:
            first, memory, lengths = network.prefill(c, params, prompts)
            positions = jnp.broadcast_to(lengths[:, None, None] + jnp.arange(t - 1), fed.shape)
            causal = jnp.broadcast_to(jnp.tril(jnp.ones((t - 1, t - 1), bool)), (q, 1, t - 1, t - 1))
            rest, _ = network.forward(c, params, fed, positions, causal, memory)
            last = jnp.broadcast_to(first[:, :, -1:], (q, g, 1, c.width))
            hidden = jnp.concatenate([last, rest], axis=2)
        logp = jax.nn.log_softmax(network.logits(c, params, hidden), axis=-1)
        chosen = jnp.take_along_axis(logp, completions[..., None], axis=-1)[..., 0]
        return jnp.where(self.mask(completions), chosen, 0.0)

    def logprobs(
        self, params: Params, prompts: Int[Array, "prompt past"], completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """Every token's log-probability (nats), in at least float32; zero after the stop token.

        A full pass over prompt and completions; the prompt's part is done once for the whole group.
        """
        prompts = self._check(prompts)
        return self._logprobs(
            params, prompts, check_completions(completions, prompts.shape[0], self.config.vocab)
        )

    def _generate(
        self, params: Params, prompts: Array, group: int, keys: Array | None
    ) -> tuple[Array, Array]:
        """Tokens and their log-probabilities [Q, G, T]; the most likely ones where there are no keys."""
        c, shape = self.config, (prompts.shape[0], group)
        hidden, memory, lengths = network.prefill(c, params, prompts)
        first = network.logits(c, params, hidden[:, :, -1])
        store = jnp.zeros((c.layers, *shape, c.completion_length, c.kv_heads, c.head_width), c.dtype)
        positions = jnp.broadcast_to(lengths[:, None, None], (*shape, 1))

        def choose(logits: Array, time: Array) -> tuple[Array, Array]:
            if keys is None:
                tokens = jnp.argmax(logits, axis=-1)
            else:
                tokens = jax.vmap(jax.vmap(partial(draw, time=time)))(keys, logits)
            logp = jax.nn.log_softmax(logits, axis=-1)
            return tokens.astype(jnp.int32), jnp.take_along_axis(logp, tokens[..., None], axis=-1)[..., 0]

        def feed(tokens: Array, cache: Cache, time: Array) -> tuple[Array, Cache]:
            seen = jnp.broadcast_to(
                jnp.arange(c.completion_length) <= time, (shape[0], 1, 1, c.completion_length)
            )
            hidden, cache = network.forward(
                c, params, tokens[..., None], positions + time, seen, memory, cache, time
            )
            return network.logits(c, params, hidden[:, :, 0]), cache

        def step(state: tuple) -> tuple:
            time, logits, cache, done, completions, logprobs = state
            tokens, logp = choose(logits, time)
            if c.stop is not None:
                tokens, logp = jnp.where(done, c.stop, tokens), jnp.where(done, 0.0, logp)
                done = tokens == c.stop
            completions = completions.at[..., time].set(tokens)
            logprobs = logprobs.at[..., time].set(logp)
            more = time + 1 < c.completion_length
            logits, cache = jax.lax.cond(more, feed, lambda *_: (logits, cache), tokens, cache, time)
            return time + 1, logits, cache, done, completions, logprobs

        def going(state: tuple) -> Array:
            return (state[0] < c.completion_length) & ~jnp.all(state[3])

        start = (
            jnp.zeros((), jnp.int32),
            jnp.broadcast_to(first, (*shape, c.vocab)),
            Cache(store, store),
            jnp.zeros(shape, bool),
            jnp.full((*shape, c.completion_length), 0 if c.stop is None else c.stop, jnp.int32),
            jnp.zeros((*shape, c.completion_length), first.dtype),
        )
        *_, completions, logprobs = jax.lax.while_loop(going, step, start)
        return completions, logprobs

    @partial(jax.jit, static_argnums=(0, 4))
    def _sample(
        self, params: Params, key: Array, prompts: Array, group: int, at: tuple
    ) -> tuple[Array, Array]:
        return self._generate(params, prompts, group, rollout_keys(key, prompts.shape[0], group, *at))

    @partial(jax.jit, static_argnums=0)
    def _greedy(self, params: Params, prompts: Array) -> Array:
        return self._generate(params, prompts, 1, None)[0]

    def sample_with_logprobs(
        self,
        params: Params,
        key: PRNGKeyArray,
        prompts: Int[Array, "prompt past"],
        group: int,
        *,
        first_prompt: int | Int[Array, ""] = 0,
        first_rollout: int | Int[Array, ""] = 0,
    ) -> tuple[Int[Array, "prompt group time"], Float[Array, "prompt group time"]]:
        """``group`` independent completions for every prompt, and their log-probabilities in the sampler.

        Those equal ``logprobs`` up to rounding. Chunks of a batch say where they start (``first_prompt``,
        ``first_rollout``) and then draw what the whole batch would have drawn, up to rounding of the logits.
        """
        prompts = self._check(prompts)
        check_number("group", group, 1)
        return self._sample(params, key, prompts, group, (first_prompt, first_rollout))

    def sample(
        self,
        params: Params,
        key: PRNGKeyArray,
        prompts: Int[Array, "prompt past"],
        group: int,
        *,
        first_prompt: int | Int[Array, ""] = 0,
        first_rollout: int | Int[Array, ""] = 0,
    ) -> Int[Array, "prompt group time"]:
        """``group`` independent completions for every prompt, as in ``sample_with_logprobs``."""
        at = {"first_prompt": first_prompt, "first_rollout": first_rollout}
        return self.sample_with_logprobs(params, key, prompts, group, **at)[0]

    def greedy(self, params: Params, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The completion that takes the most likely token at every step; the first of equals."""
        return self._greedy(params, self._check(prompts))

    def mask(self, completions: Int[Array, "*batch time"]) -> Bool[Array, "*batch time"]:
        """True up to and including the stop token; all true without one."""
        return stop_mask(jnp.asarray(completions), self.config.stop)

    def _check(self, prompts: Array) -> Array:
        c, prompts = self.config, jnp.asarray(prompts)
        if prompts.ndim != 2 or not prompts.shape[1] or not jnp.issubdtype(prompts.dtype, jnp.integer):
            raise ValueError(
                f"prompts: shape {prompts.shape}, {prompts.dtype}; give integer tokens [prompt, past]"
            )
        if prompts.shape[1] + c.completion_length > c.max_length:
            raise ValueError(
                f"prompts: {prompts.shape[1]} tokens and {c.completion_length} of completion exceed "
                f"max_length = {c.max_length}; give shorter prompts, or a larger max_length"
            )
        if not isinstance(prompts, jax.core.Tracer):
            tokens = np.asarray(prompts)
            padding = np.zeros(tokens.shape, bool) if c.pad is None else tokens == c.pad
            check_tokens("prompts", np.where(padding, 0, tokens), c.vocab)
            if padding.all(axis=1).any():
                row = int(np.argmax(padding.all(axis=1)))
                raise ValueError(f"prompts: prompt {row} is all padding; give one token at least")
        return prompts
