"""A model of your own as a policy: all it has to give is the logits after every token.

Log-probabilities come from one full pass over prompt and completion, samples from a full pass per token: correct for
every causal model, and slower than a cache of keys and values by about the number of tokens drawn.
"""

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.checks import finite, positive, whole
from gradvar.policies.autoregressive import Autoregressive, Changed, Form
from gradvar.policies.from_logits.probe import check_model
from gradvar.policies.sampler import check_stop, draw, list_completions

Logits = Callable[[PyTree, Int[Array, "row token"]], Float[Array, "row token vocab"]]
_HELD = 1 << 26  # logits made at a time, as numbers: more rows are taken in turn
_MOST_LISTED = 100_000


class LogitsPolicy(Autoregressive):
    """A policy from ``logits(params, tokens [row, token]) -> [row, token, vocab]``, the logits after every token.

    ``params`` is any tree of floating arrays; it is looked at once, to check the model, and not kept. Completions have
    ``completion_length`` tokens and may end earlier with the token ``stop``; ``pad`` fills prompts on the left (None:
    all prompts are full; it may lie outside the vocabulary). The model never sees padding: rows are shifted so that
    every prompt begins at the first position, and what fills them up on the right is invisible to a causal model, so
    a padded prompt gets the results of the same prompt without padding, whatever the model does about positions.
    ``max_length`` bounds prompt and completion together, for models with a table of positions. ``temperature``
    divides the logits: the policy that is sampled from and differentiated is the tempered one. ``init(key)`` gives
    fresh parameters, for ``warm_start``; without it ``LogitsPolicy.init`` says that it is missing.

    Log-probabilities are computed in at least float32. Instances hash and compare by ``logits`` (the same object) and
    settings. Raises ``ValueError`` with one line on a model whose logits have another shape, are NaN, or depend on
    later tokens, on how many there are, or on other rows: ``causal`` is true because that was checked.
    """

    causal: bool
    changed: Changed | None = None

    def __init__(
        self,
        logits: Logits,
        params: PyTree,
        *,
        vocab: int,
        completion_length: int,
        stop: int | None = None,
        pad: int | None = None,
        max_length: int | None = None,
        temperature: float = 1.0,
        init: Callable[[PRNGKeyArray], PyTree] | None = None,
        name: str | None = None,
    ) -> None:
        whole("vocab", vocab, 2)
        whole("completion_length", completion_length, 1)
        check_stop(stop, vocab)
        if max_length is not None:
            whole("max_length", max_length, completion_length + 1)
        positive("temperature", finite("temperature", temperature))
        if not callable(logits):
            raise TypeError(f"logits: {logits!r} is not callable; give a function (params, tokens) -> logits")
        self.model, self.vocab, self.completion_length = logits, vocab, completion_length
        self.stop, self.pad, self.max_length, self.temperature = stop, pad, max_length, temperature
        self.fresh = init
        self.name = name or getattr(logits, "__qualname__", type(logits).__name__)
        check_model(logits, params, vocab, completion_length, max_length)
        self.causal = True

    @property
    def _form(self) -> Form:
        return Form(self.vocab, self.completion_length, self.stop, self.pad, self.max_length)

    def _settings(self) -> tuple:
        return type(self), self.model, self.fresh, self._form, self.temperature, self.changed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LogitsPolicy) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash(self._settings())

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.name}, vocab={self.vocab}, completion_length={self.completion_length}, "
            f"stop={self.stop}, pad={self.pad}, temperature={self.temperature})"
        )

    def init(self, key: PRNGKeyArray) -> PyTree:
        """Fresh parameters, as the given ``init`` makes them."""
        if self.fresh is None:
            raise ValueError(
                "init: not given, so there are no fresh parameters; give LogitsPolicy(..., init=function of a key)"
            )
        return self.fresh(key)

    def logits(self, params: PyTree, tokens: Int[Array, "row token"]) -> Float[Array, "row token vocab"]:
        """The model's logits over the temperature, in at least float32."""
        raw = self.model(params, tokens)
        logits = raw.astype(jnp.promote_types(raw.dtype, jnp.float32)) / self.temperature
        return logits if self.changed is None else self.changed(jax.nn.log_softmax(logits, axis=-1))

    def served(self, changed: Changed) -> Self:
        """The same model, drawing from ``changed`` log-probabilities."""
        served = copy(self)
        served.changed = changed
        return served

    def _turns(self, function: Callable[[tuple], Array], rows: tuple[Array, ...], length: int) -> Array:
        """``function`` of rows, all at once or, where their logits would be many, some at a time."""
        rows_at_once = max(1, _HELD // (length * self.vocab))
        if rows[0].shape[0] <= rows_at_once:
            return function(rows)
        return jax.lax.map(
            lambda row: function(jax.tree.map(lambda x: x[None], row))[0], rows, batch_size=rows_at_once
        )

    @partial(jax.jit, static_argnums=0)
    def _logprobs(self, params: PyTree, prompts: Array, completions: Array) -> Array:
        q, g, time = completions.shape
        tokens, lengths = self._left(jnp.repeat(prompts, g, axis=0), completions.reshape(q * g, time)[:, :-1])

        def chosen(rows: tuple) -> Array:
            tokens, lengths, completion = rows
            after = self.logits(params, tokens)
            if (
                self.pad is None
            ):  # prompts of one length: a plain slice, which is also cheaper to differentiate
                after = after[:, prompts.shape[1] - 1 :]
            else:
                place = lengths[:, None] - 1 + jnp.arange(time)  # [row, time]
                after = jnp.take_along_axis(after, place[..., None], axis=1)
            logp = jax.nn.log_softmax(after, axis=-1)
            return jnp.take_along_axis(logp, completion[..., None], axis=-1)[..., 0]

        flat = (tokens, lengths, completions.reshape(q * g, time))
        logprobs = self._turns(chosen, flat, tokens.shape[1]).reshape(q, g, time)
        return jnp.where(self.mask(completions), logprobs, 0.0)

    def _left(self, prompts: Array, rest: Array) -> tuple[Array, Int[Array, " row"]]:
        """Rows of prompt and ``rest`` that begin with the prompt's first token, and the prompts' lengths.

        What fills a row up on the right is token 0."""
        past = prompts.shape[1]
        rows = jnp.concatenate([prompts, rest], axis=1)
        if self.pad is None:
            return rows, jnp.full(prompts.shape[:1], past, jnp.int32)
        lengths = jnp.sum(jnp.cumsum(prompts != self.pad, axis=1) > 0, axis=1)
        place = jnp.arange(rows.shape[1]) + past - lengths[:, None]
        shifted = jnp.take_along_axis(rows, jnp.minimum(place, rows.shape[1] - 1), axis=1)
        return jnp.where(place < rows.shape[1], shifted, 0), lengths

    def _generate(
        self, params: PyTree, prompts: Array, group: int, keys: Array | None
    ) -> tuple[Array, Array]:
        time, q = self.completion_length, prompts.shape[0]
        empty = jnp.full((q * group, time), 0 if self.stop is None else self.stop, jnp.int32)
        rows, lengths = self._left(jnp.repeat(prompts, group, axis=0).astype(jnp.int32), empty)
        flat_keys = None if keys is None else keys.reshape(q * group)
        row_index = jnp.arange(q * group)

        def next_logits(rows: tuple) -> Array:
            tokens, last = rows  # [row, token], and the index of each row's last token [row]
            return jnp.take_along_axis(self.logits(params, tokens), last[:, None, None], axis=1)[:, 0]

        def step(state: tuple) -> tuple:
            time_index, rows, done, tokens, logprobs = state
            logits = self._turns(next_logits, (rows, lengths + time_index - 1), rows.shape[1])
            if flat_keys is None:
                new = jnp.argmax(logits, axis=-1).astype(jnp.int32)
            else:
                new = jax.vmap(partial(draw, time=time_index))(flat_keys, logits)
            logp = jnp.take_along_axis(jax.nn.log_softmax(logits, axis=-1), new[:, None], axis=-1)[:, 0]
            if self.stop is not None:
                new, logp = jnp.where(done, self.stop, new), jnp.where(done, 0.0, logp)
                done = new == self.stop
            rows = rows.at[row_index, lengths + time_index].set(new)
            tokens, logprobs = tokens.at[:, time_index].set(new), logprobs.at[:, time_index].set(logp)
            return time_index + 1, rows, done, tokens, logprobs

        def going(state: tuple) -> Array:
            return (state[0] < time) & ~jnp.all(state[2])

        shape = jax.eval_shape(self.logits, params, rows)
        start = (
            jnp.zeros((), jnp.int32), rows, jnp.zeros(q * group, bool), empty, jnp.zeros(empty.shape, shape.dtype),
        )  # fmt: skip
        *_, tokens, logprobs = jax.lax.while_loop(going, step, start)
        return tokens.reshape(q, group, time), logprobs.reshape(q, group, time)


class FiniteLogitsPolicy(LogitsPolicy):
    """A ``LogitsPolicy`` whose completions are few enough to be listed, for exact enumeration."""

    def support(self) -> Int[Array, "completion time"]:
        """Every completion once: in lexical order, those that have stopped padded with the stop token."""
        if self.vocab**self.completion_length > _MOST_LISTED:
            raise ValueError(
                f"completion_length: {self.vocab}^{self.completion_length} completions are too many to list; "
                f"give a LogitsPolicy, or fewer than {_MOST_LISTED}"
            )
        return list_completions(self.vocab, self.completion_length, self.stop)
