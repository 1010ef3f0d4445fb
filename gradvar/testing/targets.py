"""Targets: functions under test, called alike whatever their library and the layout of their arguments.

The laws pass groups of rewards (a list of lists, ragged where the signature allows) or loss batches. A target
turns them into the arrays of the function's library in the layout that the function expects, and records each
call as a line of Python, so that a failure can be reproduced without the kit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library, written
from gradvar.testing.backends import value_and_weights
from gradvar.testing.calls import BadOutput, Raised, quietly
from gradvar.testing.signatures import Signature

Groups = Sequence[Sequence[float]]
RECTANGULAR = ("grouped", "num-generations")


@dataclass
class AdvantageTarget:
    """An advantage function; ``domain`` says which rewards it is meant for: real, nonnegative or binary."""

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
            more: ``prompts`` (the identity of each group's prompt), ``lengths`` (tokens per rollout) and
                ``garbage`` (the token rewards on the padding).
        """
        dtype = dtype or self.library.wide
        if self.kind == "group":
            parts = [self._call({"rewards": np.asarray(g)}, dtype, (len(g),)) for g in groups]
            return [p[0] for p in parts], parts[0][1], all(p[2] for p in parts)
        if self.kind == "grouped":
            rows = np.asarray([list(g) for g in groups])
            out, kind, clean = self._call({"rewards": rows}, dtype, rows.shape)
            return list(out), kind, clean
        sizes = [len(g) for g in groups]
        flat = np.concatenate([np.asarray(g) for g in groups])
        ids = np.repeat(np.arange(len(groups)), sizes)
        order = np.arange(len(flat)) if order is None else np.asarray(order)
        values: dict[str, Any] = {"rewards": flat[order], "ids": ids[order]}
        values["prompts"] = np.asarray(more.get("prompts", np.arange(len(groups))))[ids[order]]
        if self.kind == "num-generations":
            values["count"] = sizes[0]
        if self.kind == "token-level":
            lengths = np.asarray(more.get("lengths", np.full(len(flat), 2)))[order]
            values.update(token_arrays(flat[order], lengths, more.get("garbage", 0.0)))
        shape = flat.shape if self.kind != "token-level" else values["mask"].shape
        out, kind, clean = self._call(values, dtype, shape)
        if self.kind == "token-level":
            tokens = np.where(values["mask"], out, 0.0)  # [rollout, time]
            out = tokens.sum(-1) / values["mask"].sum(-1)
        restored = np.empty(len(flat))
        restored[order] = out
        return np.split(restored, np.cumsum(sizes)[:-1]), kind, clean

    def _call(
        self, values: Mapping[str, Any], dtype: str, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, str, bool]:
        native: dict[str, Any] = {}
        text: dict[str, str] = {}
        for role, value in values.items():
            if role in ("rewards", "token_rewards"):
                native[role], text[role] = self.library.array(value, dtype), self.library.source(value, dtype)
            elif role == "count":
                native[role], text[role] = int(value), str(int(value))
            elif role == "mask":
                # a mask in the rewards' own dtype: a wider one would promote what comes back
                kind = "bool" if self.mask_as == "bool" else dtype
                native[role] = self.library.array(value, kind)
                text[role] = self.library.source(value.astype(int), kind)
            else:
                native[role], text[role] = self._labels(value)
        native["lengths"], text["lengths"] = self._lengths(values, shape)
        before = {
            role: self.library.numpy(native[role]) for role in ("rewards", "token_rewards") if role in native
        }
        result = self._invoke(native, text)
        clean = all(
            np.array_equal(self.library.numpy(native[role]), old, equal_nan=True)
            for role, old in before.items()
        )
        result = result[0] if isinstance(result, tuple) and result else result
        result = result.get("advantages") if isinstance(result, dict) else result
        try:
            out = self.library.numpy(result)
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise BadOutput(f"returned {type(result).__name__}, not an array of numbers") from error
        if out.shape != shape:
            per_row = (shape[0],) if self.kind == "token-level" else (*shape, 1)
            if out.shape not in (per_row, (*per_row, 1)):
                raise BadOutput(f"returned shape {out.shape} for rewards of shape {shape}")
            out = out.reshape(-1, 1) * np.ones(shape) if self.kind == "token-level" else out.reshape(shape)
        return out, self.library.dtype_of(result), clean

    def _labels(self, value: np.ndarray) -> tuple[Any, str]:
        if self.ids_as == "object":
            labels = np.array([f"u{int(v)}" for v in value], dtype=object)
            return labels, f"np.array({written(labels.tolist())}, dtype=object)"
        if self.ids_as == "numpy":
            return np.asarray(value), f"np.array({value.tolist()})"
        return self.library.array(value, _int_dtype(self.library)), self.library.source(
            value, _int_dtype(self.library)
        )

    def _lengths(self, values: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Any, str]:
        lengths = values["mask"].sum(-1) if "mask" in values else np.ones(shape)
        return self.library.array(lengths, self.library.wide), self.library.source(lengths, self.library.wide)

    def _invoke(self, native: Mapping[str, Any], text: Mapping[str, str]) -> Any:
        args, kwargs = self.signature.arguments(native)
        source_args, source_kwargs = self.signature.arguments(text)
        shown = list(source_args)
        for key, value in source_kwargs.items():
            shown.append(f"{key}={written(value) if key in self.signature.fixed else value}")
        self.calls.append(f"f({', '.join(shown)})")
        return quietly(self.function, args, kwargs)


@dataclass(frozen=True)
class LossBatch:
    """The rows of a loss: arrays [N, T] in float64 and ``advantages`` [N], in runs of ``group`` rows.

    ``mask`` says which tokens the policy wrote. ``second_mask`` [N, T] says it where the loss takes that apart from
    padding; default: the mask, whose holes are then no part of the first one.
    ``token_count`` is the number of tokens of the batch that this one is a part of, default: its own.
    """

    logp: np.ndarray
    old_logp: np.ndarray
    advantages: np.ndarray
    mask: np.ndarray
    group: int = 2
    ref_logp: np.ndarray | None = None
    second_mask: np.ndarray | None = None
    token_count: float | None = None

    def rows(self, index: Any) -> LossBatch:
        """The batch of the chosen rows."""
        arrays = ("logp", "old_logp", "advantages", "mask", "ref_logp", "second_mask")
        chosen = {name: getattr(self, name) for name in arrays}
        return replace(self, **{name: a[index] for name, a in chosen.items() if a is not None})


@dataclass
class LossTarget:
    """A policy-gradient loss.

    ``sign`` is +1 for a loss to be minimised, -1 for an objective to be maximised; weights are always those of
    the objective. ``advantage_shape`` names the shape of the advantages: "NT" [N, T], "N" [N] or "N1" [N, 1].
    """

    function: Callable[..., Any]
    signature: Signature
    library: Library
    name: str
    origin: str = ""
    sign: int = 1
    advantage_shape: str = "NT"
    aggregation: str = ""
    mask_as: str = "float"
    calls: list[str] = field(default_factory=list)
    compiled: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The layout of the arguments: always "loss"."""
        return "loss"

    def takes(self, role: str) -> bool:
        """Return True if the function takes the array: mask, old_logp, ref_logp."""
        return self.signature.takes(role)

    def weights(self, batch: LossBatch) -> tuple[float, np.ndarray]:
        """Return the objective's value and token weights [N, T]; raise ``Raised`` for the function's errors."""
        dtype = self.library.wide
        mask, second = self._masks(batch)
        values: dict[str, Any] = {"old_logp": batch.old_logp, "mask": mask, "second_mask": second}
        values["ref_logp"] = batch.old_logp if batch.ref_logp is None else batch.ref_logp
        values["advantages"] = {
            "NT": np.repeat(batch.advantages[:, None], batch.mask.shape[1], axis=1),
            "N": batch.advantages,
            "N1": batch.advantages[:, None],
        }[self.advantage_shape]
        native = {r: self.library.array(v, self._dtype(r, dtype)) for r, v in values.items()}
        text = {r: self.library.source(np.asarray(v), self._dtype(r, dtype)) for r, v in values.items()}
        count = (mask & second).sum() if batch.token_count is None else batch.token_count
        native["token_count"], text["token_count"] = float(count), repr(float(count))
        text["logp"] = self.library.source(batch.logp, dtype)

        def call(logp: Any, rest: Mapping[str, Any]) -> Any:
            args, kwargs = self.signature.arguments({**rest, "logp": logp})
            return quietly(self.function, args, kwargs)

        args, kwargs = self.signature.arguments(text)
        shown = args + [f"{k}={written(v) if k in self.signature.fixed else v}" for k, v in kwargs.items()]
        self.calls.append(f"f({', '.join(shown)})")
        try:
            value, weights = value_and_weights(call, batch.logp, native, self.library, dtype, self.compiled)
        except (Raised, TypeError):
            raise
        except Exception as error:  # the framework's backward pass
            raise Raised(error) from error
        return -self.sign * value, -self.sign * weights

    def _masks(self, batch: LossBatch) -> tuple[np.ndarray, np.ndarray]:
        """The mask and the second mask: holes in a row are the second one's to say, where the loss takes two."""
        if batch.second_mask is not None:
            return batch.mask, batch.second_mask
        if not (self.takes("second_mask") and self.takes("mask")):
            return batch.mask, batch.mask
        begun = np.cumsum(batch.mask, axis=1) > 0
        to_come = np.cumsum(batch.mask[:, ::-1], axis=1)[:, ::-1] > 0
        return begun & to_come, batch.mask

    def _dtype(self, role: str, dtype: str) -> str:
        return _mask_dtype(self.library, self.mask_as) if role in ("mask", "second_mask") else dtype


def token_arrays(rewards: np.ndarray, lengths: np.ndarray, garbage: float = 0.0) -> dict[str, np.ndarray]:
    """Token rewards [N, T] with the reward on the last real token, and the mask; ``garbage`` on the padding."""
    steps = max(int(lengths.max()), 3)
    mask = np.arange(steps)[None, :] < lengths[:, None]
    tokens = np.where(mask, 0.0, garbage)
    tokens[np.arange(len(rewards)), lengths - 1] = rewards
    return {"token_rewards": tokens, "mask": mask}


def _mask_dtype(lib: Library, form: str) -> str:
    return "bool" if form == "bool" else lib.wide


def _int_dtype(lib: Library) -> str:
    return "int32" if lib.name == "jax" else "int64"
