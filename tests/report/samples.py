"""Small results of every kind, as the commands write them, made without running one."""

import numpy as np

from gradvar.stats.choice import LeastCost
from gradvar.stats.intervals import Interval
from gradvar.studies.findings import findings as findings_of_rows
from gradvar.studies.mismatch import Cost, Distance, Mismatch
from gradvar.studies.mismatch_config import MismatchConfig
from gradvar.symbolic.claims.findings import findings as findings_of_claims
from gradvar.train.findings import findings as findings_of_arms

HOSTILE = '<script>alert("x")</script> & $\\frac$ _"\'</svg>'


def mismatch():
    """Two engines and two corrections; every interval is lopsided."""
    config = MismatchConfig(samplers=("none", "noise:1"), corrections=("none", "tis:2"))

    def near(value):
        return Interval(value, 0.9 * value, 1.3 * value)

    costs = tuple(
        Cost(
            sampler,
            correction,
            near(0.3 * (1 + i) + 0.1 * k),
            near(0.1 * (1 + i)),
            near(0.2 * (1 + i) + 0.1 * k),
        )
        for i, sampler in enumerate(config.samplers)
        for k, correction in enumerate(config.corrections)
    )
    sizes = {"none": Distance(Interval(0.0, 0.0, 0.0), 1.0, 1.0), "noise:1": Distance(near(0.1), 0.8, 1.0)}
    return Mismatch(config, "direct", costs, sizes, dict.fromkeys(config.samplers, LeastCost(0, False, (0,))))


def rows(
    staleness=(0, 4), names=("rloo", "grpo", "dapo"), sizes=(2, 4, 16), policies=("tabular",), exact=False
):
    """Tidy rows of a measurement; the intervals are lopsided, so that a mix-up of their ends is seen."""
    found = []
    rng = np.random.default_rng(0)
    for policy in policies:
        for steps in staleness:
            for k, name in enumerate(names):
                for size in sizes:
                    for figure in (
                        "trace_cov",
                        "between",
                        "within",
                        "snr_per_rollout",
                        "bias_factor",
                        "cosine",
                    ):
                        value = {"cosine": 0.9 - 0.1 * k, "between": 0.3}.get(
                            figure, (1 + k) * (1 + rng.random())
                        )
                        low, high = (value, value) if exact or name == "rloo" else (0.9 * value, 1.05 * value)
                        found.append(
                            {
                                "policy": policy, "task": "binary", "staleness": steps, "clip": None,
                                "estimator": name, "group_size": size, "prompts": 32 // size, "rollouts": 32,
                                "route": "exact" if low == high else "direct", "replicates": 96, "figure": figure,
                                "value": value, "se": (high - low) / 4, "low": low, "high": high,
                            }
                        )  # fmt: skip
    return found


def provenance(**config):
    return {
        "versions": {"python": "3.11.7", "gradvar": "0.1.0"}, "device": "cpu x 2", "machine": "Linux x86_64",
        "command": ["gradvar", "measure", "--seed", "7"], "date": "2026-01-02T03:04:05+00:00",
        "config": {"seed": 7, **config},
    }  # fmt: skip


def measurement(**settings):
    measured = rows(**settings)
    return {
        "kind": "measurement", "findings": findings_of_rows(measured), "provenance": provenance(),
        "success": {"tabular, binary": 0.4}, "rows": measured,
    }  # fmt: skip


def experiment(arms=("grpo-2", "grpo-16", "rloo-2"), seeds=6, evaluations=5):
    rng = np.random.default_rng(1)
    curves, finals = [], {}
    for k, arm in enumerate(arms):
        climb = 0.3 + 0.05 * (k + 1) * np.linspace(0, 1, evaluations)[:, None]
        reward = climb + 0.02 * rng.standard_normal((evaluations, seeds))
        finals[arm] = reward[-1].mean()
        curves += [
            {"arm": arm, "seed": s, "evaluation": e, "steps": 10 * e, "rollouts": 640 * e, "tokens": 2000 * e + k,
             "reward": reward[e, s]}
            for s in range(seeds) for e in range(evaluations)
        ]  # fmt: skip
    table = [
        {
            "arm": arm, "group": 2, "prompts_per_step": 32, "learning_rate": 3e-4, "seeds": seeds,
            "start_reward": 0.3, "final_reward": finals[arm], "rollouts": 2560.0, "tokens": 8000.0, "seconds": 1.5,
            **_estimate("retained_final", finals[arm] / finals[arms[0]]),
            **_estimate("retained_gain", 1.2), **_estimate("difference", finals[arm] - finals[arms[0]]),
            **_estimate("improvement", 0.7),
        }
        for arm in arms
    ]  # fmt: skip
    content = {
        "kind": "training", "provenance": provenance(),
        "config": {"task": "addition", "seeds": seeds, "reference": arms[0],
                   "equal": "rollouts_per_step"},
        "warm_start": {"success": 0.29, "standard_error": 0.014},
        "plans": [{"arm": {"name": arm, "estimator": "grpo", "phases": []}} for arm in arms],
        "rows": table, "mechanism": {}, "curves": curves,
    }  # fmt: skip
    return {**content, "findings": findings_of_arms(content)}


def advice(upper=5.0):
    curve = [
        {"group_size": g, "cost": _of(c), "variance": _of(c / g), "per_rollout": 0.1, "informative": 0.5}
        for g, c in ((2, 1.4), (4, 1.0), (8, 1.2), (16, 1.9))
    ]
    return {
        "kind": "advice", "findings": ["Best of the group sizes asked for: G=4."],
        "best": 4, "optimum": {"value": 4.5, "se": 0.1, "low": 4.2, "high": upper, "dof": 9}, "curve": curve,
        "prompts": 200, "rollouts": 32,
    }  # fmt: skip


def proofs():
    given = {"text": "$p < 1$", "stated_by": "source"}
    shown = {"name": "sum", "kind": "goal", "formula": r"\sum_i a_i = 0", "refuted": False, "steps": {"Sum": "sympy"},
             "coverage": {"G": "all"}, "where": ["p > 0"]}  # fmt: skip
    common = {"source": "2402.03300v2, Section 4", "hypotheses": [given], "scope": "every G", "seconds": 0.5,
              "relation": "states", "relation_text": "The source states it", "named": True, "judgement": "",
              "attribution": "2402.03300v2, Section 4", "source_says": "what stands there", "source_caveat": "",
              "instead": "", "proof": "Add them up.", "obligations": [shown], "grounds": {"algebra": ["Sum"]},
              "estimators": {"grpo": ["advantage.standardised"]},
              "routes": ["sympy"], "steps": [{"name": "Sum", "route": "sympy", "shows": r"$\sum_i a_i = 0$"}],
              "sabotages": ["a sign"], "counterexample": [{"text": "p = 1/2"}]}  # fmt: skip
    claims = [
        {**common, "id": "X1", "title": "Sums", "statement": "$a = b$", "verdict": "proved", "holds": True,
         "finding": "", "errors": []},
        {**common, "id": "X2", "title": "Bias", "statement": "$a < b$", "verdict": "refuted", "holds": True,
         "finding": r"It is $\frac{1}{2}$ & not <1>.", "errors": []},
        {**common, "id": "X3", "title": "Broken", "statement": "odd $ dollar", "verdict": "proved", "holds": False,
         "finding": "", "errors": ["the step 'Sum' raised"]},
        {**common, "id": "X4", "title": "Misread", "statement": "$a > b$", "verdict": "refuted", "holds": True,
         "relation": "ours", "relation_text": "Our question", "named": False, "attribution": "our question",
         "source_caveat": "the same paper says $a < b$", "instead": "$a = 2b$", "finding": "No.", "errors": []},
    ]  # fmt: skip
    return {"kind": "proof", "findings": findings_of_claims(claims), "claims": claims,
            "coverage": {"estimators": {"grpo": ["X1"], "rloo": []}, "pieces": {"advantages.raw": []}}}  # fmt: skip


def check():
    return {
        "kind": "check", "target": "trainer.py:mine", "ok": False,
        "findings": ["Does not pass: 1 of 2 laws fail.", "Not as declared: finite fails.",
                     "fails finite: [1] -> [nan]"],
        "laws": [
            {"name": "zero_sum", "status": "holds", "declared": None, "example": None, "why": ""},
            {"name": "finite", "status": "fails", "declared": True, "why": "[1] -> [nan]",
             "example": {"reproduce": "python -c 'print(1 < 2)'"}},
        ],
    }  # fmt: skip


def analysis():
    laws = [
        {
            "name": "zero_sum",
            "statement": "they sum to zero",
            "verdict": "proved",
            "counterexample": None,
            "note": "",
        },
        {
            "name": "bounded",
            "statement": "|A| <= 1",
            "verdict": "refuted",
            "counterexample": {"r": "2"},
            "note": "r",
        },
    ]
    regions = [{"conditions": ["r1 > r2"], "token_weights": ["1/2", "-1/2"]}]
    return {
        "kind": "analysis",
        "findings": ["mine.py:objective: 1 of 2 laws are not refuted.", "Refuted: |A| <= 1 r"],
        "target": "mine.py:objective",
        "regions": regions,
        "prompt_weight": {"2": "1"},
        "laws": laws,
        "notes": [],
    }


def audit(suspicion="Nothing suspicious in how rollouts are grouped and rewarded."):
    advice = ["23.3 % of groups have equal rewards."]
    share = {"success": _of(0.4), "equal": _of(0.25), "solved": _of(0.1), "hopeless": _of(0.15)}
    steps = [{"step": s, "rollouts": 64, **share, "refill": [1.3, 1.2, 1.45]} for s in range(4)]
    sizes = [{"group_size": g, "informative": _of(1 - 0.6 ** (g - 1)), "relative_cost": 1.0} for g in (2, 4)]
    beyond = {
        "group_size": 16,
        "informative": {"value": None, "low": None, "high": None},
        "relative_cost": 0.9,
    }
    return {
        "kind": "audit", "files": 1, "notes": [], "rows": 256, "estimator": "grpo", "overall": {"step": None, **share},
        "steps": steps, "group_sizes": [*sizes, beyond], "findings": [suspicion, *advice],
        "histogram": [{"name": "0 %", "groups": 16, "share": _of(0.13), "pull": None}],
        "suspicions": [], "advice": advice,
    }  # fmt: skip


def every():
    """All kinds by file name."""
    return {
        "measurement": measurement(), "experiment": experiment(), "advice": advice(), "proofs": proofs(),
        "check": check(), "analysis": analysis(), "audit": audit(),
    }  # fmt: skip


def _of(value):
    return {"value": value, "low": 0.9 * value, "high": 1.05 * value}


def _estimate(name, value):
    return {name: value, f"{name}_low": value - 0.03, f"{name}_high": value + 0.05}
