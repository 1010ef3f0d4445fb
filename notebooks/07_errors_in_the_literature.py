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
# # 7. Errors in the literature, with a picture of each counterexample
#
# The claims ledger says what was claimed, where, and what became of it: proved, refuted by an exact counterexample, or true under
# one more assumption. Each verdict has two routes; `gradvar prove --only ID` shows them.

# %%
from collections import Counter

import jax
import matplotlib.pyplot as plt
import numpy as np

import gradvar as gv
from gradvar.symbolic import load, proofs_folder

claims = {claim.id: claim for claim in load(proofs_folder())}
print(Counter(claim.verdict for claim in claims.values()))
for claim in claims.values():
    if claim.verdict == "refuted":
        print(f"{claim.id:<5} {claim.source.arxiv:<11} {claim.title}")

# %% [markdown]
# ## A9: "the standardised reward at G = 2 follows a Cauchy law"
#
# With infinite variance, it is said. It takes three values.

# %%
rng = np.random.default_rng(0)
pairs = rng.normal(size=(20_000, 2))
found = np.asarray(gv.advantages.standardised(pairs, eps=0.0))[:, 0]
print("values:", np.unique(np.round(found, 6)), " variance:", found.var().round(3))
fig, ax = plt.subplots(figsize=(6.2, 3.2), layout="constrained")
ax.hist(found, bins=81, range=(-4, 4), density=True, label="standardised, normal rewards")
x = np.linspace(-4, 4, 200)
ax.plot(x, 1 / (np.pi * (1 + x**2)) * 10, "--", label="Cauchy density, times 10")
ax.set_xlabel("standardised reward of the first of two rollouts")
ax.set_ylabel("density")
ax.set_ylim(0, 7)
ax.legend(frameon=False, loc="upper center", ncols=2)
plt.show()

# %% [markdown]
# ## A11b: "across prompts two rollouts estimate the direction that sixteen do"
#
# Sixteen rollouts weigh hard and easy prompts up to twice as much as middling ones; two weigh all alike.

# %%
fig, ax = plt.subplots(figsize=(6.2, 3.4), layout="constrained")
gv.plot.prompt_weight(["grpo"], (2, 16), ax=ax)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## A14: "the discard rate is 1 - r² - (1 - r)² at the mean reward r"
#
# That formula is the share that is *kept*, and only if all prompts are equally difficult.

# %%
spread = np.linspace(
    0, 1, 50
)  # prompts between equally difficult, and half of them always, half never solved
p = 0.5 + 0.5 * np.stack([spread, -spread])
fig, ax = plt.subplots(figsize=(6.2, 3.2), layout="constrained")
ax.plot(2 * spread**2 / 8, (p**2 + (1 - p) ** 2).mean(0), lw=2, label="share of pairs that are dropped")
ax.axhline(0.5, ls="--", label="1 - r² - (1 - r)² at r = 1/2")
ax.set_xlabel("variance of the success rate between prompts, Var(p)")
ax.set_ylabel("discard rate")
ax.set_ylim(0, 1.05)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## A20: "the length-normalised score has mean zero"
#
# $E[\frac{1}{|o|}\nabla\log\pi(o)] = \nabla E[\frac{1}{|o|}]$, and lengths depend on the policy. One logit of stopping:

# %%
logits = np.linspace(-4, 4, 81)
stop = 1 / (1 + np.exp(-logits))  # of two tokens at most: o = (stop) or (go, end)
mean_inverse = stop + (1 - stop) / 2
slope = np.gradient(mean_inverse, logits)
exact_mean = stop * (1 - stop) / 1 - (1 - stop) * stop / 2
fig, ax = plt.subplots(figsize=(6.2, 3.2), layout="constrained")
ax.plot(logits, exact_mean, lw=2.5, label="E[score / length]")
ax.plot(logits, slope, "--", label="slope of E[1 / length]")
ax.axhline(0, lw=0.8, color="grey")
ax.set_xlabel("logit of stopping")
ax.set_ylabel("mean")
ax.legend(frameon=False)
plt.show()
assert np.allclose(exact_mean[1:-1], slope[1:-1], atol=1e-3)

# %% [markdown]
# ## B7a: "GRPO's weight on a prompt diverges as p tends to 0 or 1"
#
# At G rollouts it is a polynomial and at most $\sqrt{G - 1}$; only at infinitely many rollouts it diverges.

# %%
fig, ax = plt.subplots(figsize=(6.2, 3.6), layout="constrained")
gv.plot.prompt_weight(["grpo"], (4, 16), ax=ax)
p = np.linspace(0.01, 0.99, 200)
ax.plot(p, 1 / np.sqrt(p * (1 - p)), ":", color="black", label="G → ∞")
ax.set_ylim(0, 8)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## B20: "GSPO's sequence ratio is an importance weight"
#
# An importance weight has mean 1 under the sampling policy. The geometric mean of a rollout's ratios has less, whenever the policies
# differ on more than one token (Jensen).

# %%
key = jax.random.key(0)
policy = gv.policies.Tabular(3, 4, num_prompts=1)
old = policy.init(key)
support = policy.support()[None]
shifts = np.linspace(0, 2, 21)
means = {"sequence ratio, |o|-th root": [], "importance weight": []}
for shift in shifts:
    new = jax.tree.map(lambda x, s=shift: x + s * jax.random.normal(jax.random.key(1), x.shape), old)
    before, after = (
        np.asarray(policy.logprobs(x, np.zeros(1, int), support), np.float64)[0].sum(-1) for x in (old, new)
    )
    means["sequence ratio, |o|-th root"].append((np.exp(before) * np.exp((after - before) / 4)).sum())
    means["importance weight"].append(np.exp(after).sum())
fig, ax = plt.subplots(figsize=(6.2, 3.2), layout="constrained")
for (label, values), dash in zip(means.items(), ("-", "--"), strict=True):
    ax.plot(shifts, values, dash, lw=2, label=label)
ax.set_xlabel("distance of the policies (standard deviations of logits)")
ax.set_ylabel("mean under the sampling policy")
ax.set_ylim(0, 1.1)
ax.legend(frameon=False)
plt.show()
