"""What a score bank is made of, as plain data: rollouts, the rows of their basis, and how it was recorded.

A *row* is a rollout and one vector of its token-weight basis; its score is J^T phi, a vector of P numbers. The gradient
of any batch is a combination of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gradvar.core.batch import PER_PROMPT, Batch
from gradvar.measure.bank.scores import Scores

_PER_PROMPT = ("prompts", *PER_PROMPT)


@dataclass(frozen=True, eq=False)
class Rollouts:
    """Q prompts, N independent rollouts of each, T tokens; arrays of NumPy, as ``Batch`` names them.

    ``logp_sampler``: what an engine reports; None where the policy of ``logp_old`` drew.
    """

    prompts: Any
    completions: Int[np.ndarray, "prompt rollout time"]
    rewards: Float[np.ndarray, "prompt rollout"]
    mask: Bool[np.ndarray, "prompt rollout time"]
    logp: Float[np.ndarray, "prompt rollout time"]
    logp_old: Float[np.ndarray, "prompt rollout time"]
    logp_ref: Float[np.ndarray, "prompt rollout time"]
    values: Float[np.ndarray, "prompt rollout time"] | None = None
    greedy_rewards: Float[np.ndarray, " prompt"] | None = None
    baseline: Float[np.ndarray, " prompt"] | None = None
    reward_parts: Float[np.ndarray, "prompt rollout part"] | None = None
    logp_sampler: Float[np.ndarray, "prompt rollout time"] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Prompts, rollouts of each, and tokens: (Q, N, T)."""
        return self.logp.shape

    @property
    def lengths(self) -> Int[np.ndarray, "prompt rollout"]:
        """Tokens of every rollout."""
        return self.mask.sum(-1)

    @property
    def on_policy(self) -> bool:
        """True if the rollouts were drawn from the parameters that are differentiated, by no engine."""
        return self.logp_sampler is None and bool(
            np.array_equal(self.logp[self.mask], self.logp_old[self.mask])
        )

    def arrays(self) -> dict[str, Any]:
        """The arrays that were recorded, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in named.items() if value is not None}

    def objective_arrays(self) -> dict[str, Array]:
        """The arrays that objectives see, on the device; masked log-probabilities are zero."""
        arrays = {n: x for n, x in self.arrays().items() if n not in ("prompts", "completions")}
        for name in ("logp", "logp_old", "logp_ref", "logp_sampler"):
            if name not in arrays:
                continue
            arrays[name] = np.where(self.mask, arrays[name], 0.0).astype(self.logp.dtype)
        return {name: jnp.asarray(x) for name, x in arrays.items()}

    def join(self, other: Rollouts, axis: int) -> Rollouts:
        """Concatenate two sets of rollouts: ``axis`` 0 adds prompts, 1 adds rollouts to the same prompts."""
        first, second = self.arrays(), other.arrays()
        if set(first) != set(second):
            raise ValueError(
                f"rollouts: arrays {sorted(set(first) ^ set(second))} are in one set only; record both alike"
            )
        joined = {}
        for name in first:
            if axis and name in _PER_PROMPT:
                pairs = map(np.array_equal, jax.tree.leaves(first[name]), jax.tree.leaves(second[name]))
                if name == "prompts" and not all(pairs):
                    raise ValueError(
                        "prompts: rollouts can only be added to the same prompts, in the same order"
                    )
                joined[name] = first[name]
            else:
                joined[name] = jax.tree.map(
                    lambda x, y: np.concatenate([x, y], axis), first[name], second[name]
                )
        return Rollouts(**joined)


def batch_of(arrays: Mapping[str, Array]) -> tuple[Float[Array, "prompt group time"], Batch]:
    """``(logp, batch)`` from arrays that already have the shape of the batch."""
    return arrays["logp"], Batch.from_arrays(arrays, allow_empty=True)


@dataclass(frozen=True, eq=False)
class BasisRows:
    """The rows of every prompt, M at most.

    ``rollout`` [Q, M]: which of the prompt's rollouts; ``basis_index`` [Q, M]: which vector of that rollout's basis;
    ``is_used`` [Q, M]: false where a prompt has fewer rows than others; ``basis`` [Q, N, B, T]: orthonormal in B.
    """

    rollout: Int[np.ndarray, "prompt row"]
    basis_index: Int[np.ndarray, "prompt row"]
    is_used: Bool[np.ndarray, "prompt row"]
    basis: Float[np.ndarray, "prompt rollout basis time"]

    @classmethod
    def of(cls, basis: Float[np.ndarray, "prompt rollout basis time"]) -> BasisRows:
        """Make a row of every basis vector that is not zero."""
        nonzero = np.any(basis != 0, axis=-1)  # [prompt, rollout, basis]
        shape = (basis.shape[0], max(1, int(nonzero.sum((1, 2)).max())))
        rollout, index = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        is_used = np.zeros(shape, bool)
        for prompt, vectors in enumerate(nonzero):
            n, b = np.nonzero(vectors)
            rollout[prompt, : len(n)], index[prompt, : len(n)], is_used[prompt, : len(n)] = n, b, True
        return cls(rollout, index, is_used, basis)

    @property
    def shape(self) -> tuple[int, int]:
        """Prompts, and rows of each: (Q, M)."""
        return self.rollout.shape

    @property
    def count(self) -> int:
        """The number of rows, each of which takes a backward pass."""
        return int(self.is_used.sum())

    def places(self) -> tuple[Int[np.ndarray, " used"], Int[np.ndarray, " used"]]:
        """Prompt and row number of every row that is used, in order."""
        prompt, row = np.nonzero(self.is_used)
        return prompt, row


@dataclass(frozen=True, eq=False)
class Recording:
    """A score bank as plain data.

    ``drawn``: true if the prompts are a sample of the task's, false if they are all that matter. ``tolerance``: the
    relative residual of token weights that the basis may leave. ``info``: how it was recorded, as plain values (map,
    seed, versions, parameters, cost).
    """

    rollouts: Rollouts
    rows: BasisRows
    scores: Scores
    drawn: bool
    tolerance: float
    info: Mapping[str, Any] = field(default_factory=dict)
