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
# # 4. Clipping, staleness and length
#
# What happens when the policy that is differentiated is no longer the one that sampled: on two finite policies exactly, and on a
# transformer that has learnt modular addition to a success rate of 0.4.

# %%
import matplotlib.pyplot as plt
import numpy as np

import gradvar as gv

# %% [markdown]
# ## Where a clip acts
#
# One right and one wrong rollout; one token's ratio moves. A clip takes a right rollout's gradient where the ratio is too high
# already, and a wrong one's where it is too low already. CISPO clips the weight and keeps the gradient.

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
gv.plot.clip(["grpo", "dapo", "cispo", "rloo"], ax=ax)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Bias and variance as the policy moves on
#
# Enumerated: optimiser steps between sampler and gradient. Without ratios (`rloo`) the mean stays what it was when the rollouts
# were fresh, and that is no longer grad J.

# %%
exact = gv.study(
    policies=("tabular",),
    task="binary",
    estimators=("rloo", "grpo", "dapo", "gspo"),
    group_sizes=(4,),
    staleness=(0, 4, 16),
)
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
gv.plot.staleness(exact, "cosine", group_size=4, ax=axes[0])
gv.plot.staleness(exact, "trace_cov", group_size=4, ax=axes[1])
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# ## On a transformer
#
# The same from samples, with 95 % intervals. Each point is a Monte Carlo experiment of batches of 64 rollouts.

# %%
sampled = gv.study(
    policies=("transformer",),
    task="addition",
    estimators=("rloo", "grpo", "gspo"),
    group_sizes=(4,),
    staleness=(0, 8),
    replicates=64,
)
for r in sampled.results:
    low, high = r.moments.interval("cosine")
    print(
        f"{r.moments.estimator:<5} {r.staleness:>2} steps stale: cosine {r.moments.cosine:.2f} [{low:.2f}, {high:.2f}]"
    )

# %% [markdown]
# ## Length
#
# The mean over a rollout's tokens makes long rollouts count less per token; the expectation is then no multiple of grad J, since
# the length depends on what was sampled. Enumerated, with rollouts of one to three tokens:

# %%
policy = gv.policies.Tabular(2, 3, num_prompts=1, stop=1)
support = policy.support()
rewards = np.array([[1.0, 0.0, 1.0, 0.0]])[:, : len(support)]
import jax

task, params = gv.tasks.Lookup(rewards, support), policy.init(jax.random.key(1))
for name in ("rloo", "dr_grpo", "grpo", "dapo"):
    m = gv.measure.exact(gv.catalogue.get(name), policy, params, task, group_size=4)
    print(f"{name:<8} bias factor {m.bias_factor:.3f}, cosine {m.cosine:.4f}")

# %% [markdown]
# `rloo` and `dr_grpo` add tokens up: cosine 1. `grpo` takes a mean over each rollout, `dapo` over all tokens: below 1 in both.
