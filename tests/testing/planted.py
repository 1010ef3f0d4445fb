"""Functions made by rules, each with the name and the settings that ``identify`` must give it.

They are written in another way than the oracle, as trainers write them: plain NumPy on one axis, epsilons in place.
"""

import itertools

import numpy as np


def scale(r, ddof, eps, eps_at):
    std = r.std(ddof=ddof)
    if eps_at == "clamped":
        return max(std, eps)
    return np.sqrt(r.var(ddof=ddof) + eps) if eps_at == "variance" else std + eps


def by_group(rewards, ids, formula):
    out = np.zeros(len(rewards))
    for g in np.unique(ids):
        rows = ids == g
        if rows.sum() > 1 and np.ptp(rewards[rows]) > 0:
            out[rows] = formula(rewards[rows])
    return out


def flat(formula):
    def advantages(rewards, group_ids):
        return by_group(rewards, group_ids, formula)

    return advantages


def grouped(formula):
    def advantages(rewards):  # [Q, G]
        return np.stack([formula(r) if np.ptp(r) > 0 else np.zeros(len(r)) for r in rewards])

    return advantages


def tokenwise(formula):
    def advantages(token_rewards, response_mask, index):
        ids = np.unique(index.astype(str), return_inverse=True)[1]
        scores = (token_rewards * response_mask).sum(-1)
        return by_group(scores, ids, formula)[:, None] * response_mask

    return advantages


def others(r):
    return (r.sum() - r) / (len(r) - 1)


def over_batch(group_centred, ddof):
    def advantages(rewards, group_ids):
        x = rewards - rewards[0]
        if group_centred:
            means = {g: rewards[group_ids == g].mean() for g in np.unique(group_ids)}
            x = rewards - np.array([means[g] for g in group_ids])
            x = np.where(np.abs(x) < 1e-12, 0.0, x)
            return x / (np.sqrt(np.sum(x**2) / (len(x) - ddof)) + 1e-8)
        return (x - x.mean()) / (x.std(ddof=ddof) + 1e-8)

    return advantages


def advantage_cases():
    """(name, settings, function)"""
    layouts = {"flat": flat, "grouped": grouped, "tokens": tokenwise}
    places = [("added", 0.0), *itertools.product(("added", "clamped", "variance"), (1e-8, 1e-6, 1e-4, 1e-2))]
    for i, (ddof, (eps_at, eps)) in enumerate(itertools.product((0, 1), places)):
        layout = list(layouts)[i % 3]

        def formula(r, ddof=ddof, eps=eps, eps_at=eps_at):
            return (r - r.mean()) / scale(r, ddof, eps, eps_at)

        settings = {"ddof": ddof, "eps": eps, **({"eps_at": eps_at} if eps else {})}
        yield f"grpo-{layout}-{ddof}-{eps_at}-{eps:g}", "grpo", settings, layouts[layout](formula)
    plain = {
        "dr_grpo": lambda r: r - r.mean(),
        "rloo": lambda r: r - others(r),
        "reinforce": None,
        "best_less_second": lambda r: np.where(
            np.arange(len(r)) == r.argmax(), np.sort(r)[-1] - np.sort(r)[-2], 0
        ),
    }
    for (name, formula), layout in itertools.product(plain.items(), layouts):
        if formula is not None:
            yield f"{name}-{layout}", name, {}, layouts[layout](formula)
    yield "reinforce", "reinforce", {}, lambda rewards, group_ids: rewards * 1.0
    for ddof in (0, 1):
        yield (
            f"rloo_over_std-{ddof}",
            "rloo_over_std",
            {"ddof": ddof, "eps": 1e-6},
            flat(lambda r, ddof=ddof: (r - others(r)) / (r.std(ddof=ddof) + 1e-6)),
        )
        yield f"reinforce_pp-{ddof}", "reinforce_pp", {"ddof": ddof, "eps": 1e-8}, over_batch(False, ddof)
        yield f"reinforce_pp_baseline-{ddof}", "reinforce_pp_baseline", {"ddof": ddof}, over_batch(True, ddof)
    for tau in (0.1, 0.7, 2.0):
        yield (
            f"softmax-{tau}",
            "softmax",
            {"temperature": tau},
            flat(lambda r, t=tau: len(r) / np.exp((r[None, :] - r[:, None]) / t).sum(-1) - 1),
        )
    yield "half", "dr_grpo", {"scale": 0.5}, flat(lambda r: 0.5 * (r - r.mean()))
    yield "maxrl", "maxrl", {"eps": 1e-6}, flat(lambda r: (r - r.mean()) / (r.mean() + 1e-6))
    yield (
        "guard",
        "grpo",
        {"guard": 1e-3, "eps": 1e-6},
        flat(lambda r: (r - r.mean()) / (r.std() + 1e-6) if r.std() > 1e-3 else 0 * r),
    )


MEANS = {
    "token-mean": lambda x, m: (x * m).sum() / m.sum(),
    "sequence-mean": lambda x, m: ((x * m).sum(-1) / np.maximum(m.sum(-1), 1)).mean(),
    "sequence-sum": lambda x, m: (x * m).sum(-1).mean(),
    "token-sum": lambda x, m: (x * m).sum(),
    "constant-length": lambda x, m: (x * m).sum() / m.size,
}
KL = {
    "k1": lambda k: k,
    "k2": lambda k: k**2 / 2,
    "k3": lambda k: np.exp(-k) + k - 1,
    "abs": np.abs,
}


def clipped(r, a, low, high, dual=None):
    gain = np.minimum(r * a, np.clip(r, 1 - low, 1 + high) * a)
    return gain if dual is None else np.where(a < 0, np.maximum(gain, dual * a), gain)


def loss(gain, mean, ratio="token", sign=1):
    """A loss of log-probabilities from a gain of ratios and advantages."""

    def call(logp, old_logp, advantages, mask):
        diff = np.where(mask > 0, logp - old_logp, 0.0)
        if ratio == "sequence":
            diff = (diff.sum(-1) / np.maximum(mask.sum(-1), 1))[:, None] + 0 * diff
        return -sign * MEANS[mean](gain(np.exp(diff), advantages), mask)

    return call


def with_kl(kl, beta, mean, kl_mean=None):
    def call(logp, old_logp, ref_logp, advantages, mask):
        ratio = np.exp(np.where(mask > 0, logp - old_logp, 0.0))
        k = np.where(mask > 0, logp - ref_logp, 0.0)
        policy = MEANS[mean](clipped(ratio, advantages, 0.2, 0.2), mask)
        return -policy + beta * MEANS[kl_mean or mean](KL[kl](k), mask)

    return call


def clip_name(mean, low, high, dual):
    if dual:
        return "ppo_dual_clip"
    if mean in ("token-mean", "token-sum"):
        return "ppo" if low == high else "dapo"
    return "dr_grpo" if mean in ("sequence-sum", "constant-length") else "grpo"


def loss_cases():
    """(name, settings, function)"""
    ranges = [(0.2, 0.2, None), (0.2, 0.28, None), (0.1, 0.3, 3.0)]
    for mean, (low, high, dual) in itertools.product(MEANS, ranges):
        function = loss(lambda r, a, b=(low, high, dual): clipped(r, a, *b), mean)
        settings = {"aggregation": mean, "clip_low": low, "clip_high": high, "dual": dual}
        yield f"clip-{mean}-{low}-{high}-{dual}", clip_name(mean, low, high, dual), settings, function
    for mean in ("token-mean", "sequence-mean"):
        more = {"aggregation": mean}
        yield f"importance-{mean}", "importance", more, loss(lambda r, a: r * a, mean)
        yield (
            f"gspo-{mean}",
            "gspo",
            {**more, "clip_low": 0.01, "clip_high": 0.02},
            loss(lambda r, a: clipped(r, a, 0.01, 0.02), mean, "sequence"),
        )
        yield (
            f"sapo-{mean}",
            "sapo",
            {**more, "tau_positive": 1.0, "tau_negative": 1.5},
            loss(
                lambda r, a: (
                    a * 4 / np.where(a > 0, 1, 1.5) / (1 + np.exp(-np.where(a > 0, 1, 1.5) * (r - 1)))
                ),
                mean,
            ),
        )
    for kl, beta in itertools.product(KL, (0.04, 1e-3)):
        yield f"{kl}-{beta}", "grpo", {"kl": kl, "beta": beta}, with_kl(kl, beta, "sequence-mean")
    yield (
        "kl-over-padding",
        "ppo",
        {"kl": "k3", "beta": 0.1, "kl_aggregation": "constant-length"},
        with_kl("k3", 0.1, "token-mean", "constant-length"),
    )
    yield "half", "ppo", {"scale": 0.5}, loss(lambda r, a: 0.5 * clipped(r, a, 0.2, 0.2), "token-mean")


FAULTY = {
    "min before the advantage": loss(lambda r, a: np.minimum(r, np.clip(r, 0.8, 1.2)) * a, "token-mean"),
    "max": loss(lambda r, a: np.maximum(r * a, np.clip(r, 0.8, 1.2) * a), "token-mean"),
    "dual on both": loss(lambda r, a: np.minimum(r * a, 3 * np.abs(a)), "token-mean"),
    "advantage squared": loss(lambda r, a: r * a * np.abs(a), "token-mean"),
    "positive only": loss(lambda r, a: r * np.maximum(a, 0), "token-mean"),
    "rows by length squared": lambda logp, old_logp, advantages, mask: (
        -(np.exp((logp - old_logp) * mask) * advantages * mask * mask.sum(-1, keepdims=True)).mean()
    ),
}
FAULTY_ADVANTAGES = {
    "zeros": lambda rewards, group_ids: np.zeros(len(rewards)),
    "ones": lambda rewards, group_ids: np.ones(len(rewards)),
    "ranks": flat(lambda r: np.argsort(np.argsort(r)) / len(r) - 0.5),
    "negative": flat(lambda r: r.mean() - r),
    "absolute": flat(lambda r: np.abs(r - r.mean())),
    "median": flat(lambda r: r - np.median(r)),
    "variance": flat(lambda r: (r - r.mean()) / (r.var() + 1e-6)),
    "divided by G": flat(lambda r: (r - r.mean()) / len(r)),
    "mean of the batch": lambda rewards, group_ids: rewards - rewards.mean(),
    "clipped": flat(lambda r: np.clip((r - r.mean()) / (r.std() + 1e-6), -0.7, 0.7)),
}
