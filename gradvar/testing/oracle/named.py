"""The named estimators as formulas: which parts each is made of, and the settings that it has.

A form names an advantage, a surrogate, an aggregation and a KL term; its settings are those of the catalogue, with
the same defaults, and those that every form shares (``SHARED``), in which trainers differ.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gradvar.testing.oracle import advantages, batchwise, pairwise, surrogates
from gradvar.testing.oracle.averages import AGGREGATIONS, known_kl

ADVANTAGES: dict[str, Callable[..., Any]] = {
    "raw": advantages.raw,
    "given": advantages.given_baseline,
    "greedy": advantages.greedy,
    "centred": advantages.centred,
    "leave-one-out": advantages.leave_one_out,
    "standardised": advantages.standardised,
    "leave-one-out-over-std": advantages.leave_one_out_over_std,
    "leave-one-out-both": advantages.leave_one_out_both,
    "length-weighted": advantages.length_weighted,
    "over-mean": advantages.over_mean,
    "softmax": advantages.softmax,
    "rescaled": advantages.rescaled,
    "best-less-second": advantages.best_less_second,
    "kalman": advantages.kalman,
    "batch": batchwise.batch_standardised,
    "batch-group-centred": batchwise.group_centred_batch_standardised,
    "shrunk": batchwise.shrunk,
    "beta": batchwise.beta_normalised,
    "pass-at-k": batchwise.pass_at_k,
    "pass-at-k-standardised": batchwise.pass_at_k_standardised,
    "tracked": batchwise.tracked,
    "decoupled": batchwise.decoupled,
    "gae": batchwise.gae,
}
SURROGATES: dict[str, Callable[..., surrogates.TokenValues]] = {
    "likelihood": surrogates.likelihood,
    "importance": surrogates.importance,
    "ppo": surrogates.ppo_clip,
    "sequence": surrogates.sequence_clip,
    "sequence-token": surrogates.sequence_clip_by_token,
    "geometric": surrogates.geometric_clip,
    "weight": surrogates.clipped_weight,
    "gate": surrogates.soft_gate,
}
PAIRWISE: dict[str, Callable[..., pairwise.Weighted]] = {
    "dpo": pairwise.dpo,
    "ipo": pairwise.ipo,
    "grpo_pair": pairwise.grpo_pair,
    "grpo_contrastive": pairwise.grpo_contrastive,
    "lpo_forward": pairwise.lpo_forward,
    "lpo_reverse": pairwise.lpo_reverse,
}
SHARED: Mapping[str, Any] = {
    "single": "zero",  # a group of one: zero, or raw (its reward)
    "rejected": "vote",  # rows with an empty mask: vote in their group's statistics, vote-zero (with zero), or skip
    "guard": 0.0,  # groups with a standard deviation up to this get zero
    "scale": 1.0,  # a factor of the advantages
    "whiten": "none",  # given advantages, standardised over tokens or rows inside the loss; -sample: by n - 1
    "empty": "count",  # rows with an empty mask in a mean over rows: count or drop
    "aggregation": "",
    "kl": "",
    "kl_aggregation": "",
    "length": None,
}
"""Settings of every estimator on tokens, by their usual values; "" for the estimator's choice."""

CHOICES: Mapping[str, tuple[Any, ...]] = {
    "single": ("zero", "raw"),
    "rejected": ("vote", "vote-zero", "skip"),
    "empty": ("count", "drop"),
    "aggregation": AGGREGATIONS,
    "kl_aggregation": ("", *AGGREGATIONS),
    "whiten": ("none", "tokens", "tokens-sample", "rows", "rows-sample"),
    "eps_at": advantages.EPS_AT,
    "over": ("rollouts", "tokens"),
    "f_norm": ("none", "std"),
    "ddof": (0, 1),
}


@dataclass(frozen=True)
class Recipe:
    """The parts of an estimator, and its settings where they differ from those of the parts."""

    advantage: str = ""
    surrogate: str = ""
    aggregation: str = "sequence-mean"
    kl: str = ""
    mixed_only: bool = False
    pairs: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def parts(self) -> list[Callable[..., Any]]:
        """The functions whose settings the estimator has."""
        if self.pairs:
            return [PAIRWISE[self.pairs]]
        return [ADVANTAGES[self.advantage], SURROGATES[self.surrogate]]

    def defaults(self) -> dict[str, Any]:
        """Every setting with its default."""
        values = {n: p.default for part in self.parts() for n, p in settings_of(part).items()}
        if not self.pairs:
            values |= {
                "beta": values.get("beta", 0.0),
                **SHARED,
                "aggregation": self.aggregation,
                "kl": self.kl,
            }
        return values | dict(self.settings)


def _forms() -> dict[str, Recipe]:
    likelihood: dict[str, Any] = {"surrogate": "likelihood", "aggregation": "sequence-sum"}
    clip: dict[str, Any] = {"surrogate": "ppo", "settings": {"clip_low": 0.2, "clip_high": 0.2}}
    grpo = Recipe("standardised", "ppo", kl="k3")
    return {
        "reinforce": Recipe("raw", **likelihood),
        "reinforce_best_constant": Recipe("given", **likelihood),
        "remax": Recipe("greedy", **likelihood),
        "rloo": Recipe("leave-one-out", **likelihood),
        "dr_grpo": Recipe("centred", "ppo", "sequence-sum", kl="k3"),
        "grpo": grpo,
        "grpo_sample_std": Recipe("standardised", "ppo", kl="k3", settings={"ddof": 1}),
        "grpo_pair": Recipe(pairs="grpo_pair"),
        "grpo_contrastive": Recipe(pairs="grpo_contrastive"),
        "reinforce_pp": Recipe("batch", **clip),
        "reinforce_pp_baseline": Recipe("batch-group-centred", "ppo", kl="k2"),
        "opo": Recipe("length-weighted", **likelihood),
        "opo_leave_one_out": Recipe("length-weighted", **likelihood, settings={"include_self": False}),
        "ppo": Recipe("gae", "ppo", "token-mean"),
        "ppo_dual_clip": Recipe("gae", "ppo", "token-mean", settings={"dual": 3.0}),
        "dapo": Recipe(
            "standardised", "ppo", "token-mean", settings={"clip_high": 0.28, "dynamic_sampling": True}
        ),
        "gspo": Recipe("standardised", "sequence"),
        "gspo_token": Recipe("standardised", "sequence-token"),
        "cispo": Recipe("standardised", "weight", "token-mean"),
        "gmpo": Recipe("standardised", "geometric"),
        "sapo": Recipe("standardised", "gate"),
        "gpg": Recipe("rescaled", "likelihood", "token-mean"),
        "maxrl": Recipe("over-mean", **likelihood),
        "softmax": Recipe("softmax", **likelihood),
        "pass_at_k": Recipe("pass-at-k", **likelihood),
        "pass_at_k_standardised": Recipe("pass-at-k-standardised", **clip),
        "bnpo": Recipe("beta", **clip),
        "krpo": Recipe("kalman", **clip),
        "ebpo": Recipe("shrunk", **clip),
        "spo": Recipe("tracked", "ppo", "token-mean"),
        "gdpo": Recipe("decoupled", **clip),
        "dpo": Recipe(pairs="dpo"),
        "ipo": Recipe(pairs="ipo"),
        "lpo_forward": Recipe(pairs="lpo_forward"),
        "lpo_reverse": Recipe(pairs="lpo_reverse"),
        # what trainers have besides the catalogue
        "rloo_over_std": Recipe("leave-one-out-over-std", **clip),
        "rloo_both": Recipe("leave-one-out-both", **clip),
        "best_less_second": Recipe("best-less-second", **likelihood),
        "importance": Recipe("centred", "importance", "token-mean"),
    }


FORMS: Mapping[str, Recipe] = _forms()


def settings_of(part: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The settings of a formula: its keyword-only parameters."""
    return {
        n: p
        for n, p in inspect.signature(part).parameters.items()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }


def chosen(name: str, settings: Mapping[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """The form of that name and all of its settings. Raises ``ValueError`` on an unknown name, setting or value."""
    if name not in FORMS:
        name = name.lower().replace("-", "_")
    if name not in FORMS:
        raise ValueError(f"estimator: no '{name}'; {_nearest(name, FORMS)}")
    form = FORMS[name]
    defaults = form.defaults()
    for setting, value in settings.items():
        if setting not in defaults:
            raise ValueError(f"{setting}: '{name}' has no such setting; {_nearest(setting, defaults)}")
        allowed = CHOICES.get(setting)
        if allowed and value not in allowed and not (setting == "eps_at" and value == ""):
            raise ValueError(f"{setting}: {value!r}; give {' or '.join(str(a) for a in allowed if a != '')}")
        if setting == "kl" and value and not known_kl(value):
            raise ValueError(
                f"kl: {value!r}; give k1, k2, k3, abs or mse, weighted-k3, scaled-k3 or k1-through-k2"
            )
        if isinstance(defaults[setting], bool) and not isinstance(value, bool):
            raise ValueError(f"{setting}: {value!r}; give true or false")
        if isinstance(defaults[setting], float) and not isinstance(value, int | float | str):
            raise ValueError(f"{setting}: {value!r}; give a number")
    values = {**defaults, **settings}
    if values.get("kl") == "" and values["beta"] and form.advantage != "batch":
        values["kl"] = "k3"  # GRPO's, where a coefficient is given to an estimator without a KL term
    return form, {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"it knows {', '.join(known)}"
