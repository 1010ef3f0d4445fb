"""Make the gallery: the page ``docs/gallery.md`` and its pictures, from the very code that the page shows.

    python docs/make_gallery.py

Every picture is made twice, for light pages and for dark ones. The training results are those that
``benchmarks/results`` holds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

from gradvar import plot

HERE = Path(__file__).resolve().parent
SETUP = """\
import json
import pathlib
import tempfile

import jax
import matplotlib.pyplot as plt
import numpy as np

import gradvar as gv
from gradvar.audit import audit

common = {"policies": ("tabular",), "estimators": ("rloo", "grpo", "maxrl", "dapo"), "rollouts": 16}
study = gv.study(group_sizes=(2, 4, 8), staleness=(0,), **common)
stale = gv.study(group_sizes=(4,), staleness=(0, 1, 2, 4), **common)
policy = gv.policies.Bandit(8, num_prompts=12)
params = policy.init(jax.random.key(0))
task = gv.tasks.Bandit(jax.random.bernoulli(jax.random.key(2), 0.4, (12, 8)).astype(float))
bank = gv.measure.record(policy, params, task, jax.random.key(1), prompts=100, rollouts=16)
advice = gv.measure.advise(bank, cost_per_prompt=1.0)
mismatch = gv.mismatch(policy="tabular", prompts=8)
results = pathlib.Path("benchmarks/results")
runs = json.loads((results / "train_noise.json").read_text())
settled = json.loads((results / "train_paper_tuned.json").read_text())
draws = np.random.default_rng(0)
dump = [
    {"step": step, "prompt": f"p{prompt}", "reward": float(draws.random() < prompt / 100 + 0.07 * step)}
    for step in range(10) for prompt in range(80) for rollout in range(8)
]
file = pathlib.Path(tempfile.mkdtemp(), "dump.jsonl")
file.write_text("\\n".join(map(json.dumps, dump)))
audited = audit([file])
chosen = ("grpo-16", "grpo-2", "rloo-2", "reinforce")
"""


@dataclass(frozen=True)
class Entry:
    """One picture: the file's name, the heading, the code that makes ``ax``, and what is to be seen."""

    name: str
    heading: str
    code: str
    words: str


ENTRIES = (
    Entry(
        "front", "Three questions in one plot",
        """fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
gv.plot.prompt_weight(["rloo", "grpo"], (2, 16), ax=axes[0]).set_title("What does it estimate?")
gv.plot.cost(advice, ax=axes[1]).set(title="How noisy is it?", ylim=(0, 4.8))
ax = gv.plot.training(settled, x="rollouts", arms=("grpo-2", "grpo-16"), ax=axes[2])
title = ax.set_title("Do two rollouts do the work of sixteen?")""",
        "The weight that easy and hard prompts get; the rollouts that equal variance costs, in groups of G; and two "
        "rollouts per prompt against sixteen on the same prompts, each at its own tuned learning rate.",
    ),
    Entry(
        "front_narrow", "The same on a narrow page",
        """fig, axes = plt.subplots(3, 1, figsize=(4, 9), layout="constrained")
gv.plot.prompt_weight(["rloo", "grpo"], (2, 16), ax=axes[0]).set_title("What does it estimate?")
gv.plot.cost(advice, ax=axes[1]).set(title="How noisy is it?", ylim=(0, 4.8))
ax = gv.plot.training(settled, x="rollouts", arms=("grpo-2", "grpo-16"), ax=axes[2])
title = ax.set_title("Do two rollouts do the work of sixteen?")""",
        "One below the other: the README shows it on a telephone.",
    ),
    Entry(
        "prompt_weight", "The weight that a prompt gets",
        'ax = gv.plot.prompt_weight(["rloo", "grpo", "maxrl"], (2, 8))',
        "A colour for each estimator, dashes for each group size; curves that coincide are drawn once, and named "
        "together. Exact: one prompt with two answers, on policy.",
    ),
    Entry(
        "variance", "Variance against group size", "ax = gv.plot.variance(study)",
        "tr Cov of the batch gradient at 16 rollouts per batch. Bars are 95 % intervals; what was enumerated has none.",
    ),
    Entry(
        "snr", "What one rollout buys", "ax = gv.plot.snr(study)",
        "The signal-to-noise ratio per rollout, which does not depend on the estimator's scale.",
    ),
    Entry(
        "bias", "Bias factor against group size", "ax = gv.plot.bias(study)",
        "The expected gradient's component along grad J, in units of grad J.",
    ),
    Entry(
        "figure", "Any figure of the moments", 'ax = gv.plot.figure(study, "within")',
        "The part of tr Cov that lies within groups.",
    ),
    Entry(
        "compare", "Estimators next to each other", 'ax = gv.plot.compare(stale, "cosine", staleness=4)',
        "The direction of the expected gradient, four optimiser steps off policy.",
    ),
    Entry(
        "split", "Between prompts and within groups", "ax = gv.plot.split(study)",
        "Where the variance comes from: more rollouts per prompt lower the pale part only.",
    ),
    Entry(
        "staleness", "What staleness costs", 'ax = gv.plot.staleness(stale, "cosine", group_size=4)',
        "The same batch, differentiated at parameters that have moved on.",
    ),
    Entry(
        "clip", "What a clip leaves", 'ax = gv.plot.clip(["grpo", "dapo", "sapo"])',
        "A token's weight against its probability ratio. Exact, from the code that ships.",
    ),
    Entry(
        "mismatch", "What corrections for the sampler cost", "ax = gv.plot.mismatch(mismatch)",
        "The engine that draws is not the policy that is differentiated: what each correction costs in\n"
        "the direction of the gradient, by enumeration.",
    ),
    Entry(
        "cost", "Which group size to take", "ax = gv.plot.cost(advice)",
        "The cost of equal variance, with the best of the sizes asked for and the optimum over all with its interval.",
    ),
    Entry(
        "informative",
        "How many groups have something to compare",
        "ax = gv.plot.informative(audited)",
        "From the rewards of a dump, by exact U-statistics, with intervals clustered by prompt.",
    ),
    Entry(
        "equal_groups",
        "Groups without a signal, along a run",
        "ax = gv.plot.equal_groups(audited)",
        "The same dump, step by step: prompts here become easier with every step.",
    ),
    Entry(
        "training", "Training curves", "ax = gv.plot.training(runs, arms=chosen)",
        "The mean over eight paired seeds, with the mean's interval.",
    ),
    Entry(
        "retention", "What an arm retains of another", 'ax = gv.plot.retention(runs, "retained_final")',
        "Held-out reward at the end over the reference's, with intervals over warm starts, or over the seeds of one.",
    ),
    Entry(
        "profiles", "Performance profiles", "ax = gv.plot.profiles(runs, arms=chosen)",
        "The share of runs that end above a reward, with Wilson's intervals.",
    ),
)  # fmt: skip


def text() -> str:
    """Return the page in Markdown."""
    parts = [
        "# Gallery\n\nMade by `python docs/make_gallery.py`; a test runs it. Every function takes `ax=` and returns "
        "the axes. `with gv.plot.theme(\"dark\"):` is for dark pages.\n\nThe pictures below begin with\n\n"
        f"```python\n{SETUP}```\n"
    ]  # fmt: skip
    for e in ENTRIES:
        parts.append(
            f"## {e.heading}\n\n```python\n{e.code}\n```\n\n<picture>\n"
            f'  <source media="(prefers-color-scheme: dark)" srcset="gallery/{e.name}-dark.svg">\n'
            f'  <img alt="{e.heading}" src="gallery/{e.name}-light.svg">\n</picture>\n\n{e.words}\n'
        )
    return "\n".join(parts)


def build(folder: Path) -> list[Path]:
    """Write the page and the pictures to ``folder``; the files written. Runs from the repository's root."""
    page = folder / "gallery.md"
    (folder / "gallery").mkdir(parents=True, exist_ok=True)
    page.write_text(text(), encoding="utf-8")
    written, names = [page], dict[str, Any]()
    exec(compile(SETUP, "gallery.md", "exec"), names)
    for entry in ENTRIES:
        for ground in ("light", "dark"):
            # Glyphs as paths: a picture on somebody else's page cannot ask for a font.
            with (
                plot.theme(ground),
                matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "gallery"}),
            ):  # type: ignore[arg-type]
                exec(compile(entry.code, entry.name, "exec"), names)
                path = folder / "gallery" / f"{entry.name}-{ground}.svg"
                names["ax"].figure.savefig(path, metadata={"Date": None})
                written.append(path)
    return written


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
