"""The transformer as a policy: log-probabilities by a full pass, samples with a key-value cache."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gradvar.policies.autoregressive import Autoregressive, Changed, Form
from gradvar.policies.sampler import draw
from gradvar.policies.transformer import network
from gradvar.policies.transformer.checkpoint import read_weights
from gradvar.policies.transformer.config import TransformerConfig
from gradvar.policies.transformer.config_file import read_config, read_stop
from gradvar.policies.transformer.network import Cache, Params
from gradvar.policies.transformer.tokenizer import PAD, Tokenizer


class Pretrained(NamedTuple):
    """What a folder holds: the policy, its parameters, and its tokenizer where there is one."""

    policy: Transformer
    params: Params
    tokenizer: Tokenizer | None


@dataclass(frozen=True)
class Transformer(Autoregressive):
    """A decoder-only transformer: prompts are tokens [Q, L], completions [Q, G, T] with T as configured.

    After a stop token a completion holds stop tokens, which are masked and have log-probability zero.
    Instances hash and compare by their settings, and compiled code is shared between equal ones.
    """

    config: TransformerConfig
    causal: ClassVar[bool] = True
    """Log-probabilities of tokens depend on nothing that comes later, nor on how much does."""

    @property
    def _form(self) -> Form:
        c = self.config
        return Form(c.vocab, c.completion_length, c.stop, c.pad, c.max_length)

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
        """Read a local Hugging Face folder of a supported family.

        These are Llama, Mistral, Qwen2, Qwen3 (also with experts), SmolLM, Gemma 2 and 3, Phi-3, OLMo 2 and Granite.
        The folder has ``config.json``, ``*.safetensors`` (one file, or several with an index) and
        ``tokenizer.json``. Nothing is downloaded and nothing in the files is executed. Prompts are padded
        with ``tokenizer.PAD``.

        Args:
            folder: Where the files are.
            completion_length: Tokens of a completion at most.
            dtype: Of parameters and activations.
            stop: Token that ends a completion; None for the tokenizer's end-of-sequence token, or the
                configuration's first one.
            temperature: Of the policy's logits.
            max_length: Tokens of prompt and completion; at most, and by default, the model's context.

        Returns:
            (policy, params, tokenizer); the third is None where there is no ``tokenizer.json``.

        Raises:
            ValueError: Naming what is missing, damaged, or not supported.
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
        return self._next(params, hidden[:, 0])

    def served(self, changed: Changed) -> ServedTransformer:
        """The same network, drawing from ``changed`` log-probabilities."""
        return ServedTransformer(self.config, changed)

    def _next(self, params: Params, hidden: Float[Array, "*state width"]) -> Float[Array, "*state vocab"]:
        """The logits of the next token."""
        return network.logits(self.config, params, hidden)

    @partial(jax.jit, static_argnums=0)
    def _logprobs(self, params: Params, prompts: Array, completions: Array) -> Array:
        # a full pass over prompt and completions; the prompt's part is done once for the whole group
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
        logp = jax.nn.log_softmax(self._next(params, hidden), axis=-1)  # [prompt, group, time, token]
        chosen = jnp.take_along_axis(logp, completions[..., None], axis=-1)[..., 0]
        return jnp.where(self.mask(completions), chosen, 0.0)

    def _generate(
        self, params: Params, prompts: Array, group: int, keys: Array | None
    ) -> tuple[Array, Array]:
        c, shape = self.config, (prompts.shape[0], group)
        hidden, memory, lengths = network.prefill(c, params, prompts)
        first = self._next(params, hidden[:, :, -1])
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
            return self._next(params, hidden[:, :, 0]), cache

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


@dataclass(frozen=True)
class ServedTransformer(Transformer):
    """A transformer behind an engine that changes the distribution of the next token."""

    changed: Changed

    def _next(self, params: Params, hidden: Float[Array, "*state width"]) -> Float[Array, "*state vocab"]:
        return self.changed(jax.nn.log_softmax(super()._next(params, hidden), axis=-1))
