"""Policy-gradient losses under test: their value and token weights, in every form in which trainers write them.

A loss may take log-probabilities, what trainers make of them (their difference, its exponential, minus it), or
logits and labels; rows of tokens, or all tokens in one row. It may return one number, several, or a loss for each
token that its caller sums. The derivative is with respect to the log-probabilities in all cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library
from gradvar.testing.backends import value_and_weights
from gradvar.testing.caller import Caller
from gradvar.testing.calls import Raised
from gradvar.testing.signatures import Signature

_ROW_ARRAYS = (
    "logp", "old_logp", "advantages", "mask", "ref_logp", "sampler_logp", "second_mask", "entropy"
)  # fmt: skip


@dataclass(frozen=True)
class LossBatch:
    """The rows of a loss: arrays [N, T] in float64 and ``advantages`` [N], in runs of ``group`` rows.

    Where the loss takes an advantage for each token (``advantage_shape`` "NT"), they may be [N, T].

    ``mask`` says which tokens the policy wrote. ``second_mask`` says it where the loss takes that apart from
    padding; default: the mask, whose holes are then no part of the first one. ``token_count`` is the number of
    tokens of the batch that this one is a part of, default: its own. ``sampler_logp`` are the log-probabilities
    of the engine that sampled, default: the old ones.
    """

    logp: np.ndarray
    old_logp: np.ndarray
    advantages: np.ndarray
    mask: np.ndarray
    group: int = 2
    ref_logp: np.ndarray | None = None
    sampler_logp: np.ndarray | None = None
    second_mask: np.ndarray | None = None
    token_count: float | None = None
    entropy: np.ndarray | None = None

    def rows(self, index: Any) -> LossBatch:
        """The batch of the chosen rows."""
        chosen = {name: getattr(self, name) for name in _ROW_ARRAYS}
        return replace(self, **{name: a[index] for name, a in chosen.items() if a is not None})

    def key(self) -> tuple[Any, ...]:
        """What the batch holds, as a key."""
        arrays = (getattr(self, name) for name in _ROW_ARRAYS)
        return (
            self.group,
            self.token_count,
            *(None if a is None else (a.shape, a.dtype.char, a.tobytes()) for a in arrays),
        )

    def values(self) -> dict[str, Any]:
        """The values by role; ``advantages`` stay as they are."""
        rows, steps = self.mask.shape
        old = self.old_logp
        second = self.mask if self.second_mask is None else self.second_mask
        count = (self.mask & second).sum() if self.token_count is None else self.token_count
        return {
            "logp": self.logp,
            "old_logp": old,
            "ref_logp": old if self.ref_logp is None else self.ref_logp,
            "sampler_logp": old if self.sampler_logp is None else self.sampler_logp,
            "advantages": self.advantages,
            "mask": self.mask,
            "second_mask": second,
            "token_count": max(float(count), 1.0),
            "entropy": np.full((rows, steps), 0.5) if self.entropy is None else self.entropy,
            "labels": np.arange(rows * steps).reshape(rows, steps) % 2,
            "lengths": self.mask.sum(-1),
            "positions": np.tile(np.arange(steps), (rows, 1)),
            "sequence_ids": np.repeat(np.arange(rows)[:, None], steps, axis=1),
            "sequence_ends": np.arange(rows + 1) * steps,
            "ids": np.arange(rows) // self.group,
            "row_count": rows,
        }


@dataclass
class LossTarget:
    """A policy-gradient loss.

    ``sign`` is +1 for a loss to be minimised, -1 for an objective to be maximised; weights are always those of
    the objective. ``advantage_shape`` names the shape of the advantages: "NT" [N, T], "N" [N] or "N1" [N, 1].
    ``packed`` losses take all tokens in one row. ``output`` names the output that is the loss; ``flaw`` says why no
    law can be tried.
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
    packed: bool = False
    output: str = ""
    flaw: str = ""
    shapes: Mapping[str, str] = field(default_factory=dict)
    per_token: bool = False
    answers: dict[tuple[Any, ...], tuple[float, np.ndarray]] | None = field(default=None, init=False)

    @property
    def kind(self) -> str:
        """The layout of the arguments: always "loss"."""
        return "loss"

    def takes(self, role: str) -> bool:
        """Return True if the function takes the array: mask, old_logp, ref_logp.

        A ratio or a difference of log-probabilities stands for the new and the old ones.
        """
        joint = any(self.signature.takes(r) for r in ("ratio", "log_ratio", "ppo_kl"))
        return self.signature.takes(role) or (joint and role in ("logp", "old_logp"))

    @property
    def caller(self) -> Caller:
        """The caller of the function, which notes its calls here."""
        return Caller(
            self.function, self.signature, self.library, self.name, self.origin, "", self.mask_as, self.calls,
            self.shapes,
        )  # fmt: skip

    def remember(self) -> None:
        """Keep the answers from here on: the function is known to give the same one twice."""
        self.answers = {}

    def weights(self, batch: LossBatch, dtype: str | None = None) -> tuple[float, np.ndarray]:
        """Return the objective's value and token weights [N, T]; raise ``Raised`` for the function's errors."""
        dtype = dtype or self.library.wide
        if self.answers is None:
            return self._weights(batch, dtype)
        key = (dtype, *batch.key())
        if key not in self.answers:
            self.answers[key] = self._weights(batch, dtype)
        value, weights = self.answers[key]
        return value, weights.copy()

    def _weights(self, batch: LossBatch, dtype: str) -> tuple[float, np.ndarray]:
        values = batch.values()
        if batch.second_mask is None and self.takes("second_mask") and self.takes("mask"):
            values["mask"] = between_ends(batch.mask)  # its holes are the second mask's to say
        logp = values.pop("logp")
        if self.signature.takes("logits"):
            logp = self._below_zero(logp, values)
        if batch.advantages.ndim == 2 and self.advantage_shape != "NT":
            raise ValueError(
                "advantages: one for each token, and the loss takes one for each rollout; give [N]"
            )
        if batch.advantages.ndim == 2:
            pass
        elif self.advantage_shape == "NT":
            values["advantages"] = np.repeat(batch.advantages[:, None], batch.mask.shape[1], axis=1)
        elif self.advantage_shape == "N1":
            values["advantages"] = batch.advantages[:, None]
        if self.packed:
            values = {role: np.ravel(v) if np.ndim(v) == 2 else v for role, v in values.items()}
        caller = self.caller
        native, _ = caller.converted(values, dtype)

        def call(point: Any, rest: Mapping[str, Any]) -> Any:
            point = point.reshape(-1) if self.packed else point
            outputs = caller.invoke({**rest, "logp": point, **self._views(point, rest)})
            return self._reduced(outputs, rest)

        try:
            value, weights = value_and_weights(call, logp, native, self.library, dtype, self.compiled)
        except (Raised, TypeError):
            raise
        except Exception as error:  # the framework's backward pass
            raise Raised(error) from error
        return -self.sign * value, -self.sign * weights

    def _below_zero(self, logp: np.ndarray, values: dict[str, Any]) -> np.ndarray:
        """Log-probabilities below zero, as logits have them; all are moved alike, which leaves ratios alone.

        A model's logits are finite, on padding too.
        """
        logp = np.where(np.isfinite(logp), logp, -1.0)
        shift = max(float(np.max(logp)) + 0.5, 0.0)
        for role in ("old_logp", "ref_logp", "sampler_logp"):
            values[role] = values[role] - shift
        return logp - shift

    def _views(self, logp: Any, rest: Mapping[str, Any]) -> dict[str, Any]:
        """The roles that are made of the log-probabilities, so that derivatives pass through them."""
        views: dict[str, Any] = {}
        takes, xp = self.signature.takes, self.library
        if takes("ppo_kl"):
            views["ppo_kl"] = rest["old_logp"] - logp
        if takes("log_ratio"):
            views["log_ratio"] = logp - rest["old_logp"]
        if takes("ratio"):
            views["ratio"] = xp.module.exp(logp - rest["old_logp"])
        if takes("logits"):
            # two words, whose logits are already log-probabilities: log_softmax leaves them as they are
            other = xp.module.log1p(-xp.module.exp(logp))
            first = rest["labels"] == 0
            pair = [xp.module.where(first, logp, other), xp.module.where(first, other, logp)]
            views["logits"] = xp.module.stack(pair, -1)  # [rollout, time, word]
        return views

    def _reduced(self, outputs: Mapping[str, Any], rest: Mapping[str, Any]) -> Any:
        """The loss as one number: a loss for each token is summed over the real tokens, as its caller would."""
        name = self.output or next((n for n in outputs if "loss" in n.lower()), next(iter(outputs)))
        if name not in outputs:
            raise TypeError(f"the loss returns {', '.join(outputs)}, no '{name}'")
        value = outputs[name]
        if np.ndim(value) == 0:
            return value
        tokens = tuple(np.shape(rest["mask"]))
        if tuple(np.shape(value)) == tokens:
            self.per_token = True
            return (value * self.library.cast(rest["mask"], value)).sum()
        raise TypeError(
            f"the loss has shape {tuple(np.shape(value))}; return a scalar, or one number for each token"
        )


def between_ends(mask: np.ndarray) -> np.ndarray:
    """The mask [N, T] without its holes: everything between a row's first and last real token."""
    begun = np.cumsum(mask, axis=1) > 0
    to_come = np.cumsum(mask[:, ::-1], axis=1)[:, ::-1] > 0
    return begun & to_come
