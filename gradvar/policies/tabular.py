"""A tabular sequence policy: a row of logits for every prefix, so that all of it can be enumerated."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.checks import whole
from gradvar.policies import sampler

_MOST_LOGITS = 10_000_000


@dataclass(frozen=True)
class Tabular:
    """Sequences of ``length`` tokens from 0..vocab-1, with a row of logits for every prompt and prefix.

    With ``stop`` a completion ends after that token; the rest of its row holds the stop token again and is
    masked, so completions have 1 to ``length`` tokens. Parameters: the logits [num_prompts, prefix, vocab].

    With ``shared=True`` all prompts read one table, and each prompt adds its own offset to the logits of the
    first token: parameters ``{"table": [prefix, vocab], "offset": [num_prompts, vocab]}``. Then the gradients
    of different prompts overlap, as they do in a network.

    Prefixes are numbered by length, then by their tokens as digits of a number (the stop token is no digit).
    """

    vocab: int
    length: int
    num_prompts: int = 1
    stop: int | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        whole("vocab", self.vocab, 2)
        whole("length", self.length, 1)
        whole("num_prompts", self.num_prompts, 1)
        sampler.check_stop(self.stop, self.vocab)
        logits = (1 if self.shared else self.num_prompts) * self.num_prefixes * self.vocab
        if logits > _MOST_LOGITS:
            raise ValueError(
                f"length: a table for {self.length} tokens of {self.vocab} needs {logits} logits; "
                f"give a shorter length or a smaller vocab (at most {_MOST_LOGITS} logits)"
            )

    @property
    def num_prefixes(self) -> int:
        """Rows of the table: the prefixes of 0 to length-1 tokens that have not stopped."""
        return self._first_row(self.length)

    @property
    def _base(self) -> int:
        return self.vocab if self.stop is None else self.vocab - 1

    def _first_row(self, time: int) -> int:
        return sum(self._base**t for t in range(time))

    def init(self, key: PRNGKeyArray, scale: float = 1.0, dtype: Any = None) -> PyTree[Float[Array, "..."]]:
        """Normal random logits of standard deviation ``scale`` (0: every token equally likely)."""
        dtype = dtype or jnp.result_type(float)
        row = (self.num_prefixes, self.vocab)
        if not self.shared:
            return scale * jax.random.normal(key, (self.num_prompts, *row), dtype)
        table, offset = jax.random.split(key)
        return {
            "table": scale * jax.random.normal(table, row, dtype),
            "offset": scale * jax.random.normal(offset, (self.num_prompts, self.vocab), dtype),
        }

    def _logits(self, params: PyTree, prompts: Array, rows: Array) -> Array:
        """Logits [Q, ..., vocab] after the prefixes in ``rows`` [Q, ...]."""
        prompts = prompts.reshape(prompts.shape + (1,) * (rows.ndim - 1))
        if not self.shared:
            return params[prompts, rows]
        return params["table"][rows] + jnp.where((rows == 0)[..., None], params["offset"][prompts], 0)

    def _next(self, rows: Array, tokens: Array, time: Array | int) -> Array:
        """The row of each prefix with one more token; of no meaning (but in the table) after a stop."""
        digits = tokens if self.stop is None else tokens - (tokens > self.stop)
        first = jnp.array([self._first_row(t) for t in range(self.length + 1)], rows.dtype)
        number = (rows - first[time]) * self._base + digits
        return jnp.minimum(first[time + 1] + number, self.num_prefixes - 1)

    @partial(jax.jit, static_argnums=0)
    def _logprobs(self, params: PyTree, prompts: Array, completions: Array) -> Array:
        rows = [jnp.zeros(completions.shape[:2], completions.dtype)]
        for t in range(self.length - 1):
            rows.append(self._next(rows[-1], completions[..., t], t))
        table = jax.nn.log_softmax(self._logits(params, prompts, jnp.stack(rows, axis=-1)), axis=-1)
        logp = jnp.take_along_axis(table, completions[..., None], axis=-1)[..., 0]
        return jnp.where(self.mask(completions), logp, 0.0)

    def logprobs(
        self, params: PyTree, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """Every token's log-probability (nats); zero after the stop token."""
        prompts = sampler.check_indices(prompts, self.num_prompts)
        completions = sampler.check_completions(completions, prompts.shape[0], self.vocab, self.length)
        return self._logprobs(params, prompts, completions)

    def _generate(self, params: PyTree, prompts: Array, group: int, choose: Any) -> Array:
        def step(state: tuple[Array, Array], time: Array) -> tuple[tuple[Array, Array], Array]:
            rows, done = state
            tokens = choose(self._logits(params, prompts, rows), time).astype(jnp.int32)
            if self.stop is not None:
                tokens = jnp.where(done, self.stop, tokens)
                done = tokens == self.stop
            return (self._next(rows, tokens, time), done), tokens

        shape = (prompts.shape[0], group)
        start = (jnp.zeros(shape, jnp.int32), jnp.zeros(shape, bool))
        _, tokens = jax.lax.scan(step, start, jnp.arange(self.length))
        return jnp.moveaxis(tokens, 0, -1)

    @partial(jax.jit, static_argnums=(0, 4))
    def _sample(self, params: PyTree, key: Array, prompts: Array, group: int, first: tuple) -> Array:
        keys = sampler.rollout_keys(key, prompts.shape[0], group, *first)

        def choose(logits: Array, time: Array) -> Array:
            return jax.vmap(jax.vmap(partial(sampler.draw, time=time)))(keys, logits)

        return self._generate(params, prompts, group, choose)

    @partial(jax.jit, static_argnums=0)
    def _greedy(self, params: PyTree, prompts: Array) -> Array:
        return self._generate(params, prompts, 1, lambda logits, _: jnp.argmax(logits, axis=-1))

    def sample(
        self,
        params: PyTree,
        key: PRNGKeyArray,
        prompts: Array,
        group: int,
        *,
        first_prompt: int | Int[Array, ""] = 0,
        first_rollout: int | Int[Array, ""] = 0,
    ) -> Int[Array, "prompt group time"]:
        """Draw independent completions of every prompt.

        Args:
            params: Logits of every state.
            key: Of the draws.
            prompts: Indices of prompts, [prompt].
            group: Completions of each prompt.
            first_prompt: Number of the first prompt in the whole batch, where these are a chunk of it.
            first_rollout: Number of the first rollout of each prompt, likewise.
        """
        prompts = sampler.check_indices(prompts, self.num_prompts)
        whole("group", group, 1)
        return self._sample(params, key, prompts, group, (first_prompt, first_rollout))

    def greedy(self, params: PyTree, prompts: Array) -> Int[Array, "prompt 1 time"]:
        """The completion that takes the most likely token at every step; the first of equals."""
        prompts = sampler.check_indices(prompts, self.num_prompts)
        return self._greedy(params, prompts)

    def mask(self, completions: Int[Array, "*batch time"]) -> Bool[Array, "*batch time"]:
        """True up to and including the stop token; all true without one."""
        return sampler.stop_mask(jnp.asarray(completions), self.stop)

    def support(self) -> Int[Array, "completion time"]:
        """Every completion once: in lexical order, those that have stopped padded with the stop token."""
        return sampler.list_completions(self.vocab, self.length, self.stop)
