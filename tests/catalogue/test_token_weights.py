"""Token weights of every catalogue entry against NumPy ones, off policy and in every region of its clip.

The weights are written here from the papers' equations: an advantage, what the surrogate's derivative makes
of it in the token's region, and the aggregation's factor. Nothing is shared with the package.
"""

import numpy as np
import pytest

from gradvar import catalogue

from ..pieces.numpy_formulas import (
    bnpo_scipy,
    ebpo_loop,
    kalman_loop,
    loo_loop,
    opo_loop,
    pass_at_k_loop,
    pass_at_k_training_loop,
)
from .lawbook import close, make_case, value_and_weights

RATIOS = np.array([0.45, 0.7, 0.79, 0.81, 0.95, 1.0, 1.05, 1.19, 1.21, 1.27, 1.29, 1.45, 1.6, 2.9, 3.1, 5.2])


def spread(seed, rewards):
    """A case whose token ratios lie in all regions."""
    case = make_case(seed, rewards)
    ratio = np.random.default_rng(seed + 1000).choice(RATIOS, size=case["logp"].shape)
    return case | {"logp": case["logp_old"] + np.log(ratio)}


BINARY = spread(10, [[1, 0, 0, 1], [0, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]])
GRADED = spread(11, [[0, 0.25, 0.5, 2], [1, 0, 0.75, 0], [0, 0, 0, 3], [0.5, 0.5, 0, 1]])
NEAR = GRADED | {"logp": GRADED["logp_old"] + 3e-3 * np.random.default_rng(12).normal(size=(4, 4, 5))}
CASES = (BINARY, GRADED, NEAR)


# ---- advantages: case -> [Q, G] or [Q, G, T]


def r(case):
    return case["rewards"]


def centred(case):
    return r(case) - r(case).mean(1, keepdims=True)


def standardised(case, ddof=0, eps=1e-6):
    return centred(case) / (r(case).std(1, ddof=ddof, keepdims=True) + eps)


def over_batch(a, ddof=0, eps=1e-8):
    return (a - a.mean()) / (a.std(ddof=ddof) + eps)


def over_mean(case):
    mean = r(case).mean(1, keepdims=True)
    return np.where(mean > 0, centred(case) / np.where(mean > 0, mean, 1), 0.0)


def softmax(case, temperature=0.3):
    e = np.exp(r(case) / temperature)
    return 4 * e / e.sum(1, keepdims=True) - 1


def rescaled(case):
    return centred(case) * len(r(case)) / np.sum(r(case).std(1) > 0)


def above_the_middle(case):
    low, high = r(case).min(1, keepdims=True), r(case).max(1, keepdims=True)
    return (2 * r(case) > low + high).astype(float)


def decoupled(case):
    p = case["reward_parts"]
    a = ((p - p.mean(1, keepdims=True)) / (p.std(1, keepdims=True) + 1e-6)).sum(-1)
    return a / (a.std() + 1e-6)


def value_advantage(case):
    return r(case)[..., None] - case["values"]


# ---- surrogates: (advantages [Q, G, T], case) -> d value / d logp


def ratio_of(case):
    return np.exp(case["logp"] - case["logp_old"])


def plain(a, case):
    return a


def clip(low=0.2, high=0.2, cap=np.inf):
    def weights(a, case):
        rho = ratio_of(case)
        beyond = ((a > 0) & (rho > 1 + high)) | ((a < 0) & ((rho < 1 - low) | (rho > cap)))
        return np.where(beyond, 0.0, a * rho)

    return weights


def sequence_ratio(case):
    change = np.where(case["mask"], case["logp"] - case["logp_old"], 0).sum(-1) / case["lengths"]
    return np.exp(change)[..., None]


def sequence_clip(a, case, low=3e-4, high=4e-4):
    s = sequence_ratio(case)
    beyond = ((a > 0) & (s > 1 + high)) | ((a < 0) & (s < 1 - low))
    return np.where(beyond, 0.0, a * s)


def clipped_weight(a, case):
    return a * np.clip(ratio_of(case), 0.0, 5.0)


def geometric(a, case):
    change = case["logp"] - case["logp_old"]
    kept = np.where(a >= 0, np.minimum(change, 0.4), np.maximum(change, -0.4))
    mean = np.where(case["mask"], kept, 0).sum(-1) / case["lengths"]
    return np.where(kept == change, a * np.exp(mean)[..., None], 0.0)


def gate(a, case):
    tau = np.where(a > 0, 1.0, 1.05)
    s = 1 / (1 + np.exp(-tau * (ratio_of(case) - 1)))
    return a * ratio_of(case) * 4 * s * (1 - s)


# ---- aggregations: case -> the factor of each token


def by_sequence(case):
    return np.full(case["mask"].shape, 1 / r(case).size)


def by_length(case):
    return by_sequence(case) / case["lengths"][..., None]


def by_tokens(case):
    return np.full(case["mask"].shape, 1 / case["mask"].sum())


def by_mixed_tokens(case):
    mixed = r(case).std(1) > 0
    return np.broadcast_to(mixed[:, None, None] / case["mask"][mixed].sum(), case["mask"].shape)


COMPOSED = {
    "reinforce": (r, plain, by_sequence),
    "reinforce_best_constant": (lambda c: r(c) - c["baseline"][:, None], plain, by_sequence),
    "remax": (lambda c: r(c) - c["greedy_rewards"][:, None], plain, by_sequence),
    "rloo": (lambda c: loo_loop(r(c)), plain, by_sequence),
    "dr_grpo": (centred, clip(), by_sequence),
    "grpo": (standardised, clip(), by_length),
    "grpo_sample_std": (lambda c: standardised(c, ddof=1), clip(), by_length),
    "reinforce_pp": (lambda c: over_batch(r(c)), clip(), by_length),
    "reinforce_pp_baseline": (lambda c: over_batch(centred(c)), clip(), by_length),
    "opo": (lambda c: opo_loop(r(c), c["lengths"], True), plain, by_sequence),
    "opo_leave_one_out": (lambda c: opo_loop(r(c), c["lengths"], False), plain, by_sequence),
    "ppo": (value_advantage, clip(), by_tokens),
    "ppo_dual_clip": (value_advantage, clip(cap=3.0), by_tokens),
    "dapo": (standardised, clip(0.2, 0.28), by_mixed_tokens),
    "gspo": (standardised, sequence_clip, by_length),
    "gspo_token": (standardised, sequence_clip, by_length),
    "cispo": (standardised, clipped_weight, by_tokens),
    "gmpo": (standardised, geometric, by_length),
    "sapo": (standardised, gate, by_length),
    "gpg": (rescaled, plain, by_tokens),
    "maxrl": (over_mean, plain, by_sequence),
    "softmax": (softmax, plain, by_sequence),
    "pass_at_k": (lambda c: pass_at_k_loop(r(c), 2), plain, by_sequence),
    "pass_at_k_standardised": (lambda c: pass_at_k_training_loop(above_the_middle(c), 2), clip(), by_length),
    "bnpo": (lambda c: bnpo_scipy(r(c)), clip(), by_length),
    "krpo": (lambda c: kalman_loop(r(c)), clip(), by_length),
    "ebpo": (lambda c: ebpo_loop(r(c)), clip(), by_length),
    "spo": (lambda c: over_batch(r(c) - c["baseline"][:, None], ddof=1), clip(), by_tokens),
    "gdpo": (decoupled, clip(), by_length),
}


def composed_weights(name, case):
    a, surrogate, factor = (part for part in COMPOSED[name])
    a = a(case)
    a = np.broadcast_to(a[..., None] if a.ndim == 2 else a, case["mask"].shape)
    return np.where(case["mask"], factor(case) * surrogate(a, case), 0.0)


# ---- whole objectives, pair by pair


def pairs(case):
    for q in range(4):
        for i in range(4):
            for j in range(4):
                if r(case)[q, i] > r(case)[q, j]:
                    yield q, i, j


def summed(case, reference):
    return np.where(case["mask"], case["logp"] - case[reference], 0).sum(-1)


def preference_weights(case, slope):
    """slope(margin): the derivative of a pair's objective with respect to h_w - h_l."""
    h = summed(case, "logp_ref")
    per_rollout = np.zeros((4, 4))
    for q, i, j in pairs(case):
        push = slope(h[q, i] - h[q, j]) / (4 * 6)
        per_rollout[q, i] += push
        per_rollout[q, j] -= push
    return np.where(case["mask"], per_rollout[..., None], 0.0)


def dpo(case, beta=0.1):
    return preference_weights(case, lambda margin: beta / (1 + np.exp(beta * margin)))


def ipo(case, beta=0.1):
    return preference_weights(case, lambda margin: -2 * (margin - 1 / (2 * beta)))


def pair(case):
    rho = ratio_of(case) / case["lengths"][..., None]
    up = np.where(ratio_of(case) > 1.2, 0.0, rho)
    down = np.where(ratio_of(case) < 0.8, 0.0, rho)
    weights = np.zeros(case["mask"].shape)
    for q, i, j in pairs(case):
        weights[q, i] += 0.5 * up[q, i] / (4 * 6)
        weights[q, j] -= 0.5 * down[q, j] / (4 * 6)
    return np.where(case["mask"], weights, 0.0)


def contrastive(case):
    correct = above_the_middle(case)
    share = correct.mean(1, keepdims=True)
    scale = np.sqrt(share * (1 - share))
    right = scale / np.maximum(correct.sum(1, keepdims=True), 1)
    wrong = -scale / np.maximum((1 - correct).sum(1, keepdims=True), 1)
    a = np.where(correct > 0, right, wrong)
    a = np.broadcast_to(a[..., None], case["mask"].shape)
    return np.where(case["mask"], clip()(a, case) / case["lengths"][..., None] / 4, 0.0)


def group_softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def listwise_target(case):
    std = r(case).std(1, keepdims=True)
    return np.where(std > 0, centred(case) / np.where(std > 0, std, 1), 0.0)


def lpo_forward(case):
    c = group_softmax(listwise_target(case)) - group_softmax(summed(case, "logp_old"))
    return np.where(case["mask"], c[..., None] / 4, 0.0)


def lpo_reverse(case):
    s = summed(case, "logp_old")
    p, d = group_softmax(s), s - listwise_target(case)
    c = -p * (d - (p * d).sum(1, keepdims=True))
    return np.where(case["mask"], c[..., None] / 4, 0.0)


WHOLE = {
    "dpo": dpo,
    "ipo": ipo,
    "grpo_pair": pair,
    "grpo_contrastive": contrastive,
    "lpo_forward": lpo_forward,
    "lpo_reverse": lpo_reverse,
}


@pytest.mark.parametrize("name", catalogue.names())
def test_token_weights(name):
    for number, case in enumerate(CASES):
        if name == "bnpo" and case is not BINARY:
            continue  # rewards in [0, 1]
        found = value_and_weights(catalogue.get(name), case["logp"], case)[1]
        wanted = WHOLE[name](case) if name in WHOLE else composed_weights(name, case)
        assert close(found, wanted), f"case {number}"
        assert np.any(wanted), f"case {number}"


def test_every_entry_is_covered_once():
    assert sorted([*COMPOSED, *WHOLE]) == sorted(catalogue.names())


def test_a_wrong_formula_is_noticed():
    found = value_and_weights(catalogue.get("grpo"), BINARY["logp"], BINARY)[1]
    for wrong in ("grpo_sample_std", "dr_grpo", "dapo", "sapo", "reinforce_pp_baseline"):
        assert not close(found, composed_weights(wrong, BINARY)), wrong


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "reinforce_pp_baseline"])
def test_the_kl_term_is_subtracted_with_its_factor(name):
    """grpo and dr_grpo: k3, derivative 1 - exp(-k); reinforce_pp_baseline: k2, derivative k."""
    k = GRADED["logp"] - GRADED["logp_ref"]
    slope = k if name == "reinforce_pp_baseline" else 1 - np.exp(-k)
    found = value_and_weights(catalogue.get(name, beta=0.3), GRADED["logp"], GRADED)[1]
    pull = np.where(GRADED["mask"], 0.3 * slope * COMPOSED[name][2](GRADED), 0.0)
    assert close(found, composed_weights(name, GRADED) - pull)


def test_reinforce_pp_puts_the_kl_into_the_reward():
    case, mask = NEAR, NEAR["mask"]
    kl = np.where(mask, case["logp_old"] - case["logp_ref"], 0.0)
    to_go = kl[..., ::-1].cumsum(-1)[..., ::-1]
    a = r(case)[..., None] - 0.2 * to_go
    a = (a - a[mask].mean()) / (a[mask].std() + 1e-8)
    found = value_and_weights(catalogue.get("reinforce_pp", beta=0.2), case["logp"], case)[1]
    assert close(found, np.where(mask, by_length(case) * clip()(a, case), 0.0))


def test_mean_and_scale_may_run_over_tokens():
    """``over="tokens"`` of both forms: of unequal lengths, the long rollouts count more."""
    case, mask = NEAR, NEAR["mask"]
    for name, advantage in (("reinforce_pp", r), ("reinforce_pp_baseline", centred)):
        a = np.broadcast_to(advantage(case)[..., None], mask.shape)
        a = (a - a[mask].mean()) / (a[mask].std() + 1e-8)
        found = value_and_weights(catalogue.get(name, over="tokens"), case["logp"], case)[1]
        assert close(found, np.where(mask, by_length(case) * clip()(a, case), 0.0)), name
        assert not close(found, composed_weights(name, case)), name


def test_clip_ranges_are_settings_everywhere_there_is_a_clip():
    clipped = [n for n in catalogue.names() if "on_policy_unclipped" in catalogue.get(n).laws and n != "sapo"]
    for name in clipped:
        settings = catalogue.describe(name).settings
        assert {"clip_low", "clip_high"} <= set(settings), name
        open_ended = catalogue.get(name, clip_low=1.0, clip_high=1e6)
        default = value_and_weights(catalogue.get(name), BINARY["logp"], BINARY)[1]
        assert not close(default, value_and_weights(open_ended, BINARY["logp"], BINARY)[1]), name
