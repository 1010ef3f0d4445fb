"""Advantage functions under test, called alike whatever their library and the layout of their arguments.

The laws pass groups of rewards (a list of lists, ragged where the signature allows). A target
turns them into the arrays of the function's library in the layout that the function expects, and records each
call as a line of Python, so that a failure can be reproduced without the kit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library
from gradvar.testing.caller import Caller, CallResult, last_tokens
from gradvar.testing.calls import BadOutput, SquareOutput
from gradvar.testing.signatures import Signature

Groups = Sequence[Sequence[float]]
RECTANGULAR = ("grouped", "num-generations")


@dataclass
class AdvantageTarget:
    """An advantage function.

    ``domain`` says which rewards it is meant for: real, nonnegative or binary. ``output`` names the output that is
    the advantages, ``shapes`` the real shapes of arguments by role; ``flaw`` says why no law can be tried on it,
    ``remark`` which of several outputs is read.
    """

    function: Callable[..., Any]
    signature: Signature
    library: Library
    name: str
    origin: str = ""
    domain: str = "real"
    min_group: int = 2
    epsilon: float = 1e-4
    ids_as: str = ""
    mask_as: str = "float"
    calls: list[str] = field(default_factory=list)
    shapes: Mapping[str, str] = field(default_factory=dict)
    output: str = ""
    flaw: str = ""
    remark: str = ""

    @property
    def kind(self) -> str:
        """The layout of the arguments, one of ``signatures.KINDS``."""
        return self.signature.kind

    @property
    def ragged(self) -> bool:
        """Return True if one call can take groups of unequal size."""
        return self.kind in ("flat", "prompt-ids", "token-level")

    @property
    def batched(self) -> bool:
        """Return True if one call takes several groups."""
        return self.kind != "group"

    @property
    def by_token(self) -> bool:
        """Return True if the function takes a mask, so that it may return an advantage for each token."""
        return self.signature.takes("mask") or self.signature.takes("token_rewards")

    @property
    def caller(self) -> Caller:
        """The caller of the function, which notes its calls here."""
        return Caller(
            self.function, self.signature, self.library, self.name, self.origin, self.ids_as, self.mask_as,
            self.calls, self.shapes,
        )  # fmt: skip

    def __call__(self, groups: Groups, dtype: str | None = None, order: Any = None) -> list[np.ndarray]:
        """Return the advantages of every group, float64; ``order`` permutes the rows of a flat layout.

        Raises:
            Raised: The function raised an error.
            BadOutput: The function returned no array of the expected shape.
        """
        return self.run(groups, dtype, order)[0]

    def run(
        self, groups: Groups, dtype: str | None = None, order: Any = None, **more: Any
    ) -> tuple[list[np.ndarray], str, bool]:
        """Return the advantages, their dtype, and True if the function left its arguments unchanged.

        Args:
            groups: The rewards of each group.
            dtype: The dtype of the rewards; default: the library's widest.
            order: A permutation of the rows of a flat layout.
            more: Further values of ``row_values``: ``prompts``, ``lengths``, ``mask``, ``garbage``, ``places``.
        """
        if self.kind == "group":
            parts = [self._answer({"rewards": np.asarray(g)}, dtype, (len(g),)) for g in groups]
            return [p[0] for p in parts], parts[0][1], all(p[2] for p in parts)
        if self.kind == "grouped":
            rows = np.asarray([list(g) for g in groups])
            out, kind, clean = self._answer({"rewards": rows}, dtype, rows.shape)
            return list(out), kind, clean
        sizes = [len(g) for g in groups]
        values = row_values(groups, **more)
        order = np.arange(sum(sizes)) if order is None else np.asarray(order)
        values = {role: value if np.ndim(value) == 0 else value[order] for role, value in values.items()}
        out, kind, clean = self._answer(values, dtype, values["rewards"].shape)
        restored = np.empty(len(order))
        restored[order] = per_rollout(out, values["mask"])
        return np.split(restored, np.cumsum(sizes)[:-1]), kind, clean

    def tokens(self, groups: Groups, dtype: str | None = None, **more: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return what a token-level function gives each token [N, T], masked ones included, and the mask [N, T].

        A function that returns one number a rollout gives it to all tokens. Arguments as those of ``run``.
        """
        values = row_values(groups, **more)
        out = self._answer(values, dtype, values["rewards"].shape)[0]
        mask = values["mask"]
        return (out if out.ndim == 2 else np.repeat(out[:, None], mask.shape[1], axis=1)), mask

    def _answer(
        self, values: Mapping[str, Any], dtype: str | None, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, str, bool]:
        """The advantages in the shape of the rewards, or [N, T] for a function of tokens."""
        result = self.caller(values, dtype)
        tokens = values["mask"].shape if self.by_token else shape
        name = self.output if self.output else next(iter(candidate_outputs(result, shape, tokens)), "")
        if not name:
            name = next(iter(result.outputs))
        if name not in result.outputs:
            raise BadOutput(f"returned {', '.join(result.outputs)}, no '{name}'")
        out, kind = result.outputs[name], result.dtypes[name]
        if out.shape in (shape, tokens):
            return out, kind, result.unchanged
        if out.shape == (*shape, 1):
            return out.reshape(shape), kind, result.unchanged
        if len(shape) == 1 and out.shape == (shape[0], shape[0]):
            raise SquareOutput(
                f"returned shape {out.shape} for {shape[0]} rollouts: [B] and [B, 1] are broadcast against each other"
            )
        raise BadOutput(f"returned shape {out.shape} for rewards of shape {shape}")


def candidate_outputs(result: CallResult, shape: tuple[int, ...], tokens: tuple[int, ...]) -> list[str]:
    """The names of the outputs that may be advantages, those called so first."""
    names = [n for n, out in result.outputs.items() if out.shape in (shape, (*shape, 1), tokens)]
    return sorted(names, key=lambda n: not n.lower().startswith("adv"))


def per_rollout(out: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean advantage [N] over a rollout's real tokens; 0 where it has none."""
    if out.ndim == 1:
        return out
    total = np.where(mask, out, 0.0).sum(-1)  # [rollout, time] -> [rollout]
    return total / np.maximum(mask.sum(-1), 1)


def row_values(
    groups: Groups,
    *,
    prompts: Any = None,
    lengths: Any = None,
    mask: Any = None,
    garbage: float = 0.0,
    places: Any = None,
) -> dict[str, Any]:
    """Return the values by role of a batch of rollouts, its groups in contiguous runs.

    Args:
        groups: The rewards of each group.
        prompts: The identity of each group's prompt; default: all different.
        lengths: Tokens of each rollout [N]; default: two.
        mask: The real tokens [N, T], with holes or padding on either side; default: from the lengths.
        garbage: The token rewards on masked places that hold no reward.
        places: The place of each rollout's reward [N]; default: its last real token.
    """
    sizes = [len(g) for g in groups]
    flat = np.concatenate([np.asarray(g) for g in groups])
    ids = np.repeat(np.arange(len(groups)), sizes)
    if mask is None:
        lengths = np.full(len(flat), 2) if lengths is None else np.asarray(lengths)
        mask = np.arange(max(int(lengths.max()), 3))[None, :] < lengths[:, None]
    mask = np.asarray(mask, bool)
    places = np.maximum(last_tokens(mask), 0) if places is None else np.asarray(places)
    tokens = np.where(mask, 0.0, garbage)  # [rollout, time]
    tokens[np.arange(len(flat)), places] = flat
    return {
        "rewards": flat,
        "token_rewards": tokens,
        "ids": ids,
        "prompts": ids if prompts is None else np.asarray(prompts)[ids],
        "count": sizes[0],
        "row_count": len(flat),
        "trajectories": np.arange(len(flat)),  # a trajectory of one step each
        "last_step": np.ones(len(flat), bool),
        "mask": mask,
        "second_mask": mask,
        "lengths": mask.sum(-1),
        "correct": flat > 0,
    }
