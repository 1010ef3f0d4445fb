"""Batches: all that an objective may look at besides log-probabilities.

Axes, everywhere: ``prompt`` (Q prompts), ``group`` (G rollouts of one prompt), ``time`` (T tokens), ``param`` (P
parameters, flattened). Objectives are maximised.
"""

from __future__ import annotations

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from gradvar.core.precision import say_if_equal

PER_PROMPT = ("greedy_rewards", "baseline")
"""Fields of a batch that have one value for each prompt."""


class Batch(eqx.Module):
    """Rollouts of Q prompts, G each, T tokens long: all that an objective may look at besides ``logp``.

    ``rewards`` [Q, G]; ``logp_old`` [Q, G, T], the log-probabilities (nats) under the trainer's proximal policy, whose
    ratios are clipped; ``mask`` [Q, G, T], true where a token counts. Optional, for the estimators that need them:
    ``logp_ref`` [Q, G, T] under the reference policy; ``logp_sampler`` [Q, G, T] as the engine that drew reports them;
    ``values`` [Q, G, T], the critic's value of the state *before* each token; ``greedy_rewards`` [Q], the reward of
    the greedy rollout; ``baseline`` [Q], a given baseline; ``reward_parts`` [Q, G, K], several rewards per rollout;
    ``score_squares`` [Q, G], the squared norm of each whole rollout's score under the policy that sampled.

    Raises ``ValueError`` on shapes that do not match and, where the arrays are concrete, on a NaN or infinite reward
    and on a rollout without a token (``allow_empty=True`` keeps such rollouts; the aggregation then says what they
    count for).
    """

    rewards: Float[Array, "prompt group"]
    logp_old: Float[Array, "prompt group time"]
    mask: Bool[Array, "prompt group time"]
    logp_ref: Float[Array, "prompt group time"] | None
    logp_sampler: Float[Array, "prompt group time"] | None
    values: Float[Array, "prompt group time"] | None
    greedy_rewards: Float[Array, " prompt"] | None
    baseline: Float[Array, " prompt"] | None
    reward_parts: Float[Array, "prompt group part"] | None
    score_squares: Float[Array, "prompt group"] | None

    def __init__(
        self,
        rewards: ArrayLike,
        logp_old: ArrayLike,
        mask: ArrayLike | None = None,
        *,
        logp_ref: ArrayLike | None = None,
        logp_sampler: ArrayLike | None = None,
        values: ArrayLike | None = None,
        greedy_rewards: ArrayLike | None = None,
        baseline: ArrayLike | None = None,
        reward_parts: ArrayLike | None = None,
        score_squares: ArrayLike | None = None,
        allow_empty: bool = False,
    ) -> None:
        self.rewards = _floating(rewards)
        if not isinstance(rewards, jax.Array):
            say_if_equal(np.asarray(rewards), self.rewards.dtype)
        self.logp_old = _floating(logp_old)
        self.mask = jnp.ones(self.logp_old.shape, bool) if mask is None else jnp.asarray(mask).astype(bool)
        self.logp_ref = None if logp_ref is None else _floating(logp_ref)
        self.logp_sampler = None if logp_sampler is None else _floating(logp_sampler)
        self.values = None if values is None else _floating(values)
        self.greedy_rewards = None if greedy_rewards is None else _floating(greedy_rewards)
        self.baseline = None if baseline is None else _floating(baseline)
        self.reward_parts = None if reward_parts is None else _floating(reward_parts)
        self.score_squares = None if score_squares is None else _floating(score_squares)
        self._check_shapes()
        self._check_values(allow_empty)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike], *, allow_empty: bool = False) -> Batch:
        """Make a batch of the arrays that a policy, a task and a baseline source supply, by the names of the fields.

        ``logp_sampler`` is ``logp_old`` where it is not given: one policy samples and scores. A field of one value per
        prompt (``PER_PROMPT``) may come repeated for every rollout, [Q, G]. Names that are no field (``logp``,
        ``completions``) are left out.

        >>> arrays = {"rewards": [[1.0, 0.0]], "logp_old": [[[-1.0], [-2.0]]], "baseline": [[0.5, 0.5]]}
        >>> batch = Batch.from_arrays(arrays)
        >>> batch.baseline.tolist(), batch.logp_sampler[0, 1].tolist(), batch.values
        ([0.5], [-2.0], None)
        """
        fields = {name: array for name, array in arrays.items() if name in cls.__dataclass_fields__}
        for name in PER_PROMPT:
            if name in fields and np.ndim(fields[name]) == 2:
                fields[name] = jnp.asarray(fields[name])[:, 0]  # [prompt, group] -> [prompt]
        return cls(**{"logp_sampler": fields["logp_old"]} | fields, allow_empty=allow_empty)

    @property
    def lengths(self) -> Float[Array, "prompt group"]:
        """Tokens per rollout, as floats."""
        return jnp.sum(self.mask, axis=-1).astype(self.rewards.dtype)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The sizes of the axes: (Q, G, T)."""
        prompts, group, time = self.logp_old.shape
        return prompts, group, time

    def _check_shapes(self) -> None:
        if self.logp_old.ndim != 3:
            raise ValueError(f"logp_old: shape {self.logp_old.shape}; give three axes, [prompt, group, time]")
        prompts, group, time = self.logp_old.shape
        wanted: dict[str, tuple[int, ...]] = dict.fromkeys(("rewards", "score_squares"), (prompts, group))
        wanted |= dict.fromkeys(("mask", "logp_ref", "logp_sampler", "values"), (prompts, group, time))
        wanted |= dict.fromkeys(PER_PROMPT, (prompts,))
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(
                    f"{name}: shape {array.shape} does not match logp_old's {self.logp_old.shape}; give {shape}"
                )
        if self.reward_parts is not None and self.reward_parts.shape[:-1] != (prompts, group):
            raise ValueError(
                f"reward_parts: shape {self.reward_parts.shape}; give {(prompts, group)} and one axis of parts"
            )

    def _check_values(self, allow_empty: bool) -> None:
        if not isinstance(self.rewards, jax.core.Tracer):
            bad = np.argwhere(~np.isfinite(np.asarray(self.rewards, np.float64)))
            if len(bad):
                q, g = (int(i) for i in bad[0])
                raise ValueError(
                    f"rewards: {float(self.rewards[q, g])} at prompt {q}, rollout {g}; "
                    "give finite rewards, or drop the rollout's whole group"
                )
        if not allow_empty and not isinstance(self.mask, jax.core.Tracer):
            empty = np.argwhere(~np.asarray(self.mask).any(-1))
            if len(empty):
                q, g = (int(i) for i in empty[0])
                raise ValueError(
                    f"mask: prompt {q}, rollout {g} has no token left; keep at least its stop token, "
                    "or pass allow_empty=True"
                )


def _floating(x: ArrayLike) -> Array:
    array = jnp.asarray(x)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))
