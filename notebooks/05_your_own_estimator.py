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
# Write it, prove what it estimates, test its laws, measure it, train with it.

# %%
import functools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
from kit import look, row

import gradvar as gv
from gradvar.symbolic import Witness, trace
from gradvar.symbolic.analyse.objective import analyse
from gradvar.testing import check_advantage

look()

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
# **Read it as a formula.** At three rollouts with known order the median is a rollout's own reward, and that rollout gets nothing:

# %%
r = sp.symbols("r1:4", real=True)
with_order = Witness({r[0]: 3, r[1]: 2, r[2]: 1})
print(trace(above_median, np.array([r], dtype=object), assume=with_order))

# %% [markdown]
# **Prove it.** The plain policy gradient with this advantage is run on symbols, and each law is proved for all rewards or refuted at a point. (From a shell:
# `gradvar prove path/to/file.py:above_median`.)

# %%
plain = gv.compose(
    advantage=above_median, surrogate=gv.surrogates.likelihood, aggregate=gv.aggregates.sequence_token_sum
)
analysis = analyse(plain.objective, "above_median")
for law in analysis.laws:
    print(f"{law.verdict:<10} {law.name:<24} {law.counterexample or law.note}")

# %% [markdown]
# **The weight on a prompt**, as formulas. Binary rewards, success rate p: this is what it estimates, proved from the code.

# %%
p = sp.Symbol("p")
for size, formula in analysis.weights.items():
    print(f"G = {size}: w(p) =", sp.factor(formula))

# %% [markdown]
# **Test its laws** on numbers. The kit looks for counterexamples, and shrinks them.

# %%
report = check_advantage(above_median, library_name="jax", examples=15)
print(report.table())

# %% [markdown]
# **Measure it**, exactly, next to similar ones. A bias factor that changes with G, and a cosine below 1, say that the median is
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
axes = row(3)
gv.plot.prompt_weight([mine, "rloo", "dr_grpo"], 4, ax=axes[0])
gv.plot.bias(moments, ax=axes[1])
gv.plot.variance(moments, ax=axes[2])
axes[0].set_ylim(0, 1.5)
axes[1].set_ylim(0, 1.45)
plt.show()

# %% [markdown]
# **Train with it.** Here by the expected update itself, enumerated at every step, so that no luck is in the curves; on a model of your own
# it is `gv.experiment(arms=[gv.Arm("mine", mine, group=4)])`, with paired seeds and intervals.

# %%
(ax,) = row(1, width=4.8)
for rule, style in ((mine, "-"), (gv.catalogue.get("rloo"), "--")):
    at, values = params, []
    for _ in range(25):
        values.append(float(jnp.array(task.rewards[0]) @ jax.nn.softmax(at[0])))
        at = at + 2.0 * gv.measure.exact(rule, policy, at, task, group_size=4).mean.reshape(1, 4)
    ax.plot(values, style, lw=2, label=rule.name)
ax.set_xlabel("steps along the expected update (rate 2, G = 4)")
ax.set_ylabel("expected reward J")
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# **Publish it**: one file in `estimators/`, one claim in `proofs/`, one line in `catalogue.py`; every test of the catalogue
# then tests it too.
