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
# initial weights, eight paired seeds, one thing changed at a time. The runs are committed; each file says its command.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt

import gradvar as gv

results = Path("../benchmarks/results")
read = {
    name: json.loads((results / f"train_{name}.json").read_text())
    for name in ("paper", "paper_tuned", "larger", "larger_rollouts")
}
for name, found in read.items():
    row = next(r for r in found["rows"] if r["arm"] == "grpo-2")
    print(
        f"{name:<16} retained {row['retained_final']:.2f} [{row['retained_final_low']:.2f}, {row['retained_final_high']:.2f}]"
    )

# %% [markdown]
# - `paper`: equal prompts, so an eighth of the rollouts, and the eightfold learning rate. Under Adam it destroys the policy here.
# - `paper_tuned`: the same budget, the learning rate tuned for each arm on separate seeds.
# - `larger`: that, on three-digit arithmetic.
# - `larger_rollouts`: equal rollouts per step instead. Now two rollouts are **ahead**.

# %%
fig, axes = plt.subplots(1, 2, figsize=(10.4, 3.8), layout="constrained", sharey=True)
gv.plot.training(read["larger"], ax=axes[0])
gv.plot.training(read["larger_rollouts"], ax=axes[1])
axes[0].set_title("equal prompts", fontsize=10)
axes[1].set_title("equal rollouts per step", fontsize=10)
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## Every arm

# %%
every = json.loads((results / "train_every_arm.json").read_text())
fig, ax = plt.subplots(figsize=(7.0, 8.6), layout="constrained")
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
for row in small.rows():
    print(
        row["arm"],
        round(row["retained_final"], 2),
        [round(row["retained_final_low"], 2), round(row["retained_final_high"], 2)],
    )

# %% [markdown]
# A verdict on every sentence of the abstract: `benchmarks/TWO_AGAINST_SIXTEEN.md`. Our models are small, and a statement about
# them is a statement about them.
