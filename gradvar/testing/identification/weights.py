"""A loss on probe batches, and how it weighs tokens on policy: sign, aggregation, factor, whitened advantages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradvar.testing.identification.epsilon import nice
from gradvar.testing.losses import LossBatch, LossTarget
from gradvar.testing.oracle import Oracle, RolloutRows, named
from gradvar.testing.oracle.averages import coefficients
from gradvar.testing.oracle.batchwise import divisor_of, whitened

AGGREGATED = ("token-mean", "sequence-mean", "sequence-sum", "token-sum", "prompt-mean", "constant-length")
MASKS = (
    np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 1, 1, 0, 1], [1, 1, 0, 0, 0]], bool),
    np.array([[1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 0]], bool),
)
GROUPS = (2, 3)
ADVANTAGES = (np.array([1.0, -0.5, 2.0, 0.5]), np.array([1.0, 0.5, -2.0, 0.5, 1.5, -1.0]))


@dataclass(frozen=True)
class Unit:
    """How tokens weigh on policy: settings of the oracle (aggregation, length, whiten, scale), and remarks."""

    settings: Mapping[str, Any]
    remarks: tuple[str, ...] = ()

    def coefficients(self, batch: LossBatch) -> np.ndarray:
        """The coefficient of every token, [N, T], with the factor of the advantages."""
        rows = RolloutRows(batch.mask, ids=np.arange(len(batch.mask)) // batch.group)
        kind, length = self.settings["aggregation"], self.settings.get("length")
        count = batch.token_count
        share = coefficients(kind, batch.mask, rows.groups, length=length, token_count=count)
        return self.settings.get("scale", 1.0) * share

    def advantages(self, batch: LossBatch) -> np.ndarray:
        """The advantages as the loss uses them, [N, T]."""
        return used(batch, self.settings.get("whiten", "none"))


def used(batch: LossBatch, whiten: str) -> np.ndarray:
    """The batch's advantages, standardised as the oracle's setting says, [N, T]."""
    a = np.repeat(batch.advantages[:, None], batch.mask.shape[1], axis=1)
    over, _, sample = whiten.partition("-")
    if over == "none":
        return a
    counted = np.ones(a[:, :1].shape, bool) if over == "rows" else batch.mask
    out = whitened(
        a[:, :1] if over == "rows" else a, counted, divisor_of(int(bool(sample)), 1e-8, "variance")
    )
    return np.broadcast_to(out, batch.mask.shape)


class LossProbe:
    """A loss, called on a few batches of two shapes; its sign is turned round where it is that of an objective."""

    def __init__(self, target: LossTarget) -> None:
        self.target = target
        self.why = ""
        self.masks = MASKS if target.takes("mask") else tuple(np.ones_like(m) for m in MASKS)

    def batch(self, which: int = 0, mask: np.ndarray | None = None) -> LossBatch:
        """One of two batches, on policy and at the reference."""
        mask = self.masks[which] if mask is None else mask
        old = -0.4 - 0.15 * (np.arange(mask.size).reshape(mask.shape) % 7)
        return LossBatch(old, old, ADVANTAGES[which], mask, GROUPS[which], old)

    def __call__(self, batch: LossBatch) -> tuple[float, np.ndarray]:
        """The objective's value and token weights."""
        return self.target.weights(batch)

    def policy(self, batch: LossBatch) -> np.ndarray:
        """The weights that the advantages cause: less those at advantages of zero."""
        still = self(replace(batch, advantages=np.zeros(len(batch.mask))))[1]
        return self(batch)[1] - still

    def at(self, shift: float) -> tuple[float, np.ndarray]:
        """Value and weights where every other token has moved by ``shift`` against the old policy."""
        batch = self.batch()
        move = shift * np.where(np.arange(batch.mask.size).reshape(batch.mask.shape) % 2, 1.0, -0.5)
        return self(replace(batch, old_logp=batch.old_logp - move))

    def unit(self) -> Unit | None:
        """How tokens weigh on policy, or None with the reason in ``why``."""
        weights = [self.policy(self.batch(i)) for i in (0, 1)]
        if not all(np.isfinite(w).all() for w in weights):
            self.why = "weights are NaN or infinite on policy"
            return None
        if not any(np.abs(w).max() > 1e-12 for w in weights):
            self.why = "no advantage has a gradient on policy"
            return None
        doubled = self.policy(replace(self.batch(), advantages=2 * ADVANTAGES[0] + 1))
        inside = np.allclose(doubled, weights[0], rtol=1e-4, atol=1e-9)
        whitenings = ("tokens", "tokens-sample", "rows", "rows-sample") if inside else ("none",)
        units = [self._fitted(weights, kind, w) for kind in AGGREGATED for w in whitenings]
        units.sort(key=lambda u: (round(u[0], 6), u[1]))
        residual, _, settings = units[0]
        if residual > 1e-3:
            self.why = self._unfitted(weights)
            return None
        remarks = []
        if settings["scale"] < 0:
            settings["scale"] = -settings["scale"]
            remarks.append("its sign (an objective to be maximised: a minimiser unlearns)")
            self.target = replace(self.target, sign=-self.target.sign, compiled={})
        if settings["aggregation"] == "token-mean" and self._counted(weights[0]):
            settings["aggregation"] = "token-count"
        if settings["aggregation"] == "sequence-sum" and abs(settings["scale"] - 1) > 1e-6:
            settings |= {
                "aggregation": "constant-length",
                "length": nice(1 / settings["scale"]),
                "scale": 1.0,
            }
        if abs(settings["scale"] - 1) < 1e-5:
            del settings["scale"]
        return Unit(settings, tuple(remarks))

    def _counted(self, weights: np.ndarray) -> bool:
        """Return True if the loss divides by the count of tokens that it is given."""
        if not self.target.takes("token_count"):
            return False
        batch = self.batch()
        halved = self.policy(replace(batch, token_count=2.0 * float(batch.mask.sum())))
        return bool(np.allclose(2 * halved, weights, rtol=1e-4, atol=1e-12))

    def _fitted(
        self, weights: list[np.ndarray], kind: str, whiten: str
    ) -> tuple[float, float, dict[str, Any]]:
        """Residual, distance of the factor from one, and settings of an aggregation by least squares."""
        forms = []
        for which in (0, 1):
            batch = self.batch(which)
            unit = Unit({"aggregation": kind, "whiten": whiten})
            forms.append(unit.coefficients(batch) * unit.advantages(batch))
        form, seen = (np.concatenate([x.ravel() for x in arrays]) for arrays in (forms, weights))
        scale = float(form @ seen) / float(form @ form)
        residual = float(np.linalg.norm(seen - scale * form) / np.linalg.norm(seen))
        settings = {"aggregation": kind, "scale": nice(scale)}
        if whiten != "none":
            settings["whiten"] = whiten
        return residual, abs(np.log(abs(scale) or 1e-300)), settings

    def _unfitted(self, weights: list[np.ndarray]) -> str:
        batch = self.batch()
        for step in (-1, 1):
            shifted = replace(batch, mask=_shifted(batch.mask, step))
            for kind in AGGREGATED:
                form = Unit({"aggregation": kind}).coefficients(shifted) * batch.advantages[:, None]
                scale = float(np.sum(form * weights[0])) / float(np.sum(form**2))
                if np.linalg.norm(weights[0] - scale * form) < 1e-3 * np.linalg.norm(weights[0]):
                    side = "left" if step < 0 else "right"
                    return f"the mask is shifted by one to the {side} ({kind} otherwise)"
        shown = np.round(weights[0] / batch.advantages[:, None], 4).tolist()
        return f"no aggregation fits the token weights on policy, {shown} for advantages of one"

    def residual(self, name: str, settings: Mapping[str, Any]) -> float:
        """The share of the weights off policy that an estimator does not explain; over several batches."""
        oracle = named(name, **settings)
        seen, form = zip(*((self(b)[1], oracle.loss(b)[1]) for b in self.moved()), strict=True)
        ratios = [
            np.linalg.norm(s - f) / max(float(np.linalg.norm(s)), 1e-12)
            for s, f in zip(seen, form, strict=True)
        ]
        return float(max(ratios))

    def moved(self) -> list[LossBatch]:
        """Batches off policy: small moves and large ones, away from the reference."""
        draw = np.random.default_rng(16)
        batches = []
        for size in (1e-4, 0.05, 0.3, 1.0):
            for which in (0, 1):
                batch = self.batch(which)
                move = draw.normal(size=batch.mask.shape) * size
                ref = batch.old_logp + move - draw.normal(size=move.shape) * 0.5
                batches.append(replace(batch, logp=batch.old_logp + move, ref_logp=ref))
        return batches

    def empty_row(self, oracle: Oracle | None = None) -> tuple[float, np.ndarray]:
        """Value and weights, of the loss or an oracle, where the second rollout has no token."""
        batch = self.batch()
        mask = batch.mask.copy()
        mask[1] = False
        batch = replace(batch, mask=mask)
        return self(batch) if oracle is None else oracle.loss(batch)


def _shifted(mask: np.ndarray, step: int) -> np.ndarray:
    """The mask moved by one column, the free one false."""
    out = np.zeros_like(mask)
    if step < 0:
        out[:, :-1] = mask[:, 1:]
    else:
        out[:, 1:] = mask[:, :-1]
    return out
