"""Samplers that serve the policy with other weights, stale or rounded to a smaller format, or after another template.

A ``Sampler`` is the engine that draws rollouts, the third policy of a batch beside the trainer's proximal policy and
the one that is differentiated. These draw from the policy itself at other parameters, and report the log-probabilities
of the distribution that they draw from, so every correction gets the ratio that it is meant for.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.checks import whole
from gradvar.core.protocols import Policy, Sampler

_LARGEST_E4M3 = 448.0


class ServedWeights(eqx.Module):
    """An engine that serves the policy at ``weights(params)``, a function of the trainer's parameters."""

    name: str = eqx.field(static=True)
    weights: Callable[[PyTree], PyTree]

    def sample(
        self,
        policy: Policy,
        params: PyTree,
        key: PRNGKeyArray,
        prompts: Array,
        group: int,
        *,
        first_prompt: int | Int[Array, ""] = 0,
    ) -> Int[Array, "prompt group time"]:
        """Draw from the policy at the served weights.

        Args:
            policy: The policy that is served.
            params: The trainer's parameters.
            key: A key for random numbers.
            prompts: Prompts, with leading axis Q.
            group: The number of completions for each prompt.
            first_prompt: Number of the first prompt in the whole batch, where these are a chunk of it.
        """
        served, weights, prompts = self._served(policy, params, prompts)
        number = {} if isinstance(first_prompt, int) and first_prompt == 0 else {"first_prompt": first_prompt}
        completions: Array = served.sample(weights, key, prompts, group, **number)
        return completions

    def logprobs(
        self, policy: Policy, params: PyTree, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """Every token's log-probability (nats) at the served weights.

        Args:
            policy: The policy that is served.
            params: The trainer's parameters.
            prompts: Prompts, with leading axis Q.
            completions: Rollouts of each prompt.
        """
        served, weights, prompts = self._served(policy, params, prompts)
        logprobs: Array = served.logprobs(weights, prompts, completions)
        return logprobs

    def log_chances(
        self, policy: Policy, params: PyTree, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group time"]:
        """The same: the engine reports what it draws from.

        Args:
            policy: The policy that is served.
            params: The trainer's parameters.
            prompts: Prompts, with leading axis Q.
            completions: Rollouts of each prompt.
        """
        return self.logprobs(policy, params, prompts, completions)

    def _served(self, policy: Any, params: PyTree, prompts: Array) -> tuple[Any, PyTree, Array]:
        """The policy that draws, its weights, and the prompts as it sees them.

        Of a policy that trains a part of its weights, an engine rounds all of them.
        """
        if isinstance(self.weights, Rounding) and hasattr(policy, "merge"):
            return policy.transformer, self.weights(policy.merge(params)), prompts
        return policy, self.weights(params), prompts


class _Fixed(eqx.Module):
    """Parameters that do not follow the trainer's."""

    params: PyTree

    def __call__(self, params: PyTree) -> PyTree:
        return self.params


def stale(params: PyTree) -> ServedWeights:
    """An engine whose weights are these, whatever the trainer's are: those of k steps ago, or another model's.

    >>> stale(jnp.array([1.0, 2.0])).weights(jnp.array([0.0, 0.0])).tolist()
    [1.0, 2.0]
    """
    return ServedWeights("stale", _Fixed(params))


def bfloat16_weights() -> ServedWeights:
    """Weights rounded to the nearest bfloat16 number (8 significant bits), computed with in the trainer's precision.

    >>> bfloat16_weights().weights(jnp.array([1.0, 1.005])).tolist()
    [1.0, 1.0078125]
    """
    return ServedWeights("bfloat16", Rounding("bfloat16"))


def fp8_weights(*, per_channel: bool = False) -> ServedWeights:
    """Weights in FP8 e4m3 (4 significant bits), scaled so that the largest is 448: one scale, or one for each row.

    One scale for a weight tensor is what engines call dynamic quantisation; ``per_channel`` has one for each row along
    the last axis. The rounding is that of ``float8_e4m3fn``, to the nearest, ties to even.

    >>> fp8_weights().weights(jnp.array([[1.0, 448.0], [0.01, 17.0]])).tolist()[1][1]
    16.0
    """
    return ServedWeights("fp8_channel" if per_channel else "fp8", Rounding("fp8", per_channel))


def int8_weights(*, per_channel: bool = False) -> ServedWeights:
    """Weights in 255 equal steps, symmetric around zero: one scale for a tensor, or one for each row.

    >>> int8_weights().weights(jnp.array([127.0, 1.4])).tolist()
    [127.0, 1.0]
    """
    return ServedWeights("int8_channel" if per_channel else "int8", Rounding("int8", per_channel))


class MergedAdapter(ServedWeights):
    """An engine that serves a model with its adapters merged into the weights; ``weights`` rounds the merged ones."""

    def _served(self, policy: Any, params: PyTree, prompts: Array) -> tuple[Any, PyTree, Array]:
        if not hasattr(policy, "merged"):
            raise ValueError(
                f"sampler: merged_adapter needs adapters and {type(policy).__name__} has none; give a policy of lora"
            )
        return policy.transformer, self.weights(policy.merged(params)), prompts


def merged_adapter(
    rounding: Literal["bfloat16", "fp8", "int8"] | None = "bfloat16", *, per_channel: bool = False
) -> MergedAdapter:
    """An engine that serves low-rank adapters merged into the weights and then rounded, while the trainer adds them.

    The trainer computes W x + (alpha / rank) B A x, and the engine (W + (alpha / rank) B A) x: without a rounding they
    differ by the last bits only, with one the small change of W is rounded with W.

    Args:
        rounding: What the merged weights are rounded to; None keeps them.
        per_channel: One scale for each row in fp8 and int8, not one for a tensor.

    >>> merged_adapter().name, merged_adapter(None).name
    ('merged_bfloat16', 'merged')
    """
    if rounding is None:
        return MergedAdapter("merged", _unchanged)
    return MergedAdapter(f"merged_{rounding}", Rounding(rounding, per_channel))


class OtherTemplate(ServedWeights):
    """An engine whose chat template ends the prompt with ``token``, where the trainer's has another one."""

    token: int = eqx.field(static=True)

    def _served(self, policy: Any, params: PyTree, prompts: Array) -> tuple[Any, PyTree, Array]:
        if getattr(prompts, "ndim", 0) != 2:
            raise ValueError(
                f"sampler: a template ends prompts of tokens and {type(policy).__name__} has numbers of prompts; "
                "give a transformer, or a model by its logits"
            )
        return policy, params, jnp.asarray(prompts).at[:, -1].set(self.token)


def other_template(token: int) -> OtherTemplate:
    """An engine with another token at the boundary between prompt and completion: its chat template is not the same.

    It draws after its own prompt and reports the log-probabilities that it drew with; the trainer computes its own
    after the prompt that it has. A correction gets the ratio it is meant for.

    >>> other_template(7)._served(None, (), jnp.array([[1, 2, 3]]))[2].tolist()
    [[1, 2, 7]]
    """
    return OtherTemplate("template", _unchanged, whole("other_template", token, 0))


def _unchanged(params: PyTree) -> PyTree:
    return params


class Rounding(eqx.Module):
    """Every floating array of a tree, rounded to what a smaller format can hold."""

    format: Literal["bfloat16", "fp8", "int8"] = eqx.field(static=True)
    per_channel: bool = eqx.field(static=True, default=False)

    def __call__(self, params: PyTree) -> PyTree:
        """Return the tree with the values that the format keeps, in the types that it came in."""
        return jax.tree.map(self._rounded, params)

    def _rounded(self, x: Any) -> Any:
        if not (hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)):
            return x
        if self.format == "bfloat16":
            return x.astype(jnp.bfloat16).astype(x.dtype)
        largest = jnp.max(jnp.abs(x), axis=-1 if self.per_channel else None, keepdims=True)
        scale = jnp.where(largest > 0, largest, 1.0) / (_LARGEST_E4M3 if self.format == "fp8" else 127)
        if self.format == "fp8":
            return (x / scale).astype(jnp.float8_e4m3fn).astype(x.dtype) * scale
        return jnp.round(x / scale) * scale


def as_sampler(sampler: Sampler | PyTree | None) -> Sampler | None:
    """A sampler as it is; parameters as the engine that serves them; None as None.

    >>> as_sampler(None), as_sampler(jnp.array([1.0])).name
    (None, 'stale')
    """
    return sampler if sampler is None or isinstance(sampler, Sampler) else stale(sampler)
