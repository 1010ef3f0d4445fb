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
# "Your GRPO is secretly DPO" (arXiv 2510.00977). For which parameters is it so, exactly, and up to which factor? We read
# the answer off the functions that ship, first as formulas, then as numbers.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

import gradvar as gv

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## What GRPO does with a pair
#
# One prompt, two rollouts of one token, rewards 1 and 0. An estimator is an objective of log-probabilities; its derivative
# with respect to them is the array of token weights. `trace` runs the objective on symbols instead of numbers: the
# formula is that of the code, not of a copy in a paper.

# %%
from gradvar.symbolic import trace

a, b, u, v = sp.symbols("a b u v", real=True)  # log-probabilities under the policy, and under the reference
beta = sp.Rational(1, 10)
dpo = gv.catalogue.get("dpo", beta=0.1)
rloo = gv.catalogue.get("rloo")


def weights_of(estimator):
    """Token weights of the right and of the wrong rollout, as formulas."""

    def derivative(logp, ref):
        batch = gv.Batch(jnp.array([[1.0, 0.0]]), logp, logp_ref=ref)
        return jax.grad(lambda x: estimator(x, batch))(logp)

    pair = np.array([[[a], [b]]], dtype=object)
    found = trace(derivative, pair, np.array([[[u], [v]]], dtype=object))
    return [sp.nsimplify(sp.simplify(w), rational=True) for w in found.ravel()]


grpo_weights, dpo_weights = weights_of(rloo), weights_of(dpo)
print("pair, mean baseline:", grpo_weights)
print("DPO, the right one: ", dpo_weights[0])
assert sp.simplify(sum(dpo_weights)) == 0

# %% [markdown]
# The code's sigmoid is written so that it does not overflow, hence the absolute values. Both are a number times (+1, -1): **the same direction**. The number is constant for the pair with a mean baseline, and a
# sigmoid of the margin for DPO. So for one pair the gradients are parallel for every reference policy.

# %%
ratio = grpo_weights[0] / dpo_weights[0]
for name, m in (("positive", sp.Symbol("m", positive=True)), ("negative", sp.Symbol("m", negative=True))):
    print(f"factor at a {name} margin:", sp.simplify(ratio.subs(a, m + b + u - v)))
assert sp.simplify(grpo_weights[0] + grpo_weights[1]) == 0
assert sp.simplify(dpo_weights[0] + dpo_weights[1]) == 0

# %% [markdown]
# The factor grows exponentially with the margin $m$ over the reference: where DPO is content and stops, GRPO goes on with
# full strength. The two have the same direction for one pair and not the same step.

# %%
margins = np.linspace(-60, 60, 241)


def weight(estimator, m):
    batch = gv.Batch(
        jnp.array([[1.0, 0.0]]), jnp.zeros((1, 2, 1)), logp_ref=jnp.zeros((1, 2, 1)).at[0, 0, 0].set(-m)
    )
    return gv.token_weights(estimator, batch.logp_old, batch)[0, 0, 0]


fig, ax = plt.subplots(figsize=(6.2, 3.4), layout="constrained")
for estimator, style, label in ((rloo, "-", "two rollouts, mean baseline"), (dpo, "--", "DPO, β = 0.1")):
    curve = np.array([float(weight(estimator, m)) for m in margins[::8]])
    ax.plot(margins[::8], curve / curve[len(curve) // 2], style, lw=2, label=label)
ax.set_xlabel("margin over the reference, m (nats)")
ax.set_ylabel("weight of the pair\n(1 at m = 0)")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Where it ends
#
# A batch of two pairs with different margins is enough: DPO weighs the pairs by their margins, GRPO alike. The cosine of the two
# gradients, for policies whose scores are independent:


# %%
def cosine(first, second):
    ref = jnp.zeros((2, 2, 1)).at[0, 0, 0].set(-first).at[1, 0, 0].set(-second)
    batch = gv.Batch(jnp.array([[1.0, 0.0]] * 2), jnp.zeros((2, 2, 1)), logp_ref=ref)
    x, y = (np.ravel(gv.token_weights(e, batch.logp_old, batch)) for e in (rloo, dpo))
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


for gap in (0, 10, 30, 60):
    print(f"margins 0 and {gap:>2}: cosine {cosine(0.0, gap):.3f}")

# %% [markdown]
# **Verdict** (ledger, A4): conditional. On policy, pair by pair, with equal token shares, the directions are equal up to a
# factor $\propto 1 + e^{\beta m}$. Off policy, with clips, unequal lengths or several margins they are not. `gradvar prove --only A4`
# shows every step.
