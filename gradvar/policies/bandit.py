"""A softmax bandit: one choice among K answers for every prompt, with a logit each."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gradvar.core.checks import whole
from gradvar.policies.sampler import check_completions, check_indices, draw, rollout_keys


@dataclass(frozen=True)
class Bandit:
    """A softmax over ``num_answers`` answers for each of ``num_prompts`` prompts.

    Parameters are the logits [num_prompts, num_answers]; prompts are indices [Q]; a completion is the one
    token that names the answer, so completions are [Q, G, 1].
    """

    num_answers: int
    num_prompts: int = 1

    def __post_init__(self) -> None:
        whole("num_answers", self.num_answers, 2)
        whole("num_prompts", self.num_prompts, 1)

    def init(self, key: PRNGKeyArray, scale: float = 1.0, dtype: Any = None) -> Float[Array, "all answer"]:
        """Normal random logits of standard deviation ``scale`` (0: the uniform policy)."""
        shape = (self.num_prompts, self.num_answers)
        return scale * jax.random.normal(key, shape, dtype or jnp.result_type(float))

    @partial(jax.jit, static_argnums=0)
    def _logprobs(self, params: Array, prompts: Array, completions: Array) -> Array:
        table = jax.nn.log_softmax(params[prompts], axis=-1)
        return jnp.take_along_axis(table[:, None, :], completions, axis=-1)

    def logprobs(
        self,
        params: Float[Array, "all answer"],
        prompts: Array,
        completions: Int[Array, "prompt group 1"],
    ) -> Float[Array, "prompt group 1"]:
        """The log-probability (nats) of every answer."""
        prompts = check_indices(prompts, self.num_prompts)
        completions = check_completions(completions, prompts.shape[0], self.num_answers, 1)
        return self._logprobs(params, prompts, completions)

    @partial(jax.jit, static_argnums=(0, 4))
    def _sample(
        self, params: Array, key: Array, prompts: Array, group: int, first: tuple[Array, Array]
    ) -> Array:
        keys = rollout_keys(key, prompts.shape[0], group, *first)
        tokens = jax.vmap(jax.vmap(partial(draw, time=0), in_axes=(0, None)))(keys, params[prompts])
        return tokens[..., None].astype(jnp.int32)

    def sample(
        self,
        params: Float[Array, "all answer"],
        key: PRNGKeyArray,
        prompts: Array,
        group: int,
        *,
        first_prompt: int | Int[Array, ""] = 0,
        first_rollout: int | Int[Array, ""] = 0,
    ) -> Int[Array, "prompt group 1"]:
        """Draw independent answers to every prompt.

        Args:
            params: Logits of every prompt's answers.
            key: Of the draws.
            prompts: Indices of prompts, [prompt].
            group: Answers to each prompt.
            first_prompt: Number of the first prompt in the whole batch, where these are a chunk of it.
            first_rollout: Number of the first rollout of each prompt, likewise.
        """
        prompts = check_indices(prompts, self.num_prompts)
        whole("group", group, 1)
        return self._sample(params, key, prompts, group, (first_prompt, first_rollout))

    def greedy(self, params: Float[Array, "all answer"], prompts: Array) -> Int[Array, "prompt 1 1"]:
        """The most likely answer; the first of equals."""
        prompts = check_indices(prompts, self.num_prompts)
        return jnp.argmax(params[prompts], axis=-1).astype(jnp.int32)[:, None, None]

    def mask(self, completions: Int[Array, "*batch time"]) -> Bool[Array, "*batch time"]:
        """All true: an answer is one token."""
        return jnp.ones(jnp.shape(completions), bool)

    def support(self) -> Int[Array, "answer 1"]:
        """Return every answer once, [answer, 1]."""
        return jnp.arange(self.num_answers, dtype=jnp.int32)[:, None]
