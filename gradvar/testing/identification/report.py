"""The outcome of an identification: a name, settings, and a sentence that a person can read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gradvar.testing.matching.advantage import OVER_THE_BATCH
from gradvar.testing.oracle import Oracle, named

TITLES: Mapping[str, str] = {
    "reinforce": "the plain reward (REINFORCE)",
    "rloo": "RLOO",
    "dr_grpo": "Dr. GRPO",
    "grpo": "GRPO",
    "reinforce_pp": "REINFORCE++",
    "reinforce_pp_baseline": "REINFORCE++-baseline",
    "opo": "OPO",
    "opo_leave_one_out": "OPO without the own rollout",
    "ppo": "PPO",
    "ppo_dual_clip": "PPO with the dual clip",
    "dapo": "DAPO",
    "gspo": "GSPO",
    "cispo": "CISPO",
    "gmpo": "GMPO",
    "sapo": "SAPO",
    "gpg": "GPG",
    "maxrl": "MaxRL",
    "softmax": "SoftmaxGRPO",
    "pass_at_k": "pass@k",
    "pass_at_k_standardised": "pass@k training",
    "bnpo": "BNPO (Beta)",
    "krpo": "KRPO",
    "ebpo": "EBPO",
    "rloo_over_std": "leave-one-out over the group's std",
    "rloo_both": "leave-one-out mean and std",
    "best_less_second": "best less second",
    "importance": "the unclipped importance ratio",
}
FORMULAS: Mapping[str, str] = {
    "centred": "reward less the group's mean",
    "leave-one-out": "reward less the mean of the others",
    "batch": "standardised over the batch",
    "batch-group-centred": "reward less the group's mean, over the batch's std",
    "length-weighted": "length-weighted baseline",
    "over-mean": "over the group's mean",
    "best-less-second": "the best gets its lead over the second, the others zero",
}
MEANS: Mapping[str, str] = {
    "token-mean": "mean over all tokens",
    "sequence-mean": "mean over each rollout's tokens, then over rollouts",
    "sequence-sum": "sum over tokens, mean over rollouts",
    "token-sum": "sum over all tokens",
    "prompt-mean": "mean over each prompt's tokens, then over prompts",
    "token-count": "sum over tokens, divided by a given count",
}


@dataclass(frozen=True)
class Candidate:
    """An estimator that was tried, with the part of the function that it does not explain (0: none, 1: all)."""

    name: str
    settings: Mapping[str, Any]
    residual: float

    def __str__(self) -> str:
        return str(named(self.name, **self.settings))


@dataclass(frozen=True)
class Identification:
    """Which estimator a function is.

    ``ok``: its name and settings reproduce the function on all that was drawn; ``differs`` says where it departs
    from what the name says, in places in which trainers differ. Else ``candidates`` are the nearest, and ``why``
    shows a difference. ``words`` describe what is no estimator of the oracle, such as GAE.
    """

    target: str
    kind: str
    ok: bool
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    differs: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    why: str = ""
    words: str = ""

    @property
    def oracle(self) -> Oracle:
        """The estimator as formulas. Raises ``ValueError`` where there is none."""
        return named(self.name, **self.settings)

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        ends = f"; differs: {'; '.join(self.differs)}" if self.differs else ""
        if self.words:
            return f"{self.words}{'' if self.ok else ', but not everywhere'}{ends}"
        if self.ok:
            return describe(self.oracle, self.kind) + ends
        if self.name and not self.candidates:
            return f"{describe(self.oracle, self.kind)}, but not everywhere: {self.why}{ends}"
        if not self.candidates:
            return f"nothing known: {self.why}{ends}"
        near = ", ".join(f"{c} ({_share(c.residual)} unexplained)" for c in self.candidates)
        return f"nothing known; nearest: {near}{'; ' + self.why if self.why else ''}{ends}"

    def __str__(self) -> str:
        return f"{self.target}: {self.sentence}"

    def findings(self) -> list[str]:
        """Return what was identified, in sentences."""
        return [self.sentence]

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``gradvar identify --json`` writes it."""
        return {
            "kind": "identify",
            "findings": self.findings(),
            "target": self.target,
            "of": self.kind,
            "ok": self.ok,
            "name": self.name,
            "settings": dict(self.settings),
            "differs": list(self.differs),
            "candidates": [
                {"name": c.name, "settings": dict(c.settings), "residual": c.residual}
                for c in self.candidates
            ],
            "why": self.why,
        }

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.as_json(), indent=2, default=str)


def describe(oracle: Oracle, kind: str) -> str:
    """An estimator's advantage or loss in words: what it is, and the settings in which trainers differ."""
    return _advantage_words(oracle) if kind == "advantage" else _loss_words(oracle)


def _advantage_words(oracle: Oracle) -> str:
    s, form = oracle.settings, oracle.form.advantage
    words = [TITLES.get(oracle.name, oracle.name)]
    if form in FORMULAS:
        words.append(FORMULAS[form])
    divides = "eps_at" in s and not (form == "best-less-second" and not s["normalise"])
    if divides:
        words += ["sample std" if s["ddof"] else "population std"]
    if form == "rescaled":
        words.append(
            "no division" if s["f_norm"] == "none" else ("sample std" if s["ddof"] else "population std")
        )
        divides = s["f_norm"] == "std"
    if divides or form in ("over-mean", "pass-at-k-standardised", "kalman", "shrunk"):
        words.append(_epsilon(s["eps"], s.get("eps_at", "added")))
    if s.get("over") == "tokens":
        words.append("over tokens")
    for name, text in {"k": "k = {}", "temperature": "temperature {:.4g}"}.items():
        if name in s:
            words.append(text.format(s[name]))
    if s["guard"]:
        words.append(f"groups with a std up to {s['guard']:.2g} get zero")
    if s["scale"] != 1:
        words.append(f"times {s['scale']:.6g}")
    return ", ".join(words)


def _epsilon(eps: float, place: str) -> str:
    if place == "none" or not eps:
        return "no epsilon"
    where = {"added": "added", "clamped": "as a lower bound", "variance": "added to the variance"}[place]
    return f"epsilon {eps:.3g} {where}"


def _loss_words(oracle: Oracle) -> str:
    s = oracle.settings
    words = ["REINFORCE" if oracle.name == "reinforce" else TITLES.get(oracle.name, oracle.name)]
    surrogate = oracle.form.surrogate
    if surrogate == "gate":
        words.append(f"temperatures {s['tau_positive']:.4g} and {s['tau_negative']:.4g}")
    elif surrogate == "geometric":
        words.append(f"log-ratio within -{s['clip_low']:.4g} and {s['clip_high']:.4g}")
    elif "clip_low" in s:
        ratio = {"ppo": "token ratio", "weight": "weight"}.get(surrogate, "sequence ratio")
        words.append(f"{ratio} within {1 - s['clip_low']:.6g} and {1 + s['clip_high']:.6g}")
        if s.get("dual"):
            words.append(f"dual clip {s['dual']:.4g}")
    elif surrogate == "likelihood":
        words.append("no ratio")
    words.append(_mean(s["aggregation"], s["length"]))
    if s["beta"] and s["kl"]:
        words.append(f"{s['kl']} to the reference times {s['beta']:.4g}")
        if s["kl_aggregation"]:
            words.append(f"that term as {_mean(s['kl_aggregation'], s['length'])}")
    if s["whiten"] != "none":
        over, _, sample = s["whiten"].partition("-")
        words.append(
            f"advantages standardised over the batch's {over}{' (sample std)' if sample else ''} inside"
        )
    if s["scale"] != 1:
        words.append(f"times {s['scale']:.6g}")
    return ", ".join(words)


def _mean(aggregation: str, length: float | None) -> str:
    if aggregation == "constant-length":
        by = "the padded length" if length is None else f"the constant {length:.6g}"
        return f"sum over tokens divided by {by}, mean over rollouts"
    return MEANS[aggregation]


def _share(residual: float) -> str:
    return f"{100 * min(residual, 1.0):.2g} %"


def group_wise(oracle: Oracle) -> bool:
    """Return True if a group's advantages depend on its rewards only."""
    return oracle.form.advantage not in OVER_THE_BATCH
