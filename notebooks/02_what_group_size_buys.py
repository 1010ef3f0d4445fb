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
# # 2. What group size buys
#
# N rollouts, in groups of G: larger groups have a better baseline and fewer prompts. Which G is best? First exactly, on policies
# that can be enumerated; then from samples, as one would with a real model.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import gradvar as gv
from gradvar.measure import laws

# %% [markdown]
# ## Four numbers are enough, for one prompt
#
# For binary rewards, the success rate p, the signal $\|\nabla J\|^2$ and the mean squared scores of right and of wrong rollouts
# fix mean and variance of any group estimator at any G. The law against plain enumeration of all groups:

# %%
policy, task = gv.policies.Bandit(4), gv.tasks.Bandit([1.0, 0.0, 0.0, 1.0])
params = policy.init(jax.random.key(3))
probs = np.asarray(jax.nn.softmax(np.asarray(params, np.float64).ravel()))
scores = np.eye(4) - probs  # of a softmax: one-hot less probabilities
numbers = laws.four_numbers(probs, np.array([1.0, 0.0, 0.0, 1.0]), scores)


def rloo_advantage(rewards):
    group = rewards.shape[1]
    return (rewards - rewards.mean(1, keepdims=True)) * group / (group - 1)


for size in (2, 4, 8):
    law = laws.four_number_law(numbers, size, rloo_advantage)
    counted = gv.measure.exact(gv.catalogue.get("rloo"), policy, params, task, group_size=size)
    print(f"G={size}: tr Cov {law.trace_cov:.6f} by the law, {counted.trace_cov:.6f} enumerated")
    assert np.isclose(law.trace_cov, counted.trace_cov, rtol=1e-4)

# %% [markdown]
# ## Across prompts there is an optimum
#
# With $\sigma_b^2$ the variance of $\nabla J$ between prompts, N rollouts in groups of G have the variance
# $\frac{1}{N}[G\sigma_b^2 + \sigma_o^2 + \Delta/(G-1)]$, which is least at $G^* = 1 + \sqrt{\Delta/\sigma_b^2}$. A score bank
# estimates the three numbers from one pool of rollouts. Easy and hard prompts:

# %%
rng = np.random.default_rng(0)
policy = gv.policies.Bandit(8, num_prompts=12)
task = gv.tasks.Bandit((rng.random((12, 8)) < rng.random((12, 1))).astype(float))
params = policy.init(jax.random.key(0))
bank = gv.measure.record(policy, params, task, jax.random.key(1), prompts=200, rollouts=32)
advice = gv.measure.advise(bank, cost_per_prompt=0.0, cost_per_rollout=1.0)
print(advice)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
gv.plot.cost(advice, ax=axes[0])
found = bank.evaluate([gv.catalogue.get(n) for n in ("rloo", "grpo", "reinforce")], group_sizes=(2, 4, 8, 16))
gv.plot.snr(found, ax=axes[1])
plt.show()

# %% [markdown]
# ## And prompts that cost something
#
# A prompt has a cost of its own (prefill). The more it costs, the larger the best group. Move the slider where there is one;
# the figure below it is for readers without.


# %%
def best_for(cost_per_prompt=1.0):
    return gv.measure.advise(bank, cost_per_prompt=cost_per_prompt, cost_per_rollout=1.0).best


try:
    from ipywidgets import interact

    interact(best_for, cost_per_prompt=(0.0, 20.0, 1.0))
except ImportError:
    print("no sliders here: pip install ipywidgets")

costs = [0, 1, 2, 4, 8, 16]
fig, ax = plt.subplots(figsize=(5.4, 3.2), layout="constrained")
ax.step(costs, [best_for(c) for c in costs], where="mid", lw=2)
ax.set_xlabel("cost of a prompt (rollouts)")
ax.set_ylabel("best group size, G")
plt.show()

# %% [markdown]
# Two rollouts are not free of loss, sixteen are not needed: where the optimum lies is a property of policy and prompts. On your
# own model: `gradvar record path/to/model prompts.jsonl`.
