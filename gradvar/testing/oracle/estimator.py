"""The oracle: a named estimator as NumPy formulas, for advantages and for losses.

oracle = named("grpo", ddof=1)
oracle.advantages(rewards, ids, mask)     # [N]
oracle.loss(batch)                        # the objective's value, and its token weights [N, T]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradvar.testing.losses import LossBatch
from gradvar.testing.oracle.advantages import centred, spread
from gradvar.testing.oracle.averages import coefficients, kl_tokens
from gradvar.testing.oracle.batchwise import divisor_of, whitened
from gradvar.testing.oracle.named import ADVANTAGES, FORMS, PAIRWISE, SURROGATES, Recipe, chosen, settings_of
from gradvar.testing.oracle.rollouts import RolloutRows
from gradvar.testing.oracle.surrogates import TokenPoint

NEEDS = {
    "given": "baseline", "tracked": "baseline", "greedy": "greedy_rewards", "gae": "values",
    "decoupled": "reward_parts",
}  # fmt: skip
"""What an advantage reads besides rewards, groups and lengths."""


@dataclass(frozen=True)
class Oracle:
    """An estimator's definition, computed in float64.

    ``settings`` are all of its settings; ``given`` those that were asked for.
    """

    name: str
    form: Recipe
    settings: Mapping[str, Any]
    given: Mapping[str, Any]

    @property
    def needs(self) -> str:
        """The array that its advantages need besides the rewards of the groups, or ""."""
        return NEEDS.get(self.form.advantage, "")

    @property
    def refusal(self) -> str:
        """Why a bare function of rewards cannot be compared with its advantages, or ""."""
        if self.form.pairs:
            return f"{self.name}: it is a loss on pairs or lists of rollouts and has no advantages"
        if self.needs:
            return f"{self.name}: its advantages need {self.needs}, which a function of rewards is not given"
        if self.settings.get("beta") and self.form.advantage == "batch" and not self.form.kl:
            return f"{self.name}: with beta its advantages need log-probabilities; leave beta out"
        return ""

    def advantages(self, rewards: Any, ids: Any = None, mask: Any = None, **arrays: Any) -> np.ndarray:
        """The advantages, [N], or [N, T] where the estimator has one for each token.

        Args:
            rewards: Of every rollout, [N].
            ids: The group of every rollout, [N]; None: one group.
            mask: True for the tokens that count, [N, T]; None: one token each.
            arrays: Further arrays of ``RolloutRows``: values, baseline, greedy_rewards, reward_parts.
        """
        rewards = np.asarray(rewards, float)
        mask = np.ones((len(rewards), 1), bool) if mask is None else np.asarray(mask).astype(bool)
        return self.advantages_of(RolloutRows(mask, rewards, ids, **arrays))

    def advantages_of(self, batch: RolloutRows) -> np.ndarray:
        """The advantages of a batch, [N] or [N, T]."""
        if self.form.pairs:
            raise ValueError(self.refusal)
        if self.settings["rejected"] == "skip" and batch.empty.any() and not batch.empty.all():
            keep = ~batch.empty
            part = self.advantages_of(batch.rows(keep))
            out = np.zeros((len(keep), *part.shape[1:]))
            out[keep] = part
            return out
        rewards = batch.rewards if batch.rewards is not None else np.zeros(len(batch.mask))
        groups = batch.groups
        if self.settings["rejected"] == "vote-zero":
            rewards = np.where(batch.empty, 0.0, rewards)
            batch = batch.rewarded(rewards)
        # a group with a NaN or an infinity gets zeros and counts as zeros
        unsound = groups.total((~np.isfinite(rewards)).astype(float)) > 0
        clean = batch.rewarded(np.where(unsound, 0.0, rewards)) if unsound.any() else batch
        out = self._call(ADVANTAGES[self.form.advantage], clean)
        by_row = (-1, *(1,) * (out.ndim - 1))
        if self.settings["guard"]:
            std = np.sqrt(spread(clean, centred(clean), self.settings.get("ddof", 0)))
            unsound |= std <= self.settings["guard"]
        if self.settings["single"] == "raw":
            out = np.where((groups.size == 1).reshape(by_row), rewards.reshape(by_row), out)
        return np.where(unsound.reshape(by_row), 0.0, self.settings["scale"] * out)

    def loss(self, batch: LossBatch) -> tuple[float, np.ndarray]:
        """The objective's value and token weights [N, T] on a loss batch, whose advantages are taken as they are.

        For an objective on pairs the batch's advantages are the rewards.
        """
        rows = np.arange(len(batch.mask)) // max(batch.group, 1)
        advantages = np.asarray(batch.advantages, float)
        return self.objective(
            RolloutRows(
                np.asarray(batch.mask, bool),
                rewards=advantages if self.form.pairs else None,
                ids=rows,
                logp=batch.logp,
                old_logp=batch.old_logp,
                ref_logp=batch.ref_logp,
                advantages=None if self.form.pairs else advantages,
                token_count=batch.token_count,
            )
        )

    def objective(self, batch: RolloutRows) -> tuple[float, np.ndarray]:
        """The objective's value and its derivative with respect to the log-probabilities, [N, T]."""
        if self.form.pairs:
            settings = {k: self.settings[k] for k in settings_of(PAIRWISE[self.form.pairs])}
            return PAIRWISE[self.form.pairs](batch, **settings)
        kept = batch.mask
        if batch.advantages is None:
            a = self.advantages_of(batch)
            if self.settings.get("dynamic_sampling"):
                rewards, groups = batch.array("rewards"), batch.groups
                kept = kept & (groups.largest(rewards) > groups.smallest(rewards))[:, None]
        else:
            a = self._given_advantages(batch)
        a = np.where(batch.mask, a[:, None] if a.ndim == 1 else a, 0.0)
        logp, old = batch.array("logp"), batch.array("logp" if batch.old_logp is None else "old_logp")
        surrogate = SURROGATES[self.form.surrogate]
        settings = {k: self.settings[k] for k in settings_of(surrogate)}
        weight = self._coefficients("aggregation", batch, kept)
        # a sequence's ratio is that of all its tokens, also where a selection drops the rollout
        tokens = surrogate(TokenPoint(logp, old, a, batch.mask), **settings)
        value, weights = float(np.sum(np.where(kept, weight * tokens.values, 0.0))), tokens.pull(weight)
        if self.settings["kl"] and self.settings["beta"]:
            estimate, slope = kl_tokens(self.settings["kl"], logp, old, batch.array("ref_logp"))
            if self.settings["kl_aggregation"]:
                weight = self._coefficients("kl_aggregation", batch, kept)
            value -= self.settings["beta"] * float(np.sum(np.where(kept, weight * estimate, 0.0)))
            weights = weights - self.settings["beta"] * weight * slope
        return value, np.where(batch.mask, weights, 0.0)

    def with_settings(self, **settings: Any) -> Oracle:
        """The same estimator with some settings changed."""
        return named(self.name, **{**self.given, **settings})

    def renamed(self, name: str) -> Oracle:
        """The same formulas under another name, for a message."""
        return replace(self, name=name)

    def __str__(self) -> str:
        inside = ", ".join(f"{k}={v}" for k, v in self.given.items())
        return f"{self.name}({inside})" if inside else self.name

    def _coefficients(self, setting: str, batch: RolloutRows, kept: np.ndarray) -> np.ndarray:
        more = {"empty": self.settings["empty"], "length": self.settings["length"]}
        kind = self.settings[setting]
        return coefficients(kind, kept, batch.groups, token_count=batch.token_count, **more)

    def _given_advantages(self, batch: RolloutRows) -> np.ndarray:
        """The batch's advantages, standardised where the loss does so, times the scale; [N, T]."""
        a = np.asarray(batch.advantages, float)
        a = np.broadcast_to(a[:, None] if a.ndim == 1 else a, batch.mask.shape)
        over, _, sample = self.settings["whiten"].partition("-")
        if over != "none":
            rows = over == "rows"
            counted = np.ones((len(a), 1), bool) if rows else batch.mask
            a = whitened(a[:, :1] if rows else a, counted, divisor_of(int(bool(sample)), 1e-8, "variance"))
            a = np.broadcast_to(a, batch.mask.shape)
        return self.settings["scale"] * a

    def _call(self, formula: Any, batch: RolloutRows) -> np.ndarray:
        return formula(batch, **{k: self.settings[k] for k in settings_of(formula)})


def named(name: str, **settings: Any) -> Oracle:
    """The oracle of a named estimator; settings are the catalogue's and those of ``named.SHARED``.

    Raises ``ValueError`` on an unknown name, setting or value.

    >>> named("grpo", eps=0.0).advantages([1.0, 0.0, 1.0], [0, 0, 1]).tolist()
    [1.0, -1.0, 0.0]
    """
    form, values = chosen(name, settings)
    return Oracle(name, form, values, dict(settings))


def names() -> tuple[str, ...]:
    """The names that ``named`` knows, those of the catalogue first."""
    return tuple(FORMS)
