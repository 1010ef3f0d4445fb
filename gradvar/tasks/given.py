"""Tasks whose rewards are given as a table: any real values, for policies that can be enumerated."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from numpy.typing import ArrayLike

from gradvar.core.checks import finite
from gradvar.core.precision import say_if_equal
from gradvar.tasks.matching import check_rollouts


def _table(rewards: ArrayLike) -> tuple[tuple[float, ...], ...]:
    """Rewards [K] or [Q, K] as rows of floats that can be hashed and written down."""
    array = np.asarray(rewards, np.float64)
    if array.ndim not in (1, 2) or array.shape[-1] < 2 or array.shape[0] < 1:
        raise ValueError(
            f"rewards: shape {array.shape}; give [answer] or [prompt, answer], with two answers at least"
        )
    array = np.atleast_2d(array)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        q, k = (int(i) for i in bad[0])
        raise ValueError(f"rewards: {array[q, k]} for prompt {q}, answer {k}; give finite rewards")
    return tuple(tuple(row) for row in array.tolist())


def _values(rewards: tuple[tuple[float, ...], ...]) -> Float[Array, "prompt answer"]:
    table, dtype = np.asarray(rewards), jnp.result_type(float)
    for row in table:  # groups are of one prompt
        say_if_equal(row, dtype)
    return jnp.asarray(table, dtype)


class _Indexed:
    """Prompts that are the indices 0..Q-1, each equally likely."""

    rewards: tuple[tuple[float, ...], ...]

    @property
    def num_prompts(self) -> int:
        """Q."""
        return len(self.rewards)

    def prompts(self, key: PRNGKeyArray, num: int) -> Int[Array, " prompt"]:
        """``num`` prompts, drawn uniformly and independently."""
        return jax.random.randint(key, (num,), 0, self.num_prompts, jnp.int32)

    def all_prompts(self) -> Int[Array, " prompt"]:
        """Every prompt once."""
        return jnp.arange(self.num_prompts, dtype=jnp.int32)

    def _check(self, prompts: Array, completions: Array) -> None:
        check_rollouts(prompts, completions, axes=1)
        if not isinstance(prompts, jax.core.Tracer):
            outside = np.asarray(prompts)
            outside = outside[(outside < 0) | (outside >= self.num_prompts)]
            if outside.size:
                raise ValueError(f"prompts: index {outside[0]}; the task has 0..{self.num_prompts - 1}")


@dataclass(frozen=True, init=False)
class Bandit(_Indexed):
    """A reward for every answer: ``rewards`` [K] for one prompt, [Q, K] for many.

    Prompts are the indices 0..Q-1; an answer is the one token of a completion [Q, G, 1].
    """

    name: ClassVar[str] = "bandit"
    rewards: tuple[tuple[float, ...], ...]

    def __init__(self, rewards: ArrayLike) -> None:
        object.__setattr__(self, "rewards", _table(rewards))

    def reward(
        self, prompts: Array, completions: Int[Array, "prompt group 1"]
    ) -> Float[Array, "prompt group"]:
        """The table's entry for every answer."""
        self._check(prompts, completions)
        return _entries(_values(self.rewards), prompts, completions[..., 0])

    def solution(self, prompts: Array) -> Int[Array, "prompt 1 1"]:
        """An answer with the highest reward."""
        return jnp.argmax(_values(self.rewards)[prompts], axis=-1).astype(jnp.int32)[:, None, None]


@dataclass(frozen=True, init=False)
class Lookup(_Indexed):
    """A reward for every completion of a finite policy: ``rewards`` [K] or [Q, K].

    They stand in the order of ``support`` [K, T], which the policy's ``support()`` gives. A completion
    that is not in it gets ``otherwise``.
    """

    name: ClassVar[str] = "lookup"
    rewards: tuple[tuple[float, ...], ...]
    support: tuple[tuple[int, ...], ...]
    otherwise: float

    def __init__(self, rewards: ArrayLike, support: ArrayLike, otherwise: float = 0.0) -> None:
        table = _table(rewards)
        listed = np.asarray(support)
        if listed.ndim != 2 or len(listed) != len(table[0]) or not np.issubdtype(listed.dtype, np.integer):
            raise ValueError(
                f"support: shape {listed.shape}, {listed.dtype}; give the policy's support(), "
                f"integer tokens [{len(table[0])} completions, time], one for every reward"
            )
        if listed.min() < 0:
            raise ValueError(f"support: token {listed.min()}; give tokens of 0 or more")
        if len(np.unique(listed, axis=0)) < len(listed):
            raise ValueError("support: a completion is listed twice; give every completion once")
        finite("otherwise", otherwise)
        object.__setattr__(self, "rewards", table)
        object.__setattr__(self, "support", tuple(tuple(row) for row in listed.tolist()))
        object.__setattr__(self, "otherwise", float(otherwise))

    @cached_property
    def _trie(self) -> tuple[np.ndarray, np.ndarray]:
        """A trie of the support: where a token leads from a node, and the place of what ends at a node.

        Arrays [node, token] and [node]. The root is node 0; all that is not listed goes to the last node.
        Exact for any length and vocabulary, where a completion's number in digits would overflow.
        """
        prefixes = {row[:t] for row in self.support for t in range(len(row) + 1)}
        nodes = {prefix: node for node, prefix in enumerate(sorted(prefixes, key=lambda p: (len(p), p)))}
        leads = np.full((len(nodes) + 1, 1 + max(map(max, self.support))), len(nodes), np.int32)
        for prefix, node in nodes.items():
            if prefix:
                leads[nodes[prefix[:-1]], prefix[-1]] = node
        place = np.full(len(nodes) + 1, len(self.support), np.int32)
        for k, row in enumerate(self.support):
            place[nodes[row]] = k
        return leads, place

    def places(self, completions: Int[Array, "*batch time"]) -> Int[Array, "*batch"]:
        """Each completion's place in ``support``; K where it is not listed."""
        leads, place = (jnp.asarray(array) for array in self._trie)
        if completions.shape[-1] != len(self.support[0]):
            raise ValueError(
                f"completions: {completions.shape[-1]} tokens long; give the support's {len(self.support[0])}"
            )
        return _walk(leads, place, completions)

    def reward(
        self, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group"]:
        """The table's entry for every completion."""
        self._check(prompts, completions)
        padded = tuple((*row, self.otherwise) for row in self.rewards)  # the last one for what is not listed
        return _entries(_values(padded), prompts, self.places(completions))

    def solution(self, prompts: Array) -> Int[Array, "prompt 1 time"]:
        """A completion with the highest reward."""
        best = jnp.argmax(_values(self.rewards)[prompts], axis=-1)  # [prompt]
        return jnp.asarray(self.support, jnp.int32)[best][:, None]


@jax.jit
def _entries(
    values: Float[Array, "prompt answer"], prompts: Int[Array, " row"], answers: Int[Array, "row group"]
) -> Float[Array, "row group"]:
    """A table's entries. One program, where an index outside of one is made of a dozen small ones."""
    return values[prompts[:, None], answers]


@jax.jit
def _walk(
    leads: Int[Array, "node token"], place: Int[Array, " node"], completions: Int[Array, "*batch time"]
) -> Int[Array, "*batch"]:
    """Where the trie's walk along each completion ends. Compiled once for a shape, whatever the trie holds."""

    def step(node: Array, token: Array) -> tuple[Array, None]:
        known = (token >= 0) & (token < leads.shape[1])
        return jnp.where(known, leads[node, jnp.where(known, token, 0)], len(place) - 1), None

    root = jnp.zeros(completions.shape[:-1], jnp.int32)
    return place[jax.lax.scan(step, root, jnp.moveaxis(completions, -1, 0))[0]]
