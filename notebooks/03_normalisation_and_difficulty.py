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
# # 3. Normalisation, and what it does to hard and easy prompts
#
# Dividing advantages by their standard deviation weighs prompts anew. With binary rewards, the expected gradient of a prompt
# with success rate p is $w_G(p) \nabla p$: the weight $w_G$ says which prompts an estimator cares for.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import gradvar as gv

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained", sharey=True)
gv.plot.prompt_weight(["rloo", "dr_grpo", "grpo", "maxrl"], 2, ax=axes[0])
gv.plot.prompt_weight(["rloo", "dr_grpo", "grpo", "maxrl"], 16, ax=axes[1])
for ax in axes:
    ax.set_ylim(0, 6)
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# - `rloo` has weight 1 everywhere: it estimates grad J.
# - `dr_grpo` (group mean, own reward included) has 1 - 1/G everywhere: a smaller step, the same direction.
# - `grpo` at **two** rollouts has the constant weight 1: a mixed pair gets +1 and -1 whatever p is. At two rollouts the
#   normalisation does nothing but scale.
# - `grpo` at sixteen is U-shaped: hard and easy prompts weigh more, nearly $1/\sqrt{p(1-p)}$, where groups are mixed at all.
#
# The family in G:

# %%
fig, ax = plt.subplots(figsize=(6.0, 3.8), layout="constrained")
gv.plot.prompt_weight(["grpo"], (2, 4, 8, 16), ax=ax)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Across prompts it is a bias
#
# On one prompt a weight is a scale. Over prompts of different difficulty it turns the gradient: the mean is that of another
# objective. Two prompts, one hard, one easy, enumerated:

# %%
policy = gv.policies.Bandit(2, num_prompts=2)
task = gv.tasks.Bandit([[1.0, 0.0], [1.0, 0.0]])
params = jax.numpy.array([[-3.0, 0.0], [0.0, 0.0]])  # success rates 5 % and 50 %
print("G    cosine with grad J: rloo, grpo")
for size in (2, 4, 8, 16):
    cosines = [
        gv.measure.exact(gv.catalogue.get(name), policy, params, task, group_size=size).cosine
        for name in ("rloo", "grpo")
    ]
    print(f"{size:<4} {cosines[0]:.4f} {cosines[1]:.4f}")

# %% [markdown]
# The dropped groups matter as well: a group of equal rewards has no gradient, and how often that happens depends on p.

# %%
p = np.linspace(0.01, 0.99, 99)
fig, ax = plt.subplots(figsize=(6.0, 3.4), layout="constrained")
for size, dash in ((2, "-"), (4, "--"), (8, "-."), (16, ":")):
    ax.plot(p, 1 - p**size - (1 - p) ** size, dash, lw=2, label=f"G = {size}")
ax.set_xlabel("success rate p of the prompt")
ax.set_ylabel("share of groups with a signal")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Logged rewards tell where your prompts lie on these curves: `gradvar audit FILE`.
