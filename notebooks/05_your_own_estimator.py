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
# # 5. Your own estimator, in ten cells
#
# Write it, read it as a formula, test its laws, measure it.

# %%
import functools

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

import gradvar as gv

# %% [markdown]
# **Write it.** The reward less the median of the group; GRPO's clip; the mean over each rollout's tokens.


# %%
def above_median(rewards):
    """[Q, G] to [Q, G]."""
    return rewards - jnp.median(rewards, axis=1, keepdims=True)


mine = gv.compose(
    name="above_median",
    advantage=above_median,
    surrogate=functools.partial(gv.surrogates.ppo_clip, low=0.2, high=0.2),
    aggregate=gv.aggregates.sequence_token_mean,
)

# %% [markdown]
# **Read it as a formula.** At three rollouts with known order the median is a rollout's own reward:

# %%
from gradvar.symbolic import Witness, trace

r = sp.symbols("r1:4", real=True)
with_order = Witness({r[0]: 3, r[1]: 2, r[2]: 1})
print(trace(above_median, np.array([r], dtype=object), assume=with_order))

# %% [markdown]
# **Test its laws.** The kit looks for counterexamples, and shrinks them.

# %%
from gradvar.testing import check_advantage

report = check_advantage(lambda rewards: above_median(jnp.asarray(rewards)), library_name="jax", examples=15)
print(report.table())

# %% [markdown]
# **Measure it**, exactly, beside its neighbours. A bias factor that changes with G, and a cosine below 1, say that the median is
# no baseline that is independent of the rollout it is subtracted from.

# %%
policy, task = gv.policies.Bandit(4), gv.tasks.Bandit([1.0, 0.0, 0.3, 0.5])
params = jnp.array([[1.5, 0.0, -1.0, 1.0]])
moments = [
    gv.measure.exact(estimator, policy, params, task, group_size=size)
    for estimator in (mine, gv.catalogue.get("rloo"), gv.catalogue.get("dr_grpo"))
    for size in (2, 3, 4)
]
for m in moments:
    print(
        f"{m.estimator:<13} G={m.group_size}: bias factor {m.bias_factor:.3f}, cosine {m.cosine:.4f}, tr Cov {m.trace_cov:.4f}"
    )

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.4), layout="constrained")
gv.plot.bias(moments, ax=axes[0])
gv.plot.variance(moments, ax=axes[1])
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# **Train with it**: `gv.experiment(arms=[gv.Arm("mine", mine, group=4)])`. **Publish it**: one file in `estimators/`, one claim in
# `proofs/`, one line in `catalogue.py`.
