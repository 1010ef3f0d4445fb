# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6. The settling experiment: two rollouts against sixteen
#
# "2-GRPO retains 97.6 % of the performance of 16-GRPO with 12.5 % of the rollouts" (arXiv 2510.00977 v3). Same prompts, same
# initial weights, eight paired seeds of one warm start, one thing changed at a time. The runs are committed; each file says its
# command. None of these is a headline: that needs ten warm starts.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from kit import explore, look, row

import gradvar as gv
from gradvar.stats.intervals import student_half_width
from gradvar.stats.starts import ratio_of

look()
results = Path("../benchmarks/results")
read = {
    name: json.loads((results / f"train_{name}.json").read_text())
    for name in ("paper", "paper_tuned", "larger", "larger_rollouts")
}
pairs = {name: next(r for r in found["rows"] if r["arm"] == "grpo-2") for name, found in read.items()}
(ax,) = row(1, width=6.4, height=2.5)
for line, (name, arm) in enumerate(pairs.items()):
    value, low, high = (arm["retained_final" + end] for end in ("", "_low", "_high"))
    print(f"{name:<16} retained {value:.2f} [{low:.2f}, {high:.2f}]")
    ax.errorbar(value, line, xerr=[[value - low], [high - value]], fmt="o", color="C0", capsize=3)
ax.axvline(0.976, ls="--", color="C1", label="claimed: 0.976")
ax.axvline(1, color="grey", lw=0.8)
ax.set_yticks(range(len(pairs)), pairs)
ax.set_ylim(len(pairs) - 0.5, -0.5)
ax.set_xlim(left=0)
ax.set_xlabel(
    "held-out reward of grpo-2 at the end, over that of grpo-16\n(95 % intervals over eight paired seeds of one warm start)"
)
ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# - `paper`: equal prompts, so an eighth of the rollouts, and the eightfold learning rate. Under Adam it destroys the policy here.
# - `paper_tuned`: the same budget, the learning rate tuned for each arm on separate seeds.
# - `larger`: that, on three-digit arithmetic.
# - `larger_rollouts`: equal rollouts per step instead. Now two rollouts are **ahead**.

# %% [markdown]
# ## One warm start is one draw
#
# Intervals over the seeds of one start hold for that start, and starts differ by more than their intervals. So the starts are
# what an interval has to be over, and ten make a headline. Three designs:
#
# - **ten starts of one command** (`--starts 10`), blue: one draw of test prompts for all, one rate for each arm, chosen on validation
#   prompts of the first start, within the grid;
# - **the same ten starts, each with rates of its own** (`--tuning own`), green;
# - **starts of commands of their own** (`--seed 3000`, `4000` and so on), orange: test prompts and rates of their own. The
#   first five chose their rates on the prompts that also judge.
#
# The last two share one start and have nineteen different ones together: **all**, black.

# %%
ten = json.loads((results / "train_ten_starts.json").read_text())
curves, last = ten["curves"], ten["config"]["evaluations"]


def of_starts(arm, evaluation):
    """The mean of every start's seeds."""
    rewards = {}
    for r in curves:
        if (r["arm"], r["evaluation"]) == (arm, evaluation):
            rewards.setdefault(r["start"], []).append(r["reward"])
    return np.array([np.mean(rewards[k]) for k in sorted(rewards)])


others = [read["paper_tuned"]]
others += [json.loads(file.read_text()) for file in sorted(results.glob("train_start_*.json"))]
rows = [{r["arm"]: r for r in found["rows"]} for found in others]
tuned = json.loads((results / "train_own_rates.json").read_text())["starts"]
parts = (("grpo-2", "start", "before"), ("grpo-2", "final", "after"), ("grpo-16", "final", "after"))
designs = {
    "one command": (of_starts("grpo-2", 0), of_starts("grpo-2", last), of_starts("grpo-16", last)),
    "own commands": tuple(np.array([r[arm][f"{what}_reward"] for r in rows]) for arm, what, _ in parts),
    "own rates": tuple(np.array([np.mean(s[arm][when]) for s in tuned]) for arm, _, when in parts),
}
assert others[0]["config"]["seed"] == ten["config"]["seed"]  # its start is the first of the ten
designs["all"] = tuple(
    np.r_[x[1:], y] for x, y in zip(designs["own commands"], designs["own rates"], strict=True)
)
axes = row(2, width=4.9, height=2.3)
for number, (design, (start, two, sixteen)) in enumerate(designs.items()):
    for ax, label, first, second in (
        (axes[0], "gain", two - start, sixteen - start),
        (axes[1], "final", two, sixteen),
    ):
        over = ratio_of(first, second)
        spread = (first - over.value * second).std(ddof=1) / second.mean()
        further = student_half_width(spread * np.sqrt(1 + 1 / len(first)), len(first) - 1)
        print(
            f"{design:<13} {label:<5} of {len(first)} starts: {over.value:.2f} [{over.low:.2f}, {over.high:.2f}], "
            f"a further one {over.value - further:.2f} to {over.value + further:.2f}"
        )
        color = "black" if design == "all" else f"C{number}"
        if design != "all":
            ax.plot(second, first, "o", color=color, label=design)
        ax.axline((0, 0), slope=over.value, color=color, lw=1)
for ax, what in zip(axes, ("gain", "held-out reward at the end"), strict=True):
    ax.axline((0, 0), slope=0.976, ls="--", color="grey", lw=0.8)
    ax.set_xlabel(f"{what}, grpo-16")
    ax.set_ylabel("grpo-2")
for ax, ends in ((axes[0], (-0.05, 0.18)), (axes[1], (0.24, 0.46))):
    ax.set(xlim=ends, ylim=ends)
axes[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# A point is a start, dashed is the claim. Sixteen rollouts gain less in the ten starts of one command (one even loses), by more
# than chance would explain. One rate for all is a part of it: with rates of their own no start loses, and two rollouts keep less.
# What is left lies with the starts; `benchmarks/TWO_AGAINST_SIXTEEN.md` says what is known of that. All nineteen together exclude 0.976,
# of the gain and of the final reward.

# %% [markdown]
# What counts first is the gain: final reward flatters, because it counts what the warm start knew already.

# %%
axes = row(2, width=4.9, height=3.8, sharey=True)
gv.plot.training(read["larger"], ax=axes[0])
gv.plot.training(read["larger_rollouts"], ax=axes[1])
axes[0].set_title("equal prompts")
axes[1].set_title("equal rollouts per step")
plt.show()

# %% [markdown]
# What is held equal decides who is ahead, and so does what is counted. The same runs with equal prompts, against steps, rollouts and
# generated tokens; with a kernel, the slider chooses.


# %%
def counted(ax, what):
    gv.plot.training(read["larger"], x=what, ax=ax)
    ax.set_xscale("linear" if what == "steps" else "log")
    ax.set_xlabel(f"training ({what}), equal prompts\n(bands: 95 % interval over seeds)")


explore(counted, "counted", values=["steps", "rollouts", "tokens"], shown=["steps", "rollouts", "tokens"])

# %% [markdown]
# ## Every arm

# %%
every = json.loads((results / "train_every_arm.json").read_text())
(ax,) = row(1, width=6.4, height=8.6)
gv.plot.retention(every, ax=ax)
plt.show()

# %% [markdown]
# ## Run one yourself
#
# A small one: three seeds, forty steps. What it says is as uncertain as its intervals.

# %%
small = gv.experiment(
    arms=[gv.arms.get("grpo-2"), gv.arms.get("grpo-16")],
    reference="grpo-16",
    seeds=3,
    steps=40,
    evaluations=4,
    keep=False,
)
for arm in small.rows():
    print(
        arm["arm"],
        round(arm["retained_final"], 2),
        [round(arm["retained_final_low"], 2), round(arm["retained_final_high"], 2)],
    )

# %% [markdown]
# A verdict on every sentence of the abstract: `benchmarks/TWO_AGAINST_SIXTEEN.md`. Our models are small, and a statement about
# them is a statement about them.
