"""The function under test behind one face: groups in, advantages out; a batch in, value and token weights
out.

The laws speak of groups of rewards (a list of lists, ragged where the signature allows) and of loss
batches; a target turns them into the arrays of the function's own library in the function's own layout, and
remembers each call as a line of Python, so that a failure can be reproduced without the kit.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library, candidates, library, unwrapped, written
from gradvar.testing.backends import value_and_weights
from gradvar.testing.signatures import Signature, SignatureError, inspect_signature

Groups = Sequence[Sequence[float]]
RECTANGULAR = ("grouped", "num-generations")


class Raised(Exception):
    """The function under test raised ``cause``."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"raised {type(cause).__name__}: {_one_line(cause)}")
        self.cause = cause

    @property
    def clear(self) -> bool:
        """Whether it is a refusal that says something: a ValueError or an assertion with a message."""
        return isinstance(self.cause, ValueError | AssertionError | NotImplementedError) and bool(
            str(self.cause)
        )


class BadOutput(Exception):
    """The function under test returned something that is no array of the right shape."""


@dataclass
class AdvantageTarget:
    """An advantage function. ``domain`` is the rewards it is meant for: real, nonnegative or binary."""

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
        """The signature's kind."""
        return self.signature.kind

    @property
    def ragged(self) -> bool:
        """Whether groups of unequal size can be passed in one call."""
        return self.kind in ("flat", "prompt-ids", "token-level")

    @property
    def batched(self) -> bool:
        """Whether one call sees several groups."""
        return self.kind != "group"

    def __call__(self, groups: Groups, dtype: str | None = None, order: Any = None) -> list[np.ndarray]:
        """Advantages of every group, float64. ``order`` permutes the rows of a flat layout.

        Raises ``Raised`` where the function does, ``BadOutput`` where what it returns does not fit.
        """
        return self.run(groups, dtype, order)[0]

    def run(
        self, groups: Groups, dtype: str | None = None, order: Any = None, **more: Any
    ) -> tuple[list[np.ndarray], str, bool]:
        """Advantages, the dtype that came back, and whether the caller's arrays are as they were."""
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
            kept = np.where(values["mask"], out, 0.0)
            out = kept.sum(-1) / values["mask"].sum(-1)
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
    """Rows of a loss: [N, T] float64 arrays, ``advantages`` [N]; rows come in groups of ``group``
    consecutive ones."""

    logp: np.ndarray
    old_logp: np.ndarray
    advantages: np.ndarray
    mask: np.ndarray
    group: int = 2
    ref_logp: np.ndarray | None = None

    def rows(self, index: Any) -> LossBatch:
        """The batch of the chosen rows."""
        ref = None if self.ref_logp is None else self.ref_logp[index]
        return LossBatch(
            self.logp[index], self.old_logp[index], self.advantages[index], self.mask[index], self.group, ref
        )


@dataclass
class LossTarget:
    """A policy-gradient loss. ``sign`` is +1 for a loss to be minimised, -1 for an objective to be maximised;
    weights are always those of the objective. ``advantage_shape`` is [N, T], [N] or [N, 1]."""

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
        """Always loss."""
        return "loss"

    def has(self, role: str) -> bool:
        """Whether the function takes the array: mask, old_logp, ref_logp."""
        return self.signature.has(role)

    def weights(self, batch: LossBatch) -> tuple[float, np.ndarray]:
        """The objective's value and its token weights [N, T]. Raises ``Raised`` where the function does."""
        dtype = self.library.wide
        values: dict[str, Any] = {"old_logp": batch.old_logp, "mask": batch.mask}
        values["ref_logp"] = batch.old_logp if batch.ref_logp is None else batch.ref_logp
        values["advantages"] = {
            "NT": np.repeat(batch.advantages[:, None], batch.mask.shape[1], axis=1),
            "N": batch.advantages,
            "N1": batch.advantages[:, None],
        }[self.advantage_shape]
        native = {r: self.library.array(v, self._dtype(r, dtype)) for r, v in values.items()}
        text = {r: self.library.source(np.asarray(v), self._dtype(r, dtype)) for r, v in values.items()}
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

    def _dtype(self, role: str, dtype: str) -> str:
        return _mask_dtype(self.library, self.mask_as) if role == "mask" else dtype


def token_arrays(rewards: np.ndarray, lengths: np.ndarray, garbage: float = 0.0) -> dict[str, np.ndarray]:
    """Token rewards [N, T] with the reward on the last real token, and the mask; ``garbage`` fills the
    padding."""
    steps = max(int(lengths.max()), 3)
    mask = np.arange(steps)[None, :] < lengths[:, None]
    tokens = np.where(mask, 0.0, garbage)
    tokens[np.arange(len(rewards)), lengths - 1] = rewards
    return {"token_rewards": tokens, "mask": mask}


def quietly(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call it with its warnings and prints silenced; what it raises comes back as ``Raised``."""
    with warnings.catch_warnings(), open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise Raised(error) from error


def advantage_target(
    function: Callable[..., Any],
    *,
    signature: str | None = None,
    library_name: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    dtypes: Sequence[str] = (),
    **settings: Any,
) -> AdvantageTarget:
    """The target for an advantage function; the library and an unsaid layout are found by trying.

    ``dtypes`` are the floating dtypes of the rewards that it is meant for; default: those that its library's
    users feed it.

    Raises ``SignatureError`` where nothing works, with the reason.
    """
    found = inspect_signature(function, signature, arguments)
    readings = [found]
    if signature is None and found.kind == "num-generations":
        # a count with a default (k=4) may be a setting: then the rewards are those of a group, or of several
        readings.append(replace(inspect_signature(function, "grouped", arguments), kind=""))
    names = [library_name] if library_name else candidates(function)
    name = settings.pop("name", None) or getattr(unwrapped(function), "__name__", "target")
    reasons = []
    for reading, lib in itertools.product(readings, names):
        for kind in _kinds(reading.kind, signature):
            for ids_as, mask_as in itertools.product(_id_forms(function, reading, lib), _mask_forms(reading)):
                target = AdvantageTarget(
                    function,
                    replace(reading, kind=kind),
                    _restricted(library(lib), dtypes),
                    name,
                    ids_as=ids_as,
                    mask_as=mask_as,
                    **settings,
                )
                try:
                    _probe(target)
                except (Raised, BadOutput) as error:
                    reasons.append(f"{kind} with {lib}: {error}")
                    continue
                target.calls.clear()
                return target if reading.kind else _tried(target)
    raise SignatureError(_nothing_worked(name, reasons))


def _kinds(kind: str, said: str | None) -> Sequence[str]:
    """The layouts to try: what the user said; else what was read first, since a docstring may mislead."""
    if said is not None or kind not in ("", "group", "grouped"):
        return [kind]
    return ("grouped", "group") if kind == "grouped" else ("group", "grouped")


def _nothing_worked(name: str, reasons: Sequence[str]) -> str:
    why = reasons[0] if reasons else "no library"
    return f"target: no way of calling {name} worked ({why}); mend it, or say --signature or --arguments"


def _restricted(lib: Library, dtypes: Sequence[str]) -> Library:
    """The library with no other dtypes than these."""
    if not dtypes:
        return lib
    known = {*lib.floats, *lib.halves}
    unknown = [d for d in dtypes if d not in known]
    if unknown:
        raise SignatureError(
            f"dtypes: '{unknown[0]}' is unknown; {lib.name} has {', '.join(sorted(known)) or 'none'}"
        )
    floats = tuple(d for d in lib.floats if d in dtypes)
    halves = tuple(d for d in lib.halves if d in dtypes)
    return replace(lib, wide=floats[0] if floats else lib.wide, floats=floats or (lib.wide,), halves=halves)


def _tried(target: AdvantageTarget) -> AdvantageTarget:
    """One argument and no word on its axes: both readings are tried. Where they agree, the batched one
    tests more."""
    sig = target.signature
    both = AdvantageTarget(
        target.function, Signature("grouped", sig.roles, sig.positional, sig.fixed), target.library,
        target.name,
        target.origin, target.domain, target.min_group, target.epsilon,
    )  # fmt: skip
    rows = [[0.0, 1.0, 0.0], [1.0, 1.0, 3.0]]
    try:
        together, alone = both(rows), target(rows)
    except (Raised, BadOutput):
        return target
    finally:
        target.calls.clear()
        both.calls.clear()
    # a loop over rows, read on one group, sees rollouts as groups of one: zeros wherever it looks
    if np.allclose(together, alone, equal_nan=True) or not np.any(alone):
        return both
    note = "read as f(rewards[G]); given [Q, G] it mixes the prompts: --signature grouped checks that reading"
    target.signature = Signature("group", sig.roles, sig.positional, sig.fixed, note)
    return target


def _id_forms(function: Callable[..., Any], found: Signature, lib: str) -> list[str]:
    if not (found.has("ids") or found.has("prompts")):
        return [""]
    annotations = getattr(unwrapped(function), "__annotations__", {})
    said = " ".join(str(annotations.get(n, "")) for n, r in found.roles.items() if r in ("ids", "prompts"))
    names = [n.lower() for n, r in found.roles.items() if r in ("ids", "prompts")]
    strings = "str" in said or any(n in ("uid", "uids", "index") for n in names)
    if "ndarray" in said or (strings and lib == "torch"):
        return ["object", "numpy", ""]
    return ["object", "numpy", ""] if "str" in said else ["", "numpy", "object"]


def _mask_forms(found: Signature) -> tuple[str, ...]:
    return ("float", "bool") if found.has("mask") else ("float",)


def _probe(target: AdvantageTarget) -> None:
    """Call it once on plain groups."""
    size = max(target.min_group, 4)
    target(
        [
            [1.0] + [0.0] * (size - 1),
            [0.0] + [1.0] * (size - 1),
            [1.0, 0.0] * (size // 2) + [1.0] * (size % 2),
        ]
    )


def loss_target(
    function: Callable[..., Any],
    *,
    library_name: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    **settings: Any,
) -> LossTarget:
    """The target for a loss. The shape of the advantages is found by seeing whose tokens one rollout's
    moves."""
    found = inspect_signature(function, "loss", arguments)
    name = settings.pop("name", None) or getattr(unwrapped(function), "__name__", "target")
    reasons, fallback = [], None
    for lib in [library_name] if library_name else [n for n in candidates(function) if n != "list"]:
        for mask_as, shape in itertools.product(_mask_forms(found), ("NT", "N", "N1")):
            target = LossTarget(
                function, found, library(lib), name, advantage_shape=shape, mask_as=mask_as, **settings
            )
            try:
                moved = _moved_rows(target)
            except (Raised, TypeError, ValueError) as error:
                reasons.append(f"{lib}: {error}")
                continue
            finally:
                target.calls.clear()
            if moved == {1}:
                return target
            fallback = fallback or target
    if fallback:
        return fallback
    raise SignatureError(_nothing_worked(name, reasons))


def _moved_rows(target: LossTarget) -> set[int]:
    logp = -1.0 - np.arange(20.0).reshape(4, 5) / 40
    still = LossBatch(logp, logp, np.zeros(4), np.ones((4, 5), bool))
    one = LossBatch(logp, logp, np.array([0.0, 1.0, 0.0, 0.0]), np.ones((4, 5), bool))
    change = target.weights(one)[1] - target.weights(still)[1]
    return {int(row) for row in np.flatnonzero(np.abs(change).max(axis=1) > 1e-9)}


def _mask_dtype(lib: Library, form: str) -> str:
    return "bool" if form == "bool" else lib.wide


def _int_dtype(lib: Library) -> str:
    return "int32" if lib.name == "jax" else "int64"


def _one_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]
