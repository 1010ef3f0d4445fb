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
# with success rate p is $w_G(p) \nabla p$: the weight $w_G$ says which prompts an estimator cares for. All of it is enumerated,
# so there are no intervals.

# %%
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from kit import explore, look, row
from scipy.stats import binom

import gradvar as gv
from gradvar.studies.study import bias_curve

look()

# %% [markdown]
# ## Four estimators
#
# Sum over the number k of right rollouts in the group: with the advantages that an estimator gives the right and the wrong ones then, and
# with the mean score $\nabla p / p$ of a right rollout and $-\nabla p / (1-p)$ of a wrong one, the weight follows. We take the advantages that
# ship. With a kernel, the slider sets the group size.

# %%
ADVANTAGES = {
    "rloo": gv.advantages.leave_one_out,
    "dr_grpo": gv.advantages.group_mean,
    "grpo": lambda rewards: gv.advantages.standardised(rewards, eps=0.0),
    "maxrl": gv.advantages.over_mean,
}
rates = np.concatenate([[0.002, 0.005, 0.01, 0.02], np.linspace(0.04, 0.96, 47), [0.98, 0.99, 0.995, 0.998]])


def weight(name, size, p):
    """w_G(p), at each success rate."""
    k, p = np.arange(1, size)[:, None], np.asarray(p)
    advantages = np.asarray(ADVANTAGES[name](jnp.array(np.arange(size) < k, float)))
    right, wrong = advantages[:, :1], advantages[:, -1:]
    return (binom.pmf(k, size, p) * (k * right / p - (size - k) * wrong / (1 - p))).sum(0) / size


for name in ADVANTAGES:  # the same from whole gradients of the estimators that ship, enumerated
    for size in (2, 4):
        whole = bias_curve([gv.catalogue.get(name)], size, rates)[name]
        assert np.allclose(weight(name, size, rates), whole, rtol=1e-4), (name, size)


def weights_at(ax, size):
    for width, (name, style) in zip(
        (4, 3, 2.2, 1.6), {"rloo": "-", "dr_grpo": "--", "grpo": "-", "maxrl": "-."}.items(), strict=True
    ):
        ax.plot(rates, weight(name, size, rates), style, lw=width, label=name)
    ax.set_xlabel("success rate p of the prompt")
    ax.set_ylabel("weight on the prompt, w(p)\n(1: as ∇J has it)")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 6)
    ax.legend(loc="upper right")


explore(weights_at, "G", values=list(range(2, 17)), shown=[2, 4, 16])

# %% [markdown]
# - `rloo` has weight 1 everywhere: it estimates $\nabla J$.
# - `dr_grpo` (group mean, own reward included) has $1 - 1/G$ everywhere: a smaller step, the same direction.
# - `grpo` at **two** rollouts has the constant weight 1: a mixed pair gets +1 and -1 whatever p is. At two rollouts the
#   normalisation does nothing but scale.
# - `grpo` at sixteen is U-shaped: hard and easy prompts weigh more, nearly $1/\sqrt{p(1-p)}$, where groups are mixed at all.
# - `maxrl` divides by the mean: the fewer successes, the more a prompt weighs.
#
# ## The whole family, G = 2 to 16
#
# $w_G(p) = \sum_{k=0}^{G-2} \binom{G-2}{k} p^k (1-p)^{G-2-k} \frac{G-1}{\sqrt{(k+1)(G-1-k)}}$, a polynomial of degree $G - 2$ at most, with the
# value $\sqrt{G-1}$ at both ends. At G = 2 and at G = 3 it is constant.

# %%
family = {size: weight("grpo", size, rates) for size in range(2, 17)}
shades = plt.get_cmap("viridis")((np.arange(2, 17) - 2) / 15.5)
first, second = row(2, width=4.9, height=3.7)
for (size, curve), shade in zip(family.items(), shades, strict=True):
    first.plot(rates, curve, color=shade, lw=1.7)
    if size in (2, 3, 4, 6, 8, 12, 16):  # at the curve's own end; 5 and the rest lie between
        first.annotate(f"{size}", (1, curve[-1]), (1.015, curve[-1]), va="center", fontsize=9)
first.plot(rates, 1 / np.sqrt(rates * (1 - rates)), ":", color="black", lw=1.6, label="G → ∞")
first.set_ylim(0, 5)
first.set_xlim(0, 1)
first.set_xlabel("success rate p of the prompt")
first.set_ylabel("weight on the prompt, w(p)\n(1: as ∇J has it)")
first.legend(loc="lower center")
first.set_title("G at the right", fontsize=9.5)

sizes = np.array(list(family))
for name, at, style in (
    ("p near 0 or 1", 0, "o-"),
    ("p = 0.1", None, "s--"),
    ("p = 0.5", len(rates) // 2, "^:"),
):
    at = int(abs(rates - 0.1).argmin()) if at is None else at
    second.plot(sizes, [family[size][at] for size in sizes], style, label=name)
second.set_ylim(bottom=0)
second.set_xlabel("group size G")
second.set_ylabel("weight on the prompt, w(p)")
second.set_xticks([2, 4, 6, 8, 10, 12, 14, 16])
second.legend()
plt.show()
assert np.allclose(family[2], 1)
assert np.ptp(family[3]) < 1e-5
terms = [binom.pmf(k, 14, rates) * 15 / np.sqrt((k + 1) * (15 - k)) for k in range(15)]
assert np.allclose(family[16], sum(terms), rtol=1e-4)
assert all(curve.max() <= np.sqrt(size - 1) + 1e-5 for size, curve in family.items())

# %% [markdown]
# ## Across prompts it is a bias
#
# On one prompt a weight is a scale. Over prompts of different difficulty it turns the gradient: the mean is that of another
# objective. Two prompts with parameters of their own, one with p = 1/2; with a kernel, the slider is the other's success rate.


# %%
def turned(ax, hard):
    """Degrees between E g and grad J over the two prompts, from their weights and their own gradients p (1 - p)."""
    own = np.array([hard * (1 - hard), 0.25])
    for name, style in (("grpo", "o-"), ("maxrl", "D-."), ("rloo", "s--")):
        angles = []
        for size in (2, 3, 4, 8, 16):
            mean = own * weight(name, size, [hard, 0.5])
            cosine = mean @ own / np.linalg.norm(mean) / np.linalg.norm(own)
            angles.append(np.degrees(np.arccos(min(1.0, cosine))))
        ax.plot((2, 3, 4, 8, 16), angles, style, label=name)
    ax.set_xlabel("group size G")
    ax.set_ylabel("angle between E g and ∇J\n(degrees)")
    ax.set_xticks([2, 4, 8, 16])
    ax.set_ylim(-1, 42)
    ax.legend(loc="upper left")


explore(
    turned,
    "p of the other prompt",
    values=[0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.7, 0.9],
    shown=[0.05, 0.2, 0.9],
)

# %% [markdown]
# The same from whole gradients, as a check, for the left panel:

# %%
policy = gv.policies.Bandit(2, num_prompts=2)
task = gv.tasks.Bandit([[1.0, 0.0], [1.0, 0.0]])
params = jnp.array([[np.log(0.05 / 0.95), 0.0], [0.0, 0.0]])
for size in (2, 16):
    whole = gv.measure.exact(gv.catalogue.get("grpo"), policy, params, task, group_size=size)
    ours = np.array([0.05 * 0.95, 0.25])
    mean = ours * weight("grpo", size, [0.05, 0.5])
    assert np.isclose(whole.cosine, mean @ ours / np.linalg.norm(mean) / np.linalg.norm(ours), rtol=1e-5)
    print(f"G={size:<3} cosine between E g and grad J: {whole.cosine:.6f}")

# %% [markdown]
# ## Across a whole set of prompts
#
# Prompts with success rates spread evenly over (0, 1): which of them an expected step is about. The share of the squared length of E g
# that each tenth contributes, over what it contributes to $\nabla J$.

# %%
middles = np.arange(0.05, 1.0, 0.1)
squares = (middles * (1 - middles)) ** 2
(ax,) = row(1, width=5.4, height=3.3)
for size, style in ((2, "o-"), (4, "s--"), (8, "^:"), (16, "D-.")):
    weighed = weight("grpo", size, middles)
    share = weighed**2 * squares / (weighed**2 * squares).sum() * squares.sum() / squares
    ax.plot(middles, share, style, label=f"grpo, G = {size}")
ax.set_xlabel("success rate p of the prompts (tenths)")
ax.set_ylabel("share of ‖E g‖², over that of ‖∇J‖²")
ax.set_ylim(bottom=0)
ax.legend(loc="upper center", ncols=2)
plt.show()

# %% [markdown]
# ## Groups without a signal
#
# A group of equal rewards has no gradient, and how often that happens depends on p:

# %%
p = np.linspace(0.01, 0.99, 99)
(ax,) = row(1, width=5.4, height=3.3)
for size, dash in ((2, "-"), (4, "--"), (8, "-."), (16, ":")):
    ax.plot(p, 1 - p**size - (1 - p) ** size, dash, lw=2, label=f"G = {size}")
ax.set_xlabel("success rate p of the prompt")
ax.set_ylabel("share of groups with a signal")
ax.set_ylim(0, 1.02)
ax.legend(loc="lower center", ncols=2)
plt.show()

# %% [markdown]
# Logged rewards tell where your prompts lie on these curves: `gradvar audit FILE`.
