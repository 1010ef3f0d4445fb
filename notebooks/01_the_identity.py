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
# # 1. The identity: two-rollout GRPO and DPO
#
# "Your GRPO is secretly DPO" (arXiv 2510.00977). For which parameters is it so, exactly, and up to which factor? We derive it,
# read it off the functions that ship, first as formulas, then as numbers, and see where it ends.
#
# ## By hand
#
# One prompt, a right rollout $o_+$ and a wrong one $o_-$ of equal length. The margin over the reference is
# $m = \log\frac{\pi(o_+)}{\pi_{\text{ref}}(o_+)} - \log\frac{\pi(o_-)}{\pi_{\text{ref}}(o_-)}$.
#
# - GRPO standardises the rewards (1, 0) to (1, -1), whatever the reference. Its gradient, at the policy that sampled, is
#   $\frac{1}{2} (\nabla\log\pi(o_+) - \nabla\log\pi(o_-))$.
# - DPO ascends $\log\sigma(\beta m)$. Its gradient is $\beta\, \sigma(-\beta m)\, (\nabla\log\pi(o_+) - \nabla\log\pi(o_-))$.
#
# The same direction. The factor between them is $\frac{1}{2\beta\sigma(-\beta m)} = \frac{1}{2\beta}(1 + e^{\beta m})$.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
from kit import explore, look

import gradvar as gv
from gradvar.symbolic import trace

jax.config.update("jax_enable_x64", True)
look()

# %% [markdown]
# ## Traced
#
# An estimator is an objective of log-probabilities; its derivative with respect to them is the array of token weights. `trace`
# runs the objective on symbols instead of numbers: the formula is that of the code, not of a copy in a paper.

# %%
a, b, u, v = sp.symbols("a b u v", real=True)  # log-probabilities under the policy, and under the reference
beta = sp.Rational(1, 10)
grpo = gv.catalogue.get("grpo", eps=0.0)
dpo = gv.catalogue.get("dpo", beta=0.1)


def weights_of(estimator):
    """Token weights of the right and of the wrong rollout, as formulas, at the policy that sampled."""

    def derivative(logp, ref):
        batch = gv.Batch(jnp.array([[1.0, 0.0]]), jax.lax.stop_gradient(logp), logp_ref=ref)
        return jax.grad(lambda x: estimator(x, batch))(logp)

    pair = np.array([[[a], [b]]], dtype=object)
    found = trace(derivative, pair, np.array([[[u], [v]]], dtype=object))
    return [sp.nsimplify(sp.simplify(w), rational=True) for w in found.ravel()]


grpo_weights, dpo_weights = weights_of(grpo), weights_of(dpo)
print("GRPO, right and wrong:", grpo_weights)
for sign, margin in (
    ("positive", sp.Symbol("m", positive=True)),
    ("negative", sp.Symbol("m", negative=True)),
):
    # The code's sigmoid is written so that it does not overflow, by cases of the margin's sign.
    at = [sp.simplify(w.subs(a, margin + b + u - v)) for w in dpo_weights]
    factor = sp.simplify(grpo_weights[0] / at[0])
    print(f"DPO at a {sign} margin:", at, " GRPO over DPO:", factor)
    assert sp.simplify(sum(at)) == 0
    assert sp.simplify(factor - (1 + sp.exp(beta * margin)) / (2 * beta)) == 0

# %% [markdown]
# Both are a number times (1, -1), for every reference policy, and the factor is the one derived by hand. The two have the same
# direction for one pair and not the same step: where DPO is content and stops, GRPO continues with full strength.
#
# ## Plotted over the margin

# %%
margins = np.linspace(-60, 60, 61)


def weight(estimator, m):
    """The right rollout's weight at a margin."""
    reference = jnp.zeros((1, 2, 1)).at[0, 0, 0].set(-m)
    batch = gv.Batch(jnp.array([[1.0, 0.0]]), jnp.zeros((1, 2, 1)), logp_ref=reference)
    return gv.token_weights(estimator, batch.logp_old, batch)[0, 0, 0]


def over_the_margin(ax, beta):
    rules = (("GRPO, two rollouts", grpo, "-"), ("DPO", gv.catalogue.get("dpo", beta=beta), "--"))
    for label, estimator, style in rules:
        curve = jax.vmap(lambda m, rule=estimator: weight(rule, m))(margins)
        ax.plot(margins, curve / curve[30], style, lw=2, label=label)
    ax.set_xlabel("margin over the reference, m (nats)")
    ax.set_ylabel("weight of the pair\n(1 at m = 0)")
    ax.set_ylim(-0.05, 2.75)
    ax.legend(loc="upper right")


explore(over_the_margin, "β", values=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5], shown=[0.02, 0.1, 0.5])

# %% [markdown]
# ## Where it ends
#
# **Several pairs.** Two pairs with different margins are enough: DPO weighs the pairs by their margins, GRPO alike. Below is the
# angle between the two gradients, where the two pairs' scores are orthogonal and of one length. It tends to 45 degrees where DPO
# drops one of the pairs. With a kernel, the slider is the margin of the first.

# %%
gaps = np.linspace(-60, 60, 61)


def angle(first, second, beta):
    """Degrees between the weights of GRPO and of DPO on two pairs with these margins."""
    ref = jnp.zeros((2, 2, 1)).at[0, 0, 0].set(-first).at[1, 0, 0].set(-second)
    batch = gv.Batch(jnp.array([[1.0, 0.0]] * 2), jnp.zeros((2, 2, 1)), logp_ref=ref)
    rules = (grpo, gv.catalogue.get("dpo", beta=beta))
    x, y = (jnp.ravel(gv.token_weights(rule, batch.logp_old, batch)) for rule in rules)
    cosine = x @ y / jnp.linalg.norm(x) / jnp.linalg.norm(y)
    return jnp.degrees(jnp.arccos(jnp.clip(cosine, -1, 1)))


def against_the_other_margin(ax, first):
    for strength, style in ((0.02, ":"), (0.1, "--"), (0.5, "-")):
        curve = jax.vmap(lambda m, s=strength: angle(first, m, s))(gaps)
        ax.plot(gaps, curve, style, lw=2, label=f"β = {strength}")
    ax.set_xlabel("margin of the second pair (nats)")
    ax.set_ylabel("angle between GRPO and DPO\n(degrees)")
    ax.set_ylim(-1, 72)
    ax.legend(loc="upper center", ncols=3, columnspacing=0.8, handlelength=1.6, fontsize="small")


explore(against_the_other_margin, "m of the first pair", values=[-40, -20, 0, 20, 40], shown=[-20, 0, 20])

# %% [markdown]
# **Off the sampling policy.** GRPO's ratios and clip enter, each token for itself; DPO has none.

# %%
moved = jnp.exp(jnp.linspace(jnp.log(0.6), jnp.log(1.6), 101))
batch = gv.Batch(
    jnp.array([[1.0, 0.0]]), jnp.full((1, 2, 1), jnp.log(0.25)), logp_ref=jnp.full((1, 2, 1), jnp.log(0.25))
)
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.1), sharey=True)
for ax, rule, title in ((axes[0], grpo, "GRPO, clip 0.2"), (axes[1], dpo, "DPO, β = 0.1")):
    pull = jax.vmap(
        lambda r, rule=rule: gv.token_weights(rule, batch.logp_old.at[0, 0, 0].add(jnp.log(r)), batch)[
            0, :, 0
        ]
    )(moved)
    start = abs(pull[abs(moved - 1).argmin(), 1])
    ax.plot(moved, pull[:, 0] / start, lw=2, label="pull on the right rollout")
    ax.plot(moved, -pull[:, 1] / start, "--", lw=2, label="push on the wrong one")
    ax.set_title(title)
    ax.set_xlabel("ratio π / π_old of the right rollout")
    ax.set_ylim(-0.05, 1.85)
    ax.legend(loc="upper left")
axes[0].set_ylabel("weight (1 at ratio 1)")
plt.show()

# %% [markdown]
# **Verdict** (A4, our question): proved, as an equivalence. On policy, pair by pair, with equal token shares, the directions are equal up to a
# factor $\propto 1 + e^{\beta m}$. Off policy, with clips, unequal lengths or several margins they are not. `gradvar prove --only A4`
# shows every step.
