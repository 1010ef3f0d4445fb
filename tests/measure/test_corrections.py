"""Three policies, and every correction between engine and trainer, against loops in NumPy that share no code."""

import itertools
from functools import partial

import numpy as np
import pytest

from gradvar.core.compose import compose, no_correction
from gradvar.measure import exact, exact_tables
from gradvar.pieces import advantages, aggregates, surrogates
from gradvar.pieces import corrections as c
from tests.measure import scenes
from tests.pieces import numpy_corrections as loops

RULES = [
    ("k1", "token", 0.8, 1.2), ("k2", "token", 0, 0.0325), ("k3", "token", 0, 0.0325), ("k1", "sum", 0.8, 1.2),
    ("k2", "sum", 0, 0.044), ("k3", "sum", 0, 0.044), ("k1", "mean", 0.9, 1.1), ("k2", "mean", 0, 0.022),
    ("k3", "mean", 0, 0.022), ("k2", "max", 0, 0.0325), ("k3", "max", 0, 0.0325),
]  # fmt: skip
CORRECTIONS = {
    "token_ratio": (c.token_ratio, loops.by_token(lambda w: w)),
    "token_truncation": (partial(c.token_truncation, cap=1.1), loops.by_token(lambda w: min(w, 1.1))),
    "token_band": (
        partial(c.token_band, low=0.9, high=1.2), loops.by_token(lambda w: w if 0.9 <= w <= 1.2 else 0.0),
    ),
    "sequence_ratio": (c.sequence_ratio, loops.by_rollout(np.prod)),
    "sequence_truncation": (
        partial(c.sequence_truncation, cap=1.02), loops.by_rollout(lambda row: min(np.prod(row), 1.02)),
    ),
    "sequence_mask": (
        partial(c.sequence_mask, cap=1.02),
        loops.by_rollout(lambda row: np.prod(row) if np.prod(row) <= 1.02 else 0.0),
    ),
    "token_truncation_floor": (
        partial(c.token_truncation, cap=1.1, floor=0.95), loops.by_token(lambda w: min(max(w, 0.95), 1.1)),
    ),
    "sequence_truncation_floor": (
        partial(c.sequence_truncation, cap=1.02, floor=0.97),
        loops.by_rollout(lambda row: min(max(np.prod(row), 0.97), 1.02)),
    ),
    "sequence_mask_band": (
        partial(c.sequence_mask, cap=1.02, floor=0.8),
        loops.by_rollout(lambda row: np.prod(row) if 0.8 <= np.prod(row) <= 1.02 else 0.0),
    ),
    "geometric_mask": (partial(c.geometric_mask, low=0.9, high=1.2), loops.geometric),
    "geometric_ratio": (
        partial(c.geometric_ratio, cap=1.05, floor=0.9),
        loops.by_rollout(lambda row: min(max(np.prod(row) ** (1 / len(row)), 0.9), 1.05)),
    ),
    "outlier_mask": (
        partial(c.outlier_mask, low=0.75, high=1.25),
        loops.by_rollout(lambda row: float(all(0.75 <= x <= 1.25 for x in row))),
    ),
    "probability_mask": (partial(c.probability_mask, low=0.03, high=0.05), loops.near_in_probability),
    "second_moment_mask": (partial(c.second_moment_mask, threshold=0.02), loops.second_moment(0.02)),
    "off_policy_sequence_mask": (partial(c.off_policy_sequence_mask, threshold=0.05), loops.off_policy),
    "batch_normalised": (c.batch_normalised(partial(c.token_truncation, cap=1.1)), loops.normalised),
    "batch_normalised_sequence": (
        c.batch_normalised(c.sequence_ratio, level="sequence"), loops.normalised_by_rollout,
    ),
    "chained": (c.chained(c.token_ratio, partial(c.rejection, high=0.02)), loops.ratio_unless_rejected),
}  # fmt: skip
for rule in RULES:
    kind, level, low, high = rule
    CORRECTIONS[f"rejection_{level}_{kind}"] = (
        partial(c.rejection, divergence=kind, level=level, low=low, high=high), loops.rejects(*rule),
    )  # fmt: skip


def ratio_estimator(correction):
    """Rewards less the group's mean, times the ratio, times the correction, summed over tokens."""
    return compose(
        advantage=advantages.group_mean,
        surrogate=surrogates.importance_ratio,
        aggregate=aggregates.sequence_token_sum,
        correction=correction,
    )


def log_softmax(row):
    return row - np.log(np.exp(row).sum())


def next_token(params, prompt, prefix):
    """Log-probabilities after a prefix: rows of the table are prefixes by length, and 1 stops."""
    return log_softmax(np.asarray(params, float)[prompt, len(prefix)])


COMPLETIONS = [
    (1,),
    (0, 1),
    (0, 0, 0),
    (0, 0, 1),
]  # the policy of ``scenes.tabular``: at most three, and 1 stops


def logs(params, prompt, completion, change=lambda row: row):
    """The log-probability of every token of a completion."""
    rows = [change(next_token(params, prompt, completion[:t])) for t in range(len(completion))]
    return [row[token] for row, token in zip(rows, completion, strict=True)]


def scores(params, prompt, completion):
    """The derivative of every token's log-probability, [time, param]."""
    shape = np.shape(params)
    out = np.zeros((len(completion), *shape))
    for t, token in enumerate(completion):
        out[t, prompt, t] = -np.exp(next_token(params, prompt, completion[:t]))
        out[t, prompt, t, token] += 1
    return out.reshape(len(completion), -1)


def brute(weights, params, old, engine, rewards, change, reported=None):
    """``brute_tokens`` of a correction's weights on advantage times ratio."""

    def of_tokens(w, batch):
        """The ratio is that of current to proximal policy, whose log-probability is the engine's plus log w."""
        return [
            a * np.array(f) * np.exp(np.subtract(new, np.log(v) + engine_logs))
            for (a, new, engine_logs), f, v in zip(batch, weights(w, batch), w, strict=True)
        ]

    return brute_tokens(of_tokens, params, old, engine, rewards, change, reported)


def brute_tokens(weights, params, old, engine, rewards, change, reported=None):
    """Mean and E||g||^2 of groups of 2, by loops: ``engine`` and ``change`` draw; grad J is at ``params``.

    ``weights(w, batch)``: of every token of every rollout, from the ratios of trainer to engine and, for every rollout,
    its advantage and the log-probabilities of current policy and engine.
    """
    reported, prompts = reported or change, len(rewards)
    mean, second, truth, total = 0.0, 0.0, 0.0, 0.0
    for q in range(prompts):
        for k, completion in enumerate(COMPLETIONS):
            chance = np.exp(sum(logs(params, q, completion)))
            truth = truth + chance * rewards[q][k] * scores(params, q, completion).sum(0) / prompts
        for group in itertools.product(range(len(COMPLETIONS)), repeat=2):
            rollouts = [COMPLETIONS[k] for k in group]
            chance = np.exp(sum(sum(logs(engine, q, o, change)) for o in rollouts))
            if chance == 0:
                continue
            new, before = ([logs(p, q, o) for o in rollouts] for p in (params, old))
            by_engine = [logs(engine, q, o, reported) for o in rollouts]
            advantage = np.array([rewards[q][k] for k in group]) - np.mean([rewards[q][k] for k in group])
            w = [np.exp(np.subtract(a, b)) for a, b in zip(before, by_engine, strict=True)]
            batch = list(zip(advantage, new, by_engine, strict=True))
            of_tokens = weights(w, batch)
            gradient = sum(
                np.array(f) @ scores(params, q, o) / 2 for f, o in zip(of_tokens, rollouts, strict=True)
            )
            mean, second = mean + chance * gradient / prompts, second + chance * gradient @ gradient / prompts
            total += chance / prompts
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)
    return mean, second - mean @ mean, truth


def scene():
    policy, params, task = scenes.tabular(3, binary=False)
    assert [tuple(o[m]) for o, m in zip(*(np.asarray(x) for x in (policy.support(), policy.mask(policy.support()))),
                                        strict=True)] == [(0, 0, 0), (0, 0, 1), (0, 1), (1,)]  # fmt: skip
    rewards = np.asarray(task.reward(task.all_prompts(), np.broadcast_to(policy.support(), (2, 4, 3))))[
        :, ::-1
    ]
    rewards = rewards[:, [0, 1, 3, 2]]  # in the order of COMPLETIONS
    return policy, params, task, rewards


QUICK = ("token_truncation", "sequence_mask", "geometric_mask", "rejection_mean_k3")


@pytest.mark.parametrize(
    ("name", "off_policy"),
    [
        pytest.param(n, o, marks=[] if o and n in QUICK else pytest.mark.slow)
        for n in CORRECTIONS
        for o in (True, False)
    ],
)
def test_every_correction_against_loops(name, off_policy):
    """Engine, trainer and current policy are three (two, where the trainer's is the current one)."""
    piece, weights = CORRECTIONS[name]
    policy, params, task, rewards = scene()
    old = scenes.moved(policy, params, 5, 0.2) if off_policy else params
    engine = scenes.moved(policy, old, 6, 0.25)
    got = exact(ratio_estimator(piece), policy, params, task, 2, old_params=old, sampler=engine)
    mean, trace_cov, truth = brute(weights, params, old, engine, rewards, lambda row: row)
    np.testing.assert_allclose(got.mean, mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got.trace_cov, trace_cov, rtol=1e-10)
    np.testing.assert_allclose(got.true_gradient, truth, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_every_bound_binds_here_for_some_rollouts_and_not_for_others():
    """Else the loops would agree with a correction that forgot its bound, or took another estimate."""
    policy, params, task, _ = scene()
    old = scenes.moved(policy, params, 5, 0.2)
    tables = exact_tables(policy, params, task, old, sampler=scenes.moved(policy, old, 6, 0.25))

    def trace_cov(piece):
        return exact(ratio_estimator(piece), tables=tables, group_size=2).trace_cov

    traces = {name: trace_cov(piece) for name, (piece, _) in CORRECTIONS.items()}
    assert min(abs(trace - trace_cov(no_correction)) for trace in traces.values()) > 1e-4
    by_token = [traces[name] for name in ("token_ratio", "token_truncation", "token_band", "geometric_mask")]
    by_rollout = [traces[name] for name in ("sequence_ratio", "sequence_truncation", "sequence_mask")]
    estimates = [
        [traces[f"rejection_{level}_{kind}"] for kind in ("k2", "k3")]
        for level in ("token", "sum", "mean", "max")
    ]
    for different in (by_token, by_rollout, *estimates):
        assert np.diff(np.sort(different)).min() > 1e-4
    assert min(traces.values()) > 1e-2


@pytest.mark.slow
def test_only_the_whole_sequence_ratio_is_unbiased():
    """A baseline that does not look at the rollout, the ratio of current to engine by sequence: grad J at params."""
    policy, params, task, _ = scene()
    engine = scenes.moved(policy, params, 6, 0.25)
    factors = {}
    for name in ("sequence_ratio", "token_ratio", "sequence_truncation", "sequence_mask"):
        estimator = compose(
            advantage=advantages.raw,
            surrogate=surrogates.likelihood,
            aggregate=aggregates.sequence_token_sum,
            correction=CORRECTIONS[name][0],
        )
        got = exact(estimator, policy, params, task, 2, sampler=engine)
        factors[name] = np.abs(got.mean - got.true_gradient).max()
    assert factors.pop("sequence_ratio") < 1e-12
    assert min(factors.values()) > 1e-3
