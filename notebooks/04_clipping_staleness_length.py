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
# What happens when the policy that is differentiated is no longer the one that sampled: on finite policies exactly, and on a
# transformer that has learnt modular addition to a success rate of 0.4.

# %%
import functools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from kit import explore, look, row

import gradvar as gv

look()

# %% [markdown]
# ## Where a clip acts
#
# One right and one wrong rollout; one token's ratio moves. A clip takes a right rollout's gradient where the ratio is too high
# already, and a wrong one's where it is too low already. CISPO clips the weight and keeps the gradient. With a kernel, the slider
# sets the clip range of all three.


# %%
def clipped(ax, clip):
    rules = [
        gv.catalogue.get("grpo", clip_low=clip, clip_high=clip),
        gv.catalogue.get("cispo", clip_high=clip),
    ]
    gv.plot.clip([*rules, "rloo"], ax=ax)
    ax.set_xlabel("ratio π / π_old of the token\n(solid: right, dotted: wrong)")
    ax.set_ylim(-0.08, 2.6)
    ax.legend(loc="upper left", fontsize="small")


explore(clipped, "clip", values=[0.05, 0.1, 0.2, 0.28, 0.5, 1.0], shown=[0.1, 0.2, 0.5])

# %% [markdown]
# ## Bias and variance as the policy moves on
#
# Enumerated: optimiser steps between sampler and gradient. Without ratios (`rloo`) the mean stays what it was when the rollouts
# were fresh, and that is no longer $\nabla J$. Clips make the gradient smaller, and what is left points elsewhere. (Where all groups
# of a batch are too many to list, as for `dapo`, figures are sampled and have 95 % intervals.)

# %%
exact = gv.study(
    policies=("tabular",),
    task="binary",
    estimators=("rloo", "grpo", "dapo", "gspo"),
    group_sizes=(4,),
    staleness=(0, 1, 2, 4, 16),
)
axes = row(2, width=4.9, height=3.5)
gv.plot.staleness(exact, "cosine", group_size=4, ax=axes[0])
gv.plot.staleness(exact, "trace_cov", group_size=4, ax=axes[1])
axes[0].legend(loc="center right", fontsize="small")
axes[1].get_legend().remove()  # as at the left
plt.show()

# %% [markdown]
# ## On a transformer, region by region
#
# A small one (10,800 parameters), warm-started on sums of two digits modulo 10, then moved on by 16 optimiser steps. A score bank keeps
# the scores of all 100 prompts times 32 rollouts, sampled before those steps; every clip range is then a contraction with it. The unclipped
# estimator (advantage times ratio) is the sum of five parts, by where a token lies:
#
# - **inside** the range;
# - **right, above** and **wrong, below**: what PPO's clip takes away;
# - **right, below** and **wrong, above**: outside as well, but kept, for they move back. The weight of the last one has no bound.

# %%
task = gv.tasks.ModularAddition(digits=1, modulus=10)
policy = gv.policies.Transformer.for_task(task, width=24, hidden=48)
warm = gv.warm_start(policy, task, jax.random.key(0), 0.4)
moved = gv.drift(
    policy, warm.params, task, jax.random.key(5), 16, gv.catalogue.get("rloo"), learning_rate=2e-4
)
every_prompt = np.unique(np.asarray(task.prompts(jax.random.key(3), 3000)), axis=0)
assert len(every_prompt) == 100
print(
    f"success rate {warm.success_rate:.2f} (standard error {warm.standard_error:.2f}) after {warm.steps} steps"
)

# %%
REGIONS = {
    "inside": lambda right, ratio, clip: abs(ratio - 1) <= clip,
    "right, above": lambda right, ratio, clip: right & (ratio > 1 + clip),
    "wrong, below": lambda right, ratio, clip: ~right & (ratio < 1 - clip),
    "right, below": lambda right, ratio, clip: right & (ratio < 1 - clip),
    "wrong, above": lambda right, ratio, clip: ~right & (ratio > 1 + clip),
}


def only(logp, logp_old, advantages, *, where, clip):
    """Advantage times ratio, on the tokens of some regions alone."""
    ratio = jnp.exp(logp - logp_old)
    held = sum(REGIONS[name](advantages > 0, ratio, clip) for name in where)
    return advantages * ratio * jax.lax.stop_gradient(held)


def part(clip, *where):
    return gv.compose(
        advantage=gv.advantages.leave_one_out,
        surrogate=functools.partial(only, where=where, clip=clip),
        aggregate=gv.aggregates.sequence_token_sum,
    )


KEPT = ("inside", "right, below", "wrong, above")
clips = (0.1, 0.2, 0.3, 0.5)
named = {(clip, name): part(clip, name) for clip in clips for name in REGIONS}
named |= {(clip, "PPO's clip"): part(clip, *KEPT) for clip in clips}
named[0, "no clip"] = part(0.2, *REGIONS)
bank = gv.measure.record(
    policy, moved, task, jax.random.key(7), prompts=jnp.array(every_prompt), rollouts=32, old_params=warm.params,
    settings=gv.RecordSettings(cuts=sorted(1 + sign * clip for clip in clips for sign in (-1, 1))),
)  # fmt: skip
found = bank.evaluate(
    {f"{clip} {name}": rule for (clip, name), rule in named.items()}, group_sizes=(4,), replicates=256
)
moments = {key: found.moments[f"{key[0]} {key[1]}", 4] for key in named}

# %% [markdown]
# A batch holds a group of 4 for each of the 100 prompts. Each region's part of E g along $\nabla J$ (the parts add up to the bias factor
# of the unclipped estimator), and its variance, with 95 % intervals over rollouts. Orange is what PPO's clip takes away. With a kernel,
# with a kernel, the slider sets the clip range; all of it is computed already.


# %%
def bars_of(ax, clip, figure):
    names = [*REGIONS, "PPO's clip", "no clip"]
    for line, name in enumerate(names):
        at = moments[0 if name == "no clip" else clip, name]
        value, (low, high) = getattr(at, figure), at.interval(figure)
        colour = "C1" if name in ("right, above", "wrong, below") else "C0" if name in REGIONS else "C2"
        ax.errorbar(value, line, xerr=[[value - low], [high - value]], fmt="o", capsize=3, color=colour)
    ax.axhline(4.5, color="grey", lw=0.8)
    ax.set_yticks(range(7), names)
    ax.set_ylim(6.5, -0.5)


def along(ax, clip):
    bars_of(ax, clip, "bias_factor")
    ax.axvline(0, color="grey", lw=0.8)
    ax.set_xlim(-0.55, 1.6)
    ax.set_xlabel("part of E g along ∇J\n(1: the whole of ∇J)")


def scattered(ax, clip):
    bars_of(ax, clip, "trace_cov")
    ax.set_xscale("log")
    ax.set_xlim(1e-3, 4)
    ax.set_xlabel("tr Cov of the batch gradient\n(reward² per parameter²)")


explore(along, "clip", values=clips, shown=[0.1, 0.2, 0.5])

# %%
explore(scattered, "clip", values=clips, shown=[0.1, 0.2, 0.5])

# %%
print("clip  region         part of E g along grad J    tr Cov of the batch")
for (clip, name), m in moments.items():
    (a, b), (c, d) = m.interval("bias_factor"), m.interval("trace_cov")
    if clip in (0, 0.2):
        print(
            f"{clip or '':<5} {name:<13} {m.bias_factor:6.2f} [{a:5.2f}, {b:5.2f}] {m.trace_cov:10.3f} [{c:.3f}, {d:.3f}]"
        )

# %% [markdown]
# The clip takes away a part that points along $\nabla J$ and little of the variance. At ranges of 0.1 and 0.2 the largest part of that comes
# from wrong rollouts whose tokens have become likelier, where the clip does not act. Bounding that side is what the dual clip (`ppo_dual_clip`) is for.

# %% [markdown]
# ## Length
#
# The mean over a rollout's tokens makes long rollouts count less per token; the expectation is then no multiple of $\nabla J$, since
# the length depends on what was sampled. Enumerated, with rollouts of one or two tokens that stop after the first with the chance
# on the axis; rewards 1 for stopping, 0 or 2 for going on; G = 4.

# %%
stop = np.linspace(0.04, 0.96, 24)
logits = np.log(np.stack([np.stack([1 - stop, stop], -1), np.tile([1 / 3, 2 / 3], (24, 1))], 1))
many = gv.policies.Tabular(
    2, 2, num_prompts=24, stop=1
)  # one prompt for each chance, with parameters of its own
rewards = gv.tasks.Lookup(np.tile([0.0, 2.0, 1.0], (24, 1)), many.support())
axes = row(2, width=4.6, height=3.3)
for name, style in (("rloo", "-"), ("dr_grpo", "--"), ("grpo", "-."), ("dapo", ":")):
    m = gv.measure.exact(gv.catalogue.get(name), many, jnp.array(logits), rewards, group_size=4)
    mean, truth = (24 * np.reshape(x, (24, 4)) for x in (m.mean, m.true_gradient))
    square, inner = (truth**2).sum(1), (mean * truth).sum(1)
    angle = np.degrees(np.arccos(np.clip(inner / np.sqrt(square * (mean**2).sum(1)), -1, 1)))
    axes[0].plot(stop, inner / square, style, lw=2, label=name)
    axes[1].plot(stop, angle, style, lw=2, label=name)
axes[0].set_ylabel("bias factor\n(1: unbiased along ∇J)")
axes[0].set_ylim(bottom=0)
axes[1].set_ylabel("angle between E g and ∇J\n(degrees)")
for ax in axes:
    ax.set_xlabel("chance to stop after one token")
    ax.legend(fontsize="small")
plt.show()

# %% [markdown]
# `rloo` and `dr_grpo` add tokens up: no angle. `grpo` takes a mean over each rollout, `dapo` over all tokens: both are off.
