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
# The claims ledger says what was claimed, where, and what became of it: proved, refuted by an exact counterexample, or true
# under one more assumption. Here is every refuted claim, with a picture. **Dashed orange is what was claimed, solid blue what
# is so**; nothing is sampled, so there are no intervals. A1 to A22 are about arXiv 2510.00977 and its reviews, B about the
# papers named below, C about neighbours. `gradvar prove --only ID --verbose` shows both routes of each verdict.

# %%
import functools
import itertools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from kit import look, row
from panels import answers, claimed, degrees_off, found, logits_of, panel, short_or_long, shown

import gradvar as gv
from gradvar.symbolic import load, proofs_folder

jax.config.update("jax_enable_x64", True)
look()
claims = {claim.id: claim for claim in load(proofs_folder())}
for claim in claims.values():
    if claim.verdict == "refuted":
        print(f"{claim.id:<5} {claim.source.arxiv}  {claim.title}")

# %% [markdown]
# Two small policies serve for all of it (`panels.py`): `answers`, a softmax over a few answers, and `short_or_long`, rollouts of one or two
# tokens (go on with chance a, then a last token, the first kind with chance b). `gv.measure.exact` enumerates all groups.

# %%
GRPO, RLOO = gv.catalogue.get("grpo", eps=0.0), gv.catalogue.get("rloo")
plain = functools.partial(gv.compose, surrogate=gv.surrogates.likelihood, min_group=1)

# %% [markdown]
# ## What a pair is
#
# - **A5** "The definition of a contrastive loss sets GRPO and DPO apart." One rollout with any constant baseline b meets it.
# - **A7b** "Right and wrong rollouts covary, so the contrast lowers the variance." Independent rollouts do not covary: it adds.
# - **A9** "At G = 2 the standardised reward follows a Cauchy law." It takes three values; with p = 1/2, a tie has chance 1/2.

# %%
first, second, third = row(3)
constant = plain(advantage=gv.advantages.given, aggregate=gv.aggregates.sequence_token_sum)
b = np.linspace(0.01, 0.99, 15)
none = jnp.zeros((15, 1, 1))  # fifteen prompts with a single rollout each
one = [
    15 * gv.token_weights(constant, none, gv.Batch(np.full((15, 1), r), none, baseline=b)) for r in (1.0, 0.0)
]
found(first, b, np.ravel(one[0]), "a right rollout is pulled up")
found(first, b, np.ravel(one[1]), "a wrong one pushed down", ":")
first.axhline(0, color="grey", lw=0.8)
panel(first, "A5", "constant baseline b", "weight of a single rollout", -1.4, 1.9, loc="upper right")

c, scores = np.linspace(0, 1, 11), np.eye(4) - 0.25  # four equally likely answers, two of them right
pairs = np.array([[x - k * y for x in scores[:2] for y in scores[2:]] for k in c])
found(second, c, pairs.var(1).sum(-1), "found: no covariance")
claimed(second, c, 0.5 - 0.5 * c + 0.5 * c**2, "if they correlated by 1/2")
panel(second, "A7b", "weight c of the wrong rollout", "variance of the contrast", 0, 1.35, loc="upper left")

groups = np.array(list(itertools.product([0.0, 1.0], repeat=2)))
values = np.sort(np.asarray(gv.advantages.standardised(groups, eps=1e-12))[:, 0])
x = np.linspace(-4, 4, 401)
found(third, x, (values[:, None] <= x + 1e-9).mean(0), "found, binary rewards")
claimed(third, x, 0.5 + np.arctan(x) / np.pi, "claimed: Cauchy")
panel(third, "A9", "standardised reward of the first", "chance to be at most that", 0, 1.45, loc="upper left")
plt.show()

# %% [markdown]
# ## What group size does
#
# - **A11b** "Across prompts, two rollouts estimate the direction that sixteen do." Sixteen weigh hard and easy prompts up to twice as much as middling ones.
# - **A11c** "For one prompt and any rewards all group sizes point along $\nabla J$." Rewards 0, 1, 10 with chances 1/2, 1/3, 1/6.
# - **A12** "B rollouts have variance Var(g)/B, whatever the group size." Here one prompt with p = 1/2; B = 16.

# %%
first, second, third = row(3)
rates = np.linspace(0.01, 0.99, 33)
two, sixteen = (gv.studies.bias_curve([GRPO], size, rates)["grpo"] for size in (2, 16))
found(first, rates, sixteen / sixteen[16], "found: G = 16")
claimed(first, rates, two / two[16], "claimed: as G = 2")
panel(
    first,
    "A11b",
    "success rate p of the prompt",
    "weight on the prompt\n(1 at p = 1/2)",
    0,
    2.6,
    loc="upper center",
)

sizes = [2, 3, 4, 6, 8, 12]
cosines = [answers([1 / 2, 1 / 3, 1 / 6], [0, 1, 10], size, GRPO).cosine for size in sizes]
found(second, sizes, cosines, style="o-")
claimed(second, sizes, np.ones(6))
panel(second, "A11c", "group size G", "cosine between E g and ∇J", 0.7, 1.05, loc="center right")

sizes = [2, 4, 8, 16]
variance = [answers([0.5, 0.5], [1, 0], size, RLOO).trace_cov * size / 16 for size in sizes]
found(third, sizes, variance, style="o-")
claimed(third, sizes, [variance[0]] * 4)
panel(third, "A12", "group size G, at 16 rollouts", "tr Cov (reward² per parameter²)", 0, loc="center right")
third.set_xticks(sizes)
plt.show()

# %% [markdown]
# ## Groups without a signal
#
# - **A13b** "Pairs find a group with a signal at least as often as one large group." Strictly less often, at equal rollouts.
# - **A14** "With mean reward r, a share $1 - r^2 - (1 - r)^2$ of pairs is discarded." That share is *kept*, and only if all prompts are equally difficult. Here r = 1/2.
# - **A15b** "Retrying until the pair is mixed keeps the direction." It divides each prompt's weight by $2p(1-p)$.

# %%
first, second, third = row(3)
m = np.arange(1, 6)
found(first, 2 * m, 1 - 2 * 0.5 ** (2 * m), "found: one group", "o-")
claimed(first, 2 * m, 1 - 0.5**m, "pairs, said to do as well")
panel(first, "A13b", "rollouts of a prompt (p = 1/2)", "chance of a mixed group", 0, 1.4, loc="upper left")
first.set_xticks(2 * m)

spread = np.linspace(0, 1, 50)  # from equally difficult prompts to half of them always and half never solved
p = 0.5 + 0.5 * np.stack([spread, -spread])
found(second, p.var(0), (p**2 + (1 - p) ** 2).mean(0))
claimed(second, p.var(0), np.full(50, 0.5))
panel(second, "A14", "variance of p between prompts", "discard rate of pairs", 0, 1.25, loc="upper left")

pair = gv.studies.bias_curve([RLOO], 2, rates)["rloo"]
found(third, rates, pair / (2 * rates * (1 - rates)), "found: retried")
claimed(third, rates, pair, "claimed: as without")
panel(third, "A15b", "success rate p of the prompt", "weight on the prompt", 0, 12, loc="upper center")
plt.show()

# %% [markdown]
# ## Objectives and baselines
#
# - **A16** "For any rewards the two-rollout update has an objective." Rewards 0, 1, 2: the work along a closed loop of logits is not zero, so there is nothing that it climbs. (The mean-centred pair has one: its work is zero.)
# - **A17b** "With the group's mean as baseline the gradient is unbiased at any G." It is $(G-1)/G$ of it.
# - **A18b** "At n = 2 the baseline's error alters the expected gradient." The error is as large as said and changes no mean.

# %%
first, second, third = row(3)
order = np.sign(np.subtract.outer(np.arange(3), np.arange(3)))  # who beats whom


def standardised_pair(pi):
    return pi * (order @ pi)


def centred_pair(pi):
    return pi * (np.arange(3) - np.arange(3) @ pi) / 2


def work(update, radius, start=(1 / 2, 1 / 3, 1 / 6)):
    """The integral of the update along a circle in the first two logits."""
    total = 0.0
    for t in np.arange(200) * 2 * np.pi / 200:
        shift = radius * np.array([np.cos(t), np.sin(t), 0])
        pi = np.exp(np.log(start) + shift) / np.exp(np.log(start) + shift).sum()
        total += update(pi) @ np.array([-np.sin(t), np.cos(t), 0]) * radius * 2 * np.pi / 200
    return total


pi = np.array([1 / 2, 1 / 3, 1 / 6])
for estimator, update in ((GRPO, standardised_pair), (gv.catalogue.get("dr_grpo"), centred_pair)):
    assert np.allclose(np.ravel(answers(pi, [0, 1, 2], 2, estimator).mean), update(pi))
radii = np.linspace(0, 3, 13)
found(first, radii, [work(standardised_pair, r) for r in radii], "standardised pair")
found(first, radii, [work(centred_pair, r) for r in radii], "mean-centred pair", ":", color="C2", lw=3)
claimed(first, radii, 0 * radii)
panel(first, "A16", "radius of the loop (logits)", "work along the loop", -0.05, 1.05, loc="upper left")

sizes = [2, 3, 4, 8, 16]
factors = [answers([0.5, 0.5], [1, 0], size, gv.catalogue.get("dr_grpo")).bias_factor for size in sizes]
found(second, sizes, factors, style="o-")
claimed(second, sizes, np.ones(5))
panel(second, "A17b", "group size G", "bias factor of E g\n(1: unbiased)", 0, 1.2, loc="lower right")
second.set_xticks([2, 4, 8, 16])

few = np.linspace(0.1, 0.9, 9)
bias = [abs(answers([q, 1 - q], [1, 0], 2, RLOO).bias_factor - 1) for q in few]
claimed(third, few, np.ones(9), "error of the baseline: variance / Var(r)")
found(third, few, bias, "error of E g / ‖∇J‖")
panel(third, "A18b", "success rate p of the prompt", "relative size", -0.1, 1.6, loc="upper center")
plt.show()

# %% [markdown]
# ## Clips and lengths
#
# - **A19b** "Clipped, the gradient stays one factor times the difference of the two log-probabilities' gradients." Beyond the clip only the wrong rollout is pushed.
# - **A20** "The length-normalised score has mean zero." It is the slope of $\mathrm{E}[1/|o|]$, and lengths depend on the policy.
# - **B2b** (2503.20783, read further than it says) "Without $1/|o|$ per rollout any aggregation is free of length bias." Dividing by all tokens of the group is not. Rewards 0, 2 for two tokens, 1 for stopping.

# %%
first, second, third = row(3)
moved = np.exp(np.linspace(np.log(0.6), np.log(1.6), 81))
batch = gv.Batch([[1.0, 0.0]], jnp.full((1, 2, 1), jnp.log(0.25)))
near = [batch.logp_old.at[0, 0, 0].add(np.log(ratio)) for ratio in moved]
weights = np.array([gv.token_weights(gv.catalogue.get("grpo"), logp, batch)[0, :, 0] for logp in near])
found(first, moved, weights[:, 0], "pull on the right one")
claimed(first, moved, -weights[:, 1], "push on the wrong one,\nclaimed equal")
panel(first, "A19b", "ratio π / π_old of the right rollout", "token weight", -0.05, 1.1, loc="upper left")

stop = np.linspace(0.02, 0.98, 25)  # the chance to stop after one token
per_token = plain(advantage=gv.advantages.raw, aggregate=gv.aggregates.sequence_token_mean)
slopes = short_or_long(1 - stop, 0.5, [1, 1, 1], 1, per_token)[0][:, 1]
assert np.allclose(slopes, stop * (1 - stop) / 2)  # of E[1/|o|] = (1 + stop)/2, by the logit of stopping
found(second, stop, slopes)
claimed(second, stop, 0 * stop)
panel(
    second,
    "A20",
    "chance to stop after one token",
    "E[score / length]\n(by the logit of stopping)",
    -0.02,
    0.18,
)

centred = functools.partial(
    gv.compose, advantage=gv.advantages.group_mean, surrogate=gv.surrogates.likelihood
)
for name, draw, label in (
    ("token_mean", found, "found: token mean"),
    ("sequence_token_sum", claimed, "claimed: as the sum"),
):
    rule = centred(aggregate=getattr(gv.aggregates, name))
    draw(third, stop, degrees_off(*short_or_long(1 - stop, 1 / 3, [0, 2, 1], 2, rule)), label)
panel(third, "B2b", "chance to stop after one token", "angle between E g and ∇J (degrees)", -0.2, 3.8)
plt.show()

# %% [markdown]
# ## More on lengths
#
# - **B17c** (2505.23585) "OPO's length-weighted baseline leaves the gradient unbiased." Not with the own rollout in it.
# - **B20** (2507.18071) "GSPO's sequence ratio is an importance weight." A weight has mean 1; the root of a product of ratios has less (Jensen). From the sampling policy (step 0) to one that goes on with 5/8 and then draws the first kind with 1/10
#   (step 1), and beyond.
# - **B24b** (2506.09477) "As a token loss, $k_2$ has the gradient of the KL of sequences." It never pulls on the first token for
#   what comes after it. The reference goes on with 1/2, then the first kind with 2/3; the policy differs in the latter only.

# %%
first, second, third = row(3)
for name, draw, label in (
    ("opo", found, "found: own included"),
    ("opo_leave_one_out", claimed, "claimed; so if left out"),
):
    angles = degrees_off(*short_or_long(1 - stop, 0.4, [2, 0, 1], 2, gv.catalogue.get(name)))
    draw(first, stop, angles, label)
panel(first, "B17c", "chance to stop after one token", "angle between E g and ∇J (degrees)", -0.2, 3.8)


def chances(a, b):
    return np.array([a * b, a * (1 - b), 1 - a])


steps, lengths = np.linspace(0, 1.2, 13), np.array([2, 2, 1])
old = chances(0.5, 0.5)
ratios = [chances(0.5 + t / 8, 0.5 - 0.4 * t) / old for t in steps]
found(second, steps, [old @ r ** (1 / lengths) for r in ratios], "found: sequence ratio")
claimed(second, steps, [old @ r for r in ratios], "an importance weight")
panel(
    second,
    "B20",
    "step away from the sampling policy",
    "mean under the sampling policy",
    0.7,
    1.05,
    loc="lower left",
)

kind = np.linspace(0.05, 0.95, 19)
k2_loss = plain(
    advantage=gv.advantages.raw, aggregate=gv.aggregates.sequence_token_sum, penalty=gv.penalties.k2
)
in_reward = plain(
    advantage=gv.penalties.kl_in_reward(gv.advantages.raw, beta=1.0),
    aggregate=gv.aggregates.sequence_token_sum,
)
for estimator, draw, label in (
    (k2_loss, found, "found: k₂ per token"),
    (in_reward, claimed, "claimed: as the KL"),
):
    ref = logits_of(np.full(19, 0.5), 2 / 3)
    draw(third, kind, short_or_long(0.5, kind, [0, 0, 0], 1, estimator, ref)[0][:, 1], label)
panel(third, "B24b", "chance of the first kind", "pull on the logit of stopping", loc="upper right")
plt.show()

# %% [markdown]
# ## Normalisation
#
# - **B7a** (2602.02710) "GRPO's weight on a prompt diverges as p tends to 0 or 1." At G rollouts it is at most $\sqrt{G - 1}$.
# - **B8a** (2602.02710) "MaxRL as written follows the truncation of order N of $\log p$." It follows order N - 1. Here N = 4.
# - **B18b** (2501.03262) "What biases is that numerator and denominator depend on each other." An independent, even exact,
#   standard deviation biases too; the group's own at G = 2 does not.

# %%
first, second, third = row(3)
for size, style in ((4, ":"), (16, "-")):
    found(first, rates, gv.studies.bias_curve([GRPO], size, rates)["grpo"], f"found: G = {size}", style)
claimed(first, rates, 1 / np.sqrt(rates * (1 - rates)))
panel(first, "B7a", "success rate p of the prompt", "weight on the prompt", 0, 11, loc="upper center")

maxrl = gv.studies.bias_curve([gv.catalogue.get("maxrl")], 4, rates)["maxrl"]
assert np.allclose(maxrl, sum((1 - rates) ** k for k in range(3)))
found(second, rates, maxrl, "found: order 3")
claimed(second, rates, sum((1 - rates) ** k for k in range(4)), "claimed: order 4")
panel(second, "B8a", "success rate p of the prompt", "weight on the prompt", 0, 4.5)

found(third, rates, 1 / np.sqrt(rates * (1 - rates)), "exact, independent: biased")
found(third, rates, two, "the group's own, G = 2: none", "-.", color="C2")
panel(third, "B18b", "success rate p of the prompt", "weight on the prompt", 0, 12, loc="upper center")
plt.show()

# %% [markdown]
# ## Given a group
#
# - **B15b** (2607.00152) "The size of the update is the group's standard deviation." Four answers, scores 4 and -3 (right), 0
#   and -1 (wrong), G = 4: one success moves more than two.
# - **B13b** (2601.08521) "Given the own reward too, advantages turn from too small to too large at p = 1/2." At G = 3 a right
#   rollout's turn at $1/\sqrt{3}$, a wrong one's at $1 - 1/\sqrt{3}$.
# - **B3b** (2603.01162) "Twice the projected kernel is $s(r - J)$." The gradient itself is missing. Two answers, the right one.

# %%
first, second, third = row(3)
four, squares = np.array([4.0, -3.0, 0.0, -1.0]), {1: [], 2: [], 3: []}
for group in itertools.product(range(4), repeat=4):
    rewards = np.array([[float(k < 2) for k in group]])
    if 0 < rewards.sum() < 4:
        update = np.asarray(gv.advantages.standardised(rewards, eps=0.0))[0] @ four[list(group)] / 4
        squares[int(rewards.sum())].append(update**2)
k = np.array([1, 2, 3])
sizes = np.array([np.sqrt(np.mean(squares[n])) for n in k])
found(first, k, sizes / sizes[1], style="o-")
claimed(first, k, np.sqrt(k * (4 - k)) / 2, "claimed: std of rewards")
panel(
    first,
    "B15b",
    "right rollouts in the group of 4",
    "root mean square update\n(1 for two)",
    0.5,
    1.4,
    loc="upper right",
)
first.set_xticks(k)

p = np.linspace(0.01, 0.99, 99)
right = 1 - ((1 - p) ** 2 * 1 + 2 * p * (1 - p) * 2) / ((1 - p) ** 2 + 2 * p * (1 - p)) / 3
wrong = -(2 * p * (1 - p) * 1 + p**2 * 2) / (2 * p * (1 - p) + p**2) / 3
found(second, p, right - (1 - p), "a right rollout's")
found(second, p, wrong + p, "a wrong one's", ":")
second.axvline(0.5, ls="--", color="C1", lw=2, label="claimed turn")
second.axhline(0, color="grey", lw=0.8)
panel(
    second,
    "B13b",
    "success rate p (G = 3)",
    "mean advantage, less the true one",
    -0.75,
    0.75,
    loc="upper left",
)

scores = np.stack([1 - p, -p])  # of the right and of the wrong answer, by its logit
kernel = 0.5 * (1 - 0) * (scores[0] - scores[1])
found(third, p, 2 * (1 - p) * kernel)
claimed(third, p, scores[0] * (1 - p))
panel(third, "B3b", "success rate p", "2 h₁ of the right answer", 0, 1.1)
plt.show()

# %% [markdown]
# ## Samples, tables, step sizes
#
# - **B26b** (1906.10652, common practice) "A coefficient may be estimated from the samples it is used on." Bias of order 1/N;
#   none where the own sample is left out.
# - **A21e** "Each Mean@32 entry is a count of 32 samples per problem." Of five entries the nearest possible value (bar)
#   rounds to another number; it lies where truncation would put it.
# - **A22b** "Under Adam the linear rule keeps the size of the update." Adam divides the batch size out: eightfold rate, eightfold step.

# %%
first, second, third = row(3)
chance, reward = np.array([1 / 2, 1 / 3, 1 / 6]), np.array([0.0, 1.0, 2.5])
scores = np.eye(3) - chance
norms, gradient = (scores**2).sum(1), (chance * reward) @ scores


def bias_of(size, own):
    """Of (r - b) s, with b the sample version of E[r |s|²] / E|s|², from all samples or from the others."""
    drawn = np.array(list(itertools.product(range(3), repeat=size)))
    top, bottom = (norms * reward)[drawn], norms[drawn]
    others = [x.sum(1, keepdims=True) - (0 if own else x) for x in (top, bottom)]
    update = ((reward[drawn] - others[0] / others[1])[..., None] * scores[drawn]).mean(1)
    return np.linalg.norm(chance[drawn].prod(1) @ update - gradient) / np.linalg.norm(gradient)


sizes = np.arange(2, 9)
found(first, sizes, [bias_of(n, own=True) for n in sizes], style="o-")
claimed(first, sizes, [bias_of(n, own=False) for n in sizes], "claimed; so if left out")
panel(first, "B26b", "samples N", "bias, relative to ‖∇J‖", -0.05, 0.8)

entries = [
    ("AMC23, 64.60", 40),
    ("AMC23, 61.79", 40),
    ("AIME25, 24.89", 30),
    ("AIME25, 26.97", 30),
    ("Minerva, 21.95", 272),
]
for line, (entry, problems) in enumerate(entries):
    printed = float(entry.split()[1])
    possible = 100 * np.arange(32 * problems + 1) / (32 * problems) - printed
    near = possible[abs(possible) < 0.014]
    second.plot(
        near, [line] * len(near), "|", ms=13, mew=2.5, color="C0", label="possible" if not line else None
    )
    assert not (abs(possible) <= 0.005).any()
second.axvspan(-0.005, 0.005, color="C1", alpha=0.3, label="rounds to the entry")
second.set_yticks(range(5), [entry for entry, _ in entries])
second.set_xlim(-0.016, 0.016)
panel(
    second,
    "A21e",
    "percentage points from the entry",
    "",
    4.6,
    -1.9,
    loc="upper left",
    ncols=2,
    columnspacing=0.8,
)

factors, gradient = np.arange(1, 9), jnp.array([1.0, 1 / 3])
steps = []
for factor in factors:
    adam = optax.adam(1e-6 * factor, eps=1e-12)
    steps.append(float(jnp.linalg.norm(adam.update(gradient, adam.init(gradient))[0])))
found(third, factors, np.array(steps) / steps[0], style="o-")
claimed(third, factors, np.ones(8))
panel(third, "A22b", "batch and rate, multiplied by", "first update, multiplied by", 0)
plt.show()

# %% [markdown]
# ## Neighbours
#
# - **C2b** (2605.06139, as it is easily read) "A listwise step improves the policy." The sampled pair's reward rises; chances
#   1/2, 1/4, 1/4, rewards 1/10, 0, 1, pair (1, 2): the unsampled good answer loses mass, and J falls.
# - **C4b** (2605.08327) "Its term $\beta(\log\pi - \log\pi_{\text{ref}})$ is a KL penalty." Descended over the enumerated
#   actions it drives the policy away, from the reference itself.

# %%
first, second = row(2, width=4.2)
t = np.linspace(0, 1, 21)
raw = np.array([1 / 2, 1 / 4, 1 / 4]) * np.stack([2**t, 2.0**-t, np.ones(21)], 1)
new, rewards = raw / raw.sum(1, keepdims=True), np.array([0.1, 0.0, 1.0])
shares = raw[:, :2] / np.array([1 / 2, 1 / 4])
listwise = (shares / shares.sum(1, keepdims=True)) @ rewards[:2]
assert np.isclose((new @ rewards)[-1], 14 / 55)
found(first, t, new @ rewards / 0.3, "found: J of the policy")
claimed(first, t, listwise / listwise[0], "reward of the sampled pair")
panel(first, "C2b", "share of the projection's step", "reward (1 at the start)", 0.7, 1.9, loc="upper left")

ref = jnp.log(jnp.array([0.75, 0.25]))


def term(logits):
    """k1 over both actions, enumerated with equal weight."""
    return gv.penalties.k1(logp=jax.nn.log_softmax(logits)[None, :, None], logp_ref=ref[None, :, None]).mean()


logits, path = ref, []
for _ in range(41):
    path.append(float(jax.nn.softmax(logits)[0]))
    logits = logits - 0.2 * jax.grad(term)(logits)
found(second, range(41), path)
claimed(second, range(41), [0.75] * 41, "claimed: stays at the reference")
panel(
    second, "C4b", "steps down the term (rate 0.2)", "chance of the first action", 0.5, 1.15, loc="upper left"
)
plt.show()

# %%
missing = {claim.id for claim in claims.values() if claim.verdict == "refuted"} ^ shown
print(len(shown), "claims drawn, missing:", missing or "none")
assert not missing
