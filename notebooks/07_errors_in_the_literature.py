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
# # 7. Errors in the literature, and misreadings to avoid, with a picture of each counterexample
#
# `gradvar prove` checks formal statements about these estimators: proved, conditional, or refuted by an exact counterexample. Here is every
# refuted one, with a picture. **Dashed orange is the statement, solid blue what is so**; nothing is sampled, so there are no intervals.
# A verdict is about the statement. The statement's relation to a source is given separately, and decides in which part it is listed here:
#
# 1. **Errors**: the source states the sentence, or it follows from what the source states. The source's other results are not touched by it.
# 2. **Misreadings and our own questions**: no paper makes the statement. It is one reading of a sentence, or a question that we asked; where
#    a paper says the opposite, that is noted.
#
# `gradvar prove --only ID --verbose` shows what had to be shown for each, and by which routes it was.

# %%
import functools
import itertools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from kit import look, row
from panels import answers, claims, degrees_off, found, logits_of, panel, short_or_long, shown, stated

import gradvar as gv

jax.config.update("jax_enable_x64", True)
look(72)  # thirty panels
refuted = {name: claim for name, claim in claims.items() if claim.verdict == "refuted"}
errors = {name for name, claim in refuted.items() if claim.source.named}
for name, claim in sorted(refuted.items(), key=lambda item: item[0] not in errors):
    print(f"{name:<5} {claim.source.attribution:<32.32}  {claim.title}")

# %% [markdown]
# Two small policies serve for all of it (`panels.py`): `answers`, a softmax over a few answers, and `short_or_long`, rollouts of one or two
# tokens (go on with chance a, then a last token, the first kind with chance b). `gv.measure.exact` enumerates all groups.

# %%
GRPO, RLOO = gv.catalogue.get("grpo", eps=0.0), gv.catalogue.get("rloo")
plain = functools.partial(gv.compose, surrogate=gv.surrogates.likelihood, min_group=1)
rates = np.linspace(0.01, 0.99, 33)
stop = np.linspace(0.02, 0.98, 25)  # the chance to stop after one token

# %% [markdown]
# ## 1. Errors
#
# - **A9** (2510.00977, App. B.2) "At G = 2 the standardised reward follows a Cauchy law." It takes three values; with p = 1/2, a tie has chance 1/2.
# - **A12** (2510.00977, Prop. C.3) "B rollouts have variance Var(g)/B, whatever the group size." Here one prompt with p = 1/2; B = 16.
# - **A14** (2510.00977, App. D.3) "With mean reward r, a share $1 - r^2 - (1 - r)^2$ of pairs is discarded." That share is *kept*, and only if all
#   prompts are equally difficult; the paper's table was computed with the right one. Here r = 1/2.

# %%
first, second, third = row(3, height=3.7)
groups = np.array(list(itertools.product([0.0, 1.0], repeat=2)))
values = np.sort(np.asarray(gv.advantages.standardised(groups, eps=1e-12))[:, 0])
x = np.linspace(-4, 4, 401)
found(first, x, (values[:, None] <= x + 1e-9).mean(0), "found, binary rewards")
stated(first, x, 0.5 + np.arctan(x) / np.pi, "the statement: Cauchy")
panel(first, "A9", "standardised reward of the first", "chance to be at most that", 0, 1.05)

sizes = [2, 4, 8, 16]
variance = [answers([0.5, 0.5], [1, 0], size, RLOO).trace_cov * size / 16 for size in sizes]
found(second, sizes, variance, style="o-")
stated(second, sizes, [variance[0]] * 4)
panel(second, "A12", "group size G, at 16 rollouts", "tr Cov (reward² per parameter²)", 0)
second.set_xticks(sizes)

spread = np.linspace(0, 1, 50)  # from equally difficult prompts to half of them always and half never solved
p = 0.5 + 0.5 * np.stack([spread, -spread])
found(third, p.var(0), (p**2 + (1 - p) ** 2).mean(0))
stated(third, p.var(0), np.full(50, 0.5))
panel(third, "A14", "variance of p between prompts", "discard rate of pairs", 0, 1.05)
plt.show()

# %% [markdown]
# - **A20** (2510.00977, the lemma on scores) "The length-normalised score has mean zero." It is the slope of $\mathrm{E}[1/|o|]$, and lengths depend on the policy.
# - **B20** (2507.18071, implied) "GSPO's sequence ratio is an importance weight." A weight has mean 1; the root of a product of ratios need not (Jensen).
#   From the sampling policy (step 0) to one that goes on with 5/8 and then draws the first kind with 1/10 (step 1), and beyond.
# - **B15b** (2607.00152, abstract) "The size of the update is the group's standard deviation." Four answers, scores 4 and -3 (right), 0
#   and -1 (wrong), G = 4: one success moves more than two. As a statement on the contrast's coefficient it is right (B15a).

# %%
first, second, third = row(3, height=3.7)
per_token = plain(advantage=gv.advantages.raw, aggregate=gv.aggregates.sequence_token_mean)
slopes = short_or_long(1 - stop, 0.5, [1, 1, 1], 1, per_token)[0][:, 1]
assert np.allclose(slopes, stop * (1 - stop) / 2)  # of E[1/|o|] = (1 + stop)/2, by the logit of stopping
found(first, stop, slopes)
stated(first, stop, 0 * stop)
panel(
    first,
    "A20",
    "chance to stop after one token",
    "E[score / length]\n(by the logit of stopping)",
    -0.02,
    0.18,
)


def chances(a, b):
    return np.array([a * b, a * (1 - b), 1 - a])


steps, lengths = np.linspace(0, 1.2, 13), np.array([2, 2, 1])
old = chances(0.5, 0.5)
ratios = [chances(0.5 + t / 8, 0.5 - 0.4 * t) / old for t in steps]
found(second, steps, [old @ r ** (1 / lengths) for r in ratios], "found: sequence ratio")
stated(second, steps, [old @ r for r in ratios], "an importance weight")
panel(second, "B20", "step away from the sampling policy", "mean under the sampling policy", 0.7, 1.05)

four, squares = np.array([4.0, -3.0, 0.0, -1.0]), {1: [], 2: [], 3: []}
for group in itertools.product(range(4), repeat=4):
    rewards = np.array([[float(k < 2) for k in group]])
    if 0 < rewards.sum() < 4:
        update = np.asarray(gv.advantages.standardised(rewards, eps=0.0))[0] @ four[list(group)] / 4
        squares[int(rewards.sum())].append(update**2)
k = np.array([1, 2, 3])
sizes = np.array([np.sqrt(np.mean(squares[n])) for n in k])
found(third, k, sizes / sizes[1], style="o-")
stated(third, k, np.sqrt(k * (4 - k)) / 2, "the statement: std of rewards")
panel(third, "B15b", "right rollouts in the group of 4", "root mean square update\n(1 for two)", 0.5, 1.4)
third.set_xticks(k)
plt.show()

# %% [markdown]
# - **B3b** (2603.01162, the Hajek projection) "Twice the projected kernel is $s(r - J)$." The gradient itself is missing; what is built on it
#   survives. Two answers, the right one.
# - **C4b** (2605.08327) "Its term $\beta(\log\pi - \log\pi_{\text{ref}})$ is a KL penalty." Descended over the enumerated
#   actions it drives the policy away, from the reference itself.
# - **R1** (verl's documentation of rollout correction, the row Seq-TIS) "A sequence weight truncated at C gives an unbiased gradient." The cap takes
#   from what the policy likes much more than the sampler did. Two responses, sampled with 9/10 and 1/10, the second one correct.

# %%
first, second, third = row(3, height=3.7)
p = np.linspace(0.01, 0.99, 99)
scores = np.stack([1 - p, -p])  # of the right and of the wrong answer, by its logit
kernel = 0.5 * (1 - 0) * (scores[0] - scores[1])
found(first, p, 2 * (1 - p) * kernel)
stated(first, p, scores[0] * (1 - p))
panel(first, "B3b", "success rate p", "2 h₁ of the right answer", 0, 1.1)

ref = jnp.log(jnp.array([0.75, 0.25]))


def term(logits):
    """k1 over both actions, enumerated with equal weight."""
    return gv.penalties.k1(logp=jax.nn.log_softmax(logits)[None, :, None], logp_ref=ref[None, :, None]).mean()


logits, path = ref, []
for _ in range(41):
    path.append(float(jax.nn.softmax(logits)[0]))
    logits = logits - 0.2 * jax.grad(term)(logits)
found(second, range(41), path)
stated(second, range(41), [0.75] * 41, "the statement: stays at the reference")
panel(second, "C4b", "steps down the term (rate 0.2)", "chance of the first action", 0.5, 1.02)

sampler, policy = np.array([9 / 10, 1 / 10]), np.array([1 / 2, 1 / 2])
caps = np.linspace(1, 8, 36)
pull = np.array([0, 1]) * (np.array([0, 1]) - policy[1])  # reward times score, by the second logit
capped = [(sampler * np.minimum(policy / sampler, cap)) @ pull for cap in caps]
assert np.isclose(capped[5], 1 / 10)  # C = 2
found(third, caps, capped)
stated(third, caps, np.full(36, policy @ pull))
panel(third, "R1", "cap C of the weight (5 at most)", "mean gradient by a logit", 0, 0.3)
plt.show()

# %%
print(len(shown), "errors drawn, missing or not one:", errors ^ shown or "none")
assert shown == errors

# %% [markdown]
# ## 2. Misreadings and our own questions
#
# What follows is nobody's claim. The pictures are worth a look all the same: each statement is easily believed.
#
# - **A5** (our question) Does REINFORCE with a constant baseline not pull all right rollouts up and push all wrong ones down? It does, one by one.
# - **A7b** (one reading of Prop. 4.1 of 2510.00977) Right and wrong rollouts of a prompt covary, so the contrast lowers the variance. Independent
#   rollouts do not covary, as the paper's App. B.8 says: it adds.
# - **A7c** (one reading of the same) A positive covariance *between* prompts puts c = 1 inside the interval that lowers the variance. Wrong answers
#   that differ within a prompt end it sooner. Two prompts, p = 1/4 and 3/4.

# %%
first, second, third = row(3, height=3.7)
constant = plain(advantage=gv.advantages.given, aggregate=gv.aggregates.sequence_token_sum)
b = np.linspace(0.01, 0.99, 15)
none = jnp.zeros((15, 1, 1))  # fifteen prompts with a single rollout each
one = [
    15 * gv.token_weights(constant, none, gv.Batch(np.full((15, 1), r), none, baseline=b)) for r in (1.0, 0.0)
]
found(first, b, np.ravel(one[0]), "a right rollout is pulled up")
found(first, b, np.ravel(one[1]), "a wrong one pushed down", ":")
first.axhline(0, color="grey", lw=0.8)
panel(first, "A5", "constant baseline b", "weight of a single rollout", -1.1, 1.1)

c, scores = np.linspace(0, 1, 11), np.eye(4) - 0.25  # four equally likely answers, two of them right
pairs = np.array([[x - k * y for x in scores[:2] for y in scores[2:]] for k in c])
found(second, c, pairs.var(1).sum(-1), "found: no covariance")
stated(second, c, 0.5 - 0.5 * c + 0.5 * c**2, "if they correlated by 1/2")
panel(second, "A7b", "weight c of the wrong rollout", "variance of the contrast", 0, 1.05)


def end_of_interval(scatter):
    """2 Cov / Var(g-) over two prompts, whose wrong answers also differ by plus or minus ``scatter``."""
    p = np.array([1 / 4, 3 / 4])
    right = np.stack([1 - p, 0 * p], -1)[:, None]  # [prompt, wrong answer, coordinate]
    wrong = np.stack(np.broadcast_arrays(-p[:, None], [scatter, -scatter]), -1)
    covariance = (right * wrong).mean((0, 1)) - right.mean((0, 1)) * wrong.mean((0, 1))
    assert np.isclose(covariance.sum(), 1 / 16)
    return 2 * covariance.sum() / wrong.var((0, 1)).sum()


scatters = np.linspace(0, 1, 41)
ends = np.array([end_of_interval(h) for h in scatters])
assert np.isclose(ends[-1], 2 / 17)
found(third, scatters, ends, "found: where it ends")
stated(third, scatters, np.ones(41), "the statement: not before 1")
panel(third, "A7c", "how far wrong answers differ", "end of the interval for c", 0, 2.6)
plt.show()

# %% [markdown]
# - **A11b** (one reading of Prop. C.1 of 2510.00977) Across prompts, two rollouts estimate the direction that sixteen do. Sixteen weigh hard and easy
#   prompts up to twice as much as middling ones; the paper says so itself.
# - **A11c** (our question) For one prompt and any rewards all group sizes point along $\nabla J$. Rewards 0, 1, 10 with chances 1/2, 1/3, 1/6. (The paper's setting is binary rewards.)
# - **A13b** (our question) Pairs find a group with a signal at least as often as one large group. Strictly less often, at equal rollouts.

# %%
first, second, third = row(3, height=3.7)
two, sixteen = (gv.studies.bias_curve([GRPO], size, rates)["grpo"] for size in (2, 16))
found(first, rates, sixteen / sixteen[16], "found: G = 16")
stated(first, rates, two / two[16], "the statement: as G = 2")
panel(first, "A11b", "success rate p of the prompt", "weight on the prompt\n(1 at p = 1/2)", 0, 2.1)

sizes = [2, 3, 4, 6, 8, 12]
cosines = [answers([1 / 2, 1 / 3, 1 / 6], [0, 1, 10], size, GRPO).cosine for size in sizes]
found(second, sizes, cosines, style="o-")
stated(second, sizes, np.ones(6))
panel(second, "A11c", "group size G", "cosine between E g and ∇J", 0.7, 1.05)
second.set_xticks([2, 4, 8, 12])

m = np.arange(1, 6)
found(third, 2 * m, 1 - 2 * 0.5 ** (2 * m), "found: one group", "o-")
stated(third, 2 * m, 1 - 0.5**m, "the statement: pairs do as well")
panel(third, "A13b", "rollouts of a prompt (p = 1/2)", "chance of a mixed group", 0, 1.05)
third.set_xticks(2 * m)
plt.show()

# %% [markdown]
# - **A15b** (our question) Retrying until the pair is mixed keeps the direction. It divides each prompt's weight by $2p(1-p)$. (The paper takes a new prompt, which keeps it: A15a.)
# - **A16** (our question) For any rewards the two-rollout update has an objective. Rewards 0, 1, 2: the work along a closed loop of logits is not zero, so there is nothing that it climbs.
#   (The mean-centred pair has one: its work is zero.)
# - **A17b** (one reading of a machine-written review with a simulated rebuttal) With the group's mean as baseline the gradient is unbiased at any G. It is $(G-1)/G$ of it.

# %%
first, second, third = row(3, height=3.7)
pair = gv.studies.bias_curve([RLOO], 2, rates)["rloo"]
found(first, rates, pair / (2 * rates * (1 - rates)), "found: retried")
stated(first, rates, pair, "the statement: as without")
panel(first, "A15b", "success rate p of the prompt", "weight on the prompt", 0, 12)

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
found(second, radii, [work(standardised_pair, r) for r in radii], "standardised pair")
found(second, radii, [work(centred_pair, r) for r in radii], "mean-centred pair", ":", color="C2", lw=3)
stated(second, radii, 0 * radii)
panel(second, "A16", "radius of the loop (logits)", "work along the loop", -0.05, 1.05)

sizes = [2, 3, 4, 8, 16]
factors = [answers([0.5, 0.5], [1, 0], size, gv.catalogue.get("dr_grpo")).bias_factor for size in sizes]
found(third, sizes, factors, style="o-")
stated(third, sizes, np.ones(5))
panel(third, "A17b", "group size G", "bias factor of E g\n(1: unbiased)", 0, 1.2)
third.set_xticks([2, 4, 8, 16])
plt.show()

# %% [markdown]
# - **A18b** (the same machine-written review) At n = 2 the baseline's error alters the direction of the expected gradient. The error is as large as said and turns no mean.
# - **A19b** (the same) Clipped, the gradient stays one factor times the difference of the two log-probabilities' gradients. Beyond the clip only the wrong rollout is pushed.
# - **B2b** (our question, after 2503.20783) Without $1/|o|$ per rollout any aggregation is free of length bias. Dividing by all tokens of the group is not. Rewards 0, 2 for two tokens, 1 for stopping.

# %%
first, second, third = row(3, height=3.7)
few = np.linspace(0.1, 0.9, 9)
bias = [abs(answers([q, 1 - q], [1, 0], 2, RLOO).bias_factor - 1) for q in few]
stated(first, few, np.ones(9), "error of the baseline: variance / Var(r)")
found(first, few, bias, "error of E g / ‖∇J‖")
panel(first, "A18b", "success rate p of the prompt", "relative size", -0.1, 1.1)

moved = np.exp(np.linspace(np.log(0.6), np.log(1.6), 81))
batch = gv.Batch([[1.0, 0.0]], jnp.full((1, 2, 1), jnp.log(0.25)))
near = [batch.logp_old.at[0, 0, 0].add(np.log(ratio)) for ratio in moved]
weights = np.array([gv.token_weights(gv.catalogue.get("grpo"), logp, batch)[0, :, 0] for logp in near])
found(second, moved, weights[:, 0], "pull on the right one")
stated(second, moved, -weights[:, 1], "push on the wrong one,\nequal by the statement")
panel(second, "A19b", "ratio π / π_old of the right rollout", "token weight", -0.05, 1.1)

centred = functools.partial(
    gv.compose, advantage=gv.advantages.group_mean, surrogate=gv.surrogates.likelihood
)
for name, draw, label in (
    ("token_mean", found, "found: token mean"),
    ("sequence_token_sum", stated, "the statement: as the sum"),
):
    rule = centred(aggregate=getattr(gv.aggregates, name))
    draw(third, stop, degrees_off(*short_or_long(1 - stop, 1 / 3, [0, 2, 1], 2, rule)), label)
panel(third, "B2b", "chance to stop after one token", "angle between E g and ∇J (degrees)", -0.2, 3.8)
plt.show()

# %% [markdown]
# - **B13b** (one reading of Theorem 1 of 2601.08521) Given the rollout's reward too, advantages turn from too small to too large at p = 1/2. At G = 3 a right
#   rollout's turn at $1/\sqrt{3}$, a wrong one's at $1 - 1/\sqrt{3}$.
# - **B17c** (our question, after 2505.23585) OPO's length-weighted baseline leaves the update along the gradient. Not with the rollout's own reward in it.
# - **B18b** (our question, after 2501.03262) A divisor that depends on the rollouts turns the update away. The group's own deviation at G = 2 weighs
#   all prompts the same; the exact one, which depends on nothing, does not.

# %%
first, second, third = row(3, height=3.7)
p = np.linspace(0.01, 0.99, 99)
right = 1 - ((1 - p) ** 2 * 1 + 2 * p * (1 - p) * 2) / ((1 - p) ** 2 + 2 * p * (1 - p)) / 3
wrong = -(2 * p * (1 - p) * 1 + p**2 * 2) / (2 * p * (1 - p) + p**2) / 3
found(first, p, right - (1 - p), "a right rollout's")
found(first, p, wrong + p, "a wrong one's", ":")
first.axvline(0.5, ls="--", color="C1", lw=2, label="the statement's turn")
first.axhline(0, color="grey", lw=0.8)
panel(first, "B13b", "success rate p (G = 3)", "mean advantage, less the true one", -0.75, 0.75)

for name, draw, label in (
    ("opo", found, "found: own included"),
    ("opo_leave_one_out", stated, "the statement; so if left out"),
):
    angles = degrees_off(*short_or_long(1 - stop, 0.4, [2, 0, 1], 2, gv.catalogue.get(name)))
    draw(second, stop, angles, label)
panel(second, "B17c", "chance to stop after one token", "angle between E g and ∇J (degrees)", -0.2, 3.8)

found(third, rates, 1 / np.sqrt(rates * (1 - rates)), "the exact one: uneven")
found(third, rates, two, "the group's own, G = 2: even", "-.", color="C2")
panel(third, "B18b", "success rate p of the prompt", "weight on the prompt", 0, 12)
plt.show()

# %% [markdown]
# - **B24b** (a misreading that 2506.09477 itself warns of) As a token loss, $k_2$ has the gradient of the KL of sequences. It never pulls on the first token for
#   what comes after it. The reference goes on with 1/2, then the first kind with 2/3; the policy differs in the latter only.
# - **B26b** (our question) A control variate's coefficient may be estimated from the samples it is used on. Bias of order 1/N; none where the own sample is left out.
# - **C2b** (one reading of 2605.06139, which says *listwise*) A listwise step improves the policy. The sampled pair's reward rises; chances
#   1/2, 1/4, 1/4, rewards 1/10, 0, 1, pair (1, 2): the unsampled good answer loses mass, and J falls.

# %%
first, second, third = row(3, height=3.7)
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
    (in_reward, stated, "the statement: as the KL"),
):
    ref = logits_of(np.full(19, 0.5), 2 / 3)
    draw(first, kind, short_or_long(0.5, kind, [0, 0, 0], 1, estimator, ref)[0][:, 1], label)
panel(first, "B24b", "chance of the first kind", "pull on the logit of stopping")

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
found(second, sizes, [bias_of(n, own=True) for n in sizes], style="o-")
stated(second, sizes, [bias_of(n, own=False) for n in sizes], "the statement; so if left out")
panel(second, "B26b", "samples N", "bias, relative to ‖∇J‖", -0.05, 0.8)

t = np.linspace(0, 1, 21)
raw = np.array([1 / 2, 1 / 4, 1 / 4]) * np.stack([2**t, 2.0**-t, np.ones(21)], 1)
new, rewards = raw / raw.sum(1, keepdims=True), np.array([0.1, 0.0, 1.0])
shares = raw[:, :2] / np.array([1 / 2, 1 / 4])
listwise = (shares / shares.sum(1, keepdims=True)) @ rewards[:2]
assert np.isclose((new @ rewards)[-1], 14 / 55)
found(third, t, new @ rewards / 0.3, "found: J of the policy")
stated(third, t, listwise / listwise[0], "reward of the sampled pair")
panel(third, "C2b", "share of the projection's step", "reward (1 at the start)", 0.7)
plt.show()

# %% [markdown]
# - **R3** (our question, of the released code of 2505.22617) kl-cov changes the same tokens however a batch is cut into micro-batches. A share of the
#   tokens of each call is taken, and one at least. 4096 tokens, the share 1/512.
# - **R5** (our question) Leave-one-out stays unbiased with a length penalty that is scaled within the group. A rollout moves its siblings' penalties,
#   too. Two texts of one and three tokens, no reward, half of the length over the longer one of the two.
# - **R11** (our question) A correction between engine and trainer that cuts or drops weights changes the size of the mean gradient, and not its
#   direction. With three responses it turns. The engine draws with chances 1/2, 3/8, 1/8, the policy with 1/4, 1/4, 1/2; rewards 1, 2, 4.

# %%
first, second, third = row(3, height=3.7)
cuts = 2 ** np.arange(7)
changed = [sum(max(1, int(len(call) / 512)) for call in np.split(np.arange(4096), m)) for m in cuts]
found(first, cuts, changed, style="o-")
stated(first, cuts, [changed[0]] * 7)
panel(first, "R3", "micro-batches", "tokens that kl-cov changes", 0, 70)

pairs = np.array(list(itertools.product(range(2), repeat=2)))  # which text each of the two rollouts is
lengths = np.array([1.0, 3.0])[pairs]
shaped = -lengths / lengths.max(1, keepdims=True) / 2
baseline_free = np.asarray(gv.advantages.leave_one_out(shaped))
estimates, slopes = [], []
for short in stop:
    score = np.array([1 - short, -short])[pairs]  # by the logit of the short text
    weight = np.array([short, 1 - short])[pairs].prod(1)
    estimates.append(weight @ (baseline_free * score).mean(1))
    slopes.append(weight @ (shaped.mean(1) * score.sum(1)))
assert np.isclose(np.interp(0.5, stop, estimates), 1 / 12)
found(second, stop, estimates, "found: leave-one-out")
stated(second, stop, slopes, "the statement: the gradient")
panel(second, "R5", "chance of the short text", "mean update by its logit", -0.1, 0.2)

engine, policy = np.array([1 / 2, 3 / 8, 1 / 8]), np.array([1 / 4, 1 / 4, 1 / 2])
ratios = policy / engine
pulls = np.array([1.0, 2.0, 4.0])[:, None] * (np.eye(3) - policy)  # [response, logit]
edges = np.linspace(1, 5, 41)[:, None]
truth = np.tile(policy @ pulls, (41, 1))
for weights, label, style in (
    (np.minimum(ratios, edges), "found: cut at C", "-"),
    (np.where(ratios <= edges, ratios, 0), "found: dropped above C", ":"),
):
    found(third, edges[:, 0], degrees_off((engine * weights) @ pulls, truth), label, style)
stated(third, edges[:, 0], np.zeros(41))
panel(third, "R11", "bound C of the weight (4 at most)", "angle to the gradient (degrees)", -10, 190)
plt.show()

# %%
missing = set(refuted) ^ shown
print(len(shown), "claims drawn, missing:", missing or "none")
assert not missing
