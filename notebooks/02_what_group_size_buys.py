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
import functools

import jax
import matplotlib.pyplot as plt
import numpy as np
from kit import explore, look, row

import gradvar as gv
from gradvar.measure.exact import closed_forms as laws

look()

# %% [markdown]
# ## Four numbers are enough, for one prompt
#
# For binary rewards, the success rate p, the signal $\|\nabla J\|^2$ and the mean squared scores $v_1$ of right and $v_0$ of wrong
# rollouts fix mean and variance of any group estimator at any G. Three routes to the same figure: the law, plain enumeration of
# all groups, and simulation of 4000 groups with 95 % intervals.

# %%
rewards = np.array([1.0, 0.0, 0.0, 1.0])
policy, task = gv.policies.Bandit(4), gv.tasks.Bandit(rewards)
params = policy.init(jax.random.key(3))
probs = np.asarray(jax.nn.softmax(np.asarray(params, np.float64).ravel()))
scores = np.eye(4) - probs  # of a softmax: one-hot less probabilities
numbers = laws.four_numbers(probs, rewards, scores)
print(numbers)

ADVANTAGES = {
    "rloo": lambda r: (r - r.mean(1, keepdims=True)) * r.shape[1] / (r.shape[1] - 1),
    "grpo": lambda r: (r - r.mean(1, keepdims=True)) / np.maximum(r.std(1, keepdims=True), 1e-12),
}
sizes = (2, 4, 8, 16)
rules = {"rloo": gv.catalogue.get("rloo"), "grpo": gv.catalogue.get("grpo", eps=0.0)}
routes = {}
for size in sizes:
    drawn = gv.measure.direct(
        list(rules.values()), policy, params, task, group_size=size, key=jax.random.key(size), replicates=4000
    )
    for (name, rule), seen in zip(rules.items(), drawn, strict=True):
        law = laws.four_number_law(numbers, size, ADVANTAGES[name]).trace_cov
        counted = gv.measure.exact(rule, policy, params, task, group_size=size).trace_cov
        low, high = seen.interval("trace_cov")
        routes[name, size] = law, counted, seen.trace_cov, low, high
        print(
            f"{name} G={size:<3} tr Cov: law {law:.6f}, enumerated {counted:.6f}, "
            f"simulated {seen.trace_cov:.6f} [{low:.6f}, {high:.6f}]"
        )
        assert np.isclose(law, counted, rtol=1e-4)

# %%
for ax, name in zip(row(2, width=4.4, sharey=True), ADVANTAGES, strict=True):
    law, counted, drawn, low, high = np.array([routes[name, size] for size in sizes]).T
    ax.plot(sizes, law, lw=2, label="four-number law")
    ax.plot(sizes, counted, "s", mfc="none", ms=11, mew=1.6, color="C1", label="enumerated")
    ax.errorbar(
        sizes,
        drawn,
        [drawn - low, high - drawn],
        fmt=".",
        capsize=4,
        color="C2",
        label="simulated, 95 % interval",
    )
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(sizes, sizes)
    ax.set_title(name)
    ax.set_xlabel("group size G (one group of one prompt)")
    ax.legend()
    ax.label_outer(remove_inner_ticks=False)
plt.gcf().axes[0].set_ylabel("tr Cov of a group's gradient\n(reward² per parameter²)")
plt.show()

# %% [markdown]
# ## Bias, variance and signal-to-noise ratio, across prompts
#
# Six prompts of unequal difficulty, 16 rollouts per batch, enumerated. Bias: the leave-one-out baseline (`rloo`) has none, the group's mean
# (`dr_grpo`) shrinks by $(G-1)/G$, the standard deviation (`grpo`) weighs prompts anew. Variance: with larger groups the part
# within prompts falls and the part between prompts grows.

# %%
study = gv.study(
    policies=("bandit",),
    estimators=("rloo", "dr_grpo", "grpo"),
    group_sizes=(2, 4, 8),
    staleness=(0,),
    rollouts=16,
)
axes = row(3, height=3.3)
for ax, draw in zip(axes, (gv.plot.bias, gv.plot.variance, gv.plot.snr), strict=True):
    draw(study, ax=ax)
axes[0].set_ylim(0, 2.4)
axes[2].set_ylim(bottom=0)
plt.show()

# %% [markdown]
# ## There is an optimum
#
# With $\sigma_b^2$ the variance of $\nabla J$ between prompts, N rollouts in groups of G have the variance
# $\frac{1}{N}[G\sigma_b^2 + \sigma_o^2 + \Delta/(G-1)]$, which is least at $G^* = 1 + \sqrt{\Delta/\sigma_b^2}$. A score bank
# estimates the three numbers from one pool of rollouts. Here 200 prompts, easy and hard, 32 rollouts each:

# %%
rng = np.random.default_rng(0)
policy = gv.policies.Bandit(8, num_prompts=12)
task = gv.tasks.Bandit((rng.random((12, 8)) < rng.random((12, 1))).astype(float))
params = policy.init(jax.random.key(0))
bank = gv.measure.record(policy, params, task, jax.random.key(1), prompts=200, rollouts=32)
advice = gv.measure.advise(bank, cost_per_prompt=0.0, cost_per_rollout=1.0)
print(advice)

# %%
axes = row(2, width=4.8, height=3.6)
gv.plot.cost(advice, ax=axes[0])
found = bank.evaluate([gv.catalogue.get(n) for n in ("rloo", "grpo", "reinforce")], group_sizes=(2, 4, 8, 16))
gv.plot.snr(found, ax=axes[1])
plt.show()

# %% [markdown]
# ## And prompts that cost something
#
# A prompt has a cost of its own (prefill, or writing it). The more it costs, the larger the best group. With a kernel, the slider
# sets the cost of a prompt, in rollouts.


# %%
@functools.cache
def advised(cost_per_prompt):
    return gv.measure.advise(bank, cost_per_prompt=cost_per_prompt, cost_per_rollout=1.0)


def with_cost(ax, cost_per_prompt):
    gv.plot.cost(advised(float(cost_per_prompt)), ax=ax)
    ax.set_ylim(0, 5.6)
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.22), fontsize="small")  # below: the optimum moves


costs = [0, 1, 2, 4, 8, 16, 32]
explore(with_cost, "cost of a prompt", values=costs, shown=[0, 4, 16])

# %%
optima = [advised(float(cost)).optimum for cost in costs]
value, low, high = np.array([(x.value, x.low, x.high) for x in optima]).T
(ax,) = row(1, width=4.8)
ax.errorbar(costs, value, [value - low, high - value], fmt="o-", capsize=3)
ax.set_xlabel("cost of a prompt (rollouts)")
ax.set_ylabel("optimum over all G\n(95 % intervals)")
ax.set_ylim(bottom=0)
plt.show()

# %% [markdown]
# Two rollouts are not free of loss, sixteen are not needed: where the optimum lies is a property of policy and prompts. On your
# own model: `gradvar record path/to/model prompts.jsonl`.
