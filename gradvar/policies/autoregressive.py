"""What policies over sequences of tokens share: checks at the edge, the keys of rollouts, the mask of a stop token."""

import abc
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.checks import whole
from gradvar.policies.sampler import check_completions, check_tokens, rollout_keys, stop_mask

Changed = Callable[[Array], Array]
"""From log-probabilities of the next token [*state, token] to those that an engine draws from."""


class Form(NamedTuple):
    """Which sequences there are; each policy says of its own settings what they mean."""

    vocab: int
    completion_length: int
    stop: int | None
    pad: int | None
    max_length: int | None


class Autoregressive(abc.ABC):
    """A policy whose prompts are tokens [Q, L], padded on the left, and whose completions are tokens [Q, G, T].

    What differs between models is abstract, and what is here is final. Instances are static arguments of compiled
    functions, so they hash, and equal ones share what was compiled.
    """

    @property
    @abc.abstractmethod
    def _form(self) -> Form:
        """The sequences of this policy."""

    @abc.abstractmethod
    def _logprobs(self, params: PyTree, prompts: Array, completions: Array) -> Array:
        """``logprobs``, of arguments that were checked."""

    @abc.abstractmethod
    def _generate(
        self, params: PyTree, prompts: Array, group: int, keys: Array | None
    ) -> tuple[Array, Array]:
        """Tokens and their log-probabilities [Q, G, T]; the most likely ones where there are no keys [Q, G]."""

    @abc.abstractmethod
    def served(self, changed: Changed) -> "Autoregressive":
        """This policy as an engine serves it that draws from ``changed`` log-probabilities of the next token.

        Args:
            changed: From log-probabilities [*state, token] to those to draw from, -inf where never; hashes, and equal
                ones share what was compiled.
        """

    @partial(jax.jit, static_argnums=(0, 4))
    def _sample(
        self, params: PyTree, key: Array, prompts: Array, group: int, first: tuple
    ) -> tuple[Array, Array]:
        return self._generate(params, prompts, group, rollout_keys(key, prompts.shape[0], group, *first))

    @partial(jax.jit, static_argnums=0)
    def _greedy(self, params: PyTree, prompts: Array) -> Array:
        return self._generate(params, prompts, 1, None)[0]

    def logprobs(
        self, params: PyTree, prompts: Int[Array, "prompt past"], completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """Every token's log-probability (nats), in at least float32; zero after the stop token."""
        prompts = self._check(prompts)
        completions = check_completions(completions, prompts.shape[0], self._form.vocab)
        return self._logprobs(params, prompts, completions)

    def sample_with_logprobs(
        self,
        params: PyTree,
        key: PRNGKeyArray,
        prompts: Int[Array, "prompt past"],
        group: int,
        *,
        first_prompt: int | Int[Array, ""] = 0,
        first_rollout: int | Int[Array, ""] = 0,
    ) -> tuple[Int[Array, "prompt group time"], Float[Array, "prompt group time"]]:
        """Draw independent completions of every prompt, and their log-probabilities in the sampler.

        Those equal ``logprobs`` up to rounding. Chunks of a batch draw what the whole batch would have drawn,
        up to rounding of the logits.

        Args:
            params: Of the policy.
            key: Of the draws.
            prompts: Prompts, [prompt, past].
            group: Completions of each prompt.
            first_prompt: Number of the first prompt in the whole batch, where these are a chunk of it.
            first_rollout: Number of the first rollout of each prompt, likewise.
        """
        prompts = self._check(prompts)
        whole("group", group, 1)
        return self._sample(params, key, prompts, group, (first_prompt, first_rollout))

    def sample(
        self,
        params: PyTree,
        key: PRNGKeyArray,
        prompts: Int[Array, "prompt past"],
        group: int,
        *,
        first_prompt: int | Int[Array, ""] = 0,
        first_rollout: int | Int[Array, ""] = 0,
    ) -> Int[Array, "prompt group time"]:
        """Draw independent completions of every prompt, as in ``sample_with_logprobs``.

        Args:
            params: Of the policy.
            key: Of the draws.
            prompts: Prompts, [prompt, past].
            group: Completions of each prompt.
            first_prompt: Number of the first prompt in the whole batch, where these are a chunk of it.
            first_rollout: Number of the first rollout of each prompt, likewise.
        """
        first = {"first_prompt": first_prompt, "first_rollout": first_rollout}
        return self.sample_with_logprobs(params, key, prompts, group, **first)[0]

    def greedy(self, params: PyTree, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The completion that takes the most likely token at every step; the first of equals."""
        return self._greedy(params, self._check(prompts))

    def mask(self, completions: Int[Array, "*batch time"]) -> Bool[Array, "*batch time"]:
        """True up to and including the stop token; all true without one."""
        return stop_mask(jnp.asarray(completions), self._form.stop)

    def _check(self, prompts: Array) -> Array:
        form, prompts = self._form, jnp.asarray(prompts)
        if prompts.ndim != 2 or not prompts.shape[1] or not jnp.issubdtype(prompts.dtype, jnp.integer):
            raise ValueError(
                f"prompts: shape {prompts.shape}, {prompts.dtype}; give integer tokens [prompt, past]"
            )
        if form.max_length is not None and prompts.shape[1] + form.completion_length > form.max_length:
            raise ValueError(
                f"prompts: {prompts.shape[1]} tokens and {form.completion_length} of completion exceed "
                f"max_length = {form.max_length}; give shorter prompts, or a larger max_length"
            )
        if not isinstance(prompts, jax.core.Tracer):
            tokens = np.asarray(prompts)
            # a run on the left is padding; the same token further right is a token like any other
            alike = np.zeros(tokens.shape, bool) if form.pad is None else tokens == form.pad
            padding = np.cumsum(~alike, axis=1) == 0
            check_tokens("prompts", np.where(padding, 0, tokens), form.vocab)
            if padding.all(axis=1).any():
                row = int(np.argmax(padding.all(axis=1)))
                raise ValueError(f"prompts: prompt {row} is all padding; give one token at least")
        return prompts
