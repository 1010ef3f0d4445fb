"""Each law on one example by itself: what a sound function of some kind may do, and what none may."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, find, settings
from hypothesis.errors import NoSuchExample

from gradvar.testing.laws import ADVANTAGE, LOSS, Broken, examples
from gradvar.testing.laws.exact import worlds
from gradvar.testing.laws.traits import WHITENED, batch_statistics, excused_by_statistics, isolates
from gradvar.testing.signatures import Signature

from .one_example import LAWS, LOSS_LAWS, flat, grouped, outcome, planted, surrogate, tokens
from .test_law_lines import PAIR, by_token, centred
from .test_loss_lines import SHAPE


def standardised(r, eps=1e-8):
    return centred(r) / (r.std(-1, keepdims=True) + eps)


def whitened(r):
    return (r - r.mean()) / (r.std() + 1e-8)


def raw(r):
    return 1.0 * r


def after_a_running_mean(r):
    return r - np.cumsum(r.mean(-1, keepdims=True), 0) / np.arange(1, len(r) + 1)[:, None]


TWO = ((0.0, 1.0, 1.0), (0.0, 1.0, 3.0))
# sound functions that a law holds something against, which is why it is not universal
BREAKERS = {
    "zero_sum": (raw, {"groups": PAIR}),
    "shift_invariant": (raw, {"groups": PAIR, "shift": 1.0}),
    "scale_equivariant": (standardised, {"groups": PAIR, "scale": 2.0}),
    "scale_invariant": (centred, {"groups": PAIR, "scale": 2.0}),
    "sign_against_mean": (lambda r: r - 2.0, {"groups": PAIR}),
    "bounded": (centred, {"groups": ((0.0, 9.0),)}),
    "layout_independent": (after_a_running_mean, {"groups": TWO, "seed": 3}),
    "ragged_groups": (whitened, {"groups": TWO}),
    "duplicate_prompts": (whitened, {"groups": TWO, "prompts": (0, 1)}),
    "antisymmetric_pair": (raw, {"pair": PAIR[0], "beside": ()}),
    "leave_one_out_factor": (centred, {"groups": PAIR}),
    "dtype_preserved": (lambda r: centred(r.astype("float64")), {"group": (0.0, 1.0), "dtype": "float32"}),
    "half_precision": (standardised, {"group": (1.0, 1.0), "dtype": "float16"}),
    "unbiased": (centred, {}),
    "unbiased_up_to_constant": (standardised, {}),
    "prompt_weighted": (
        lambda r: 0.0 * r,
        {},
    ),  # of binary rewards only what learns nothing breaks it, or a sign
}


def told_beyond(b, outward):
    """The ratio as the weight, and nothing beyond 0.5 and 1.5: on every side, or not at all."""
    value, weights = surrogate(b)
    ratio = np.exp(b.logp - b.old_logp)
    return value, np.where((ratio < 0.5) | (ratio > 1.5), 0, weights) if outward else weights


LOSS_BREAKERS = {
    "on_policy_unclipped": (lambda b: (0.0, whitened(b.advantages)[:, None] * b.mask), {}),
    "microbatch_invariant": (lambda b: (0.0, surrogate(b)[1] / b.mask.sum()), {}),
    "zero_beyond_clip": (lambda b: told_beyond(b, False), {"sign": 1.0}),
    "recovers_beyond_clip": (lambda b: told_beyond(b, True), {"sign": 1.0}),
    "kl_direction": (lambda b: (0.0, -(1 + b.logp - b.ref_logp) * b.mask), {"distance": -0.5}),
    "aggregation": (lambda b: (0.0, surrogate(b)[1] * b.mask.sum(-1, keepdims=True)), {}),
    "unbiased_up_to_constant": (lambda b: (0.0, surrogate(b)[1] / b.mask.sum()), {}),
}


def test_a_law_that_is_not_universal_is_broken_by_a_sound_function():
    assert {law.name for law in ADVANTAGE if not law.universal} == {*BREAKERS, "hole_reward_counts"}
    for name, (function, example) in BREAKERS.items():
        assert outcome(LAWS[name], grouped(function), **example) is Broken, name
    under_mask = tokens(lambda r, m, ids: by_token(r, m.astype(bool)))
    assert outcome(LAWS["hole_reward_counts"], under_mask, group=(0.0, 0.0, 1.0)) is Broken
    assert {law.name for law in LOSS if not law.universal} == set(LOSS_BREAKERS)
    for name, (function, example) in LOSS_BREAKERS.items():
        shape = {} if LOSS_LAWS[name].exact else {"shape": SHAPE}
        assert outcome(LOSS_LAWS[name], planted(function, "ref_logp"), **shape, **example) is Broken, name


def test_an_exact_law_has_nothing_to_draw():
    for laws, target in ((ADVANTAGE, grouped(centred)), (LOSS, planted(surrogate, "entropy", "second_mask"))):
        assert {law.name for law in laws if law.exact} == {
            law.name for law in laws if not law.applies(target) and repr(law.examples(target)) == "just({})"
        }


def best_alone(token_rewards, mask, ids):
    """The best rollout gets its lead over the second, the others nothing (arXiv 2503.19595, equation 7)."""
    scores = np.where(mask > 0, token_rewards, 0.0).sum(-1)
    out = np.zeros(len(scores))
    for i in np.unique(ids):
        *_, second, best = np.flatnonzero(ids == i)[np.argsort(scores[ids == i])]
        out[best] = scores[best] - scores[second]
    return out[:, None] * mask


def test_arrays_of_advantages_have_to_matter():
    law = LAWS["arrays_matter"]
    scores = lambda r, m: np.where(m, r, 0).sum(-1)  # noqa: E731
    summed = tokens(lambda r, m, ids: by_token(r, m.astype(bool)))
    only_best = tokens(lambda r, m, ids: ((scores(r, m) == 4)[:, None] * m).astype(float))
    not_best = tokens(lambda r, m, ids: ((scores(r, m) % 4 > 0)[:, None] * m).astype(float))
    unmasked = tokens(lambda r, m, ids: centred(r.sum(-1))[:, None] * np.ones_like(r))
    for_all = tokens(
        lambda r, m, ids: centred(scores(r, m))[:, None] * np.ones_like(r)
    )  # to be masked by the caller
    published = tokens(best_alone)
    for sound in (summed, for_all, only_best, not_best, published):
        assert outcome(law, sound, role="mask") is None
    for deaf in (unmasked, tokens(lambda r, m, ids: best_alone(r, np.ones_like(m), ids))):
        with pytest.raises(Broken, match="'mask' is taken and ignored"):
            law.check(deaf, role="mask")

    def by_group(r, ids):
        return np.concatenate([centred(r[ids == i]) for i in dict.fromkeys(ids.tolist())])

    assert outcome(law, flat(by_group), role="ids") is None
    assert outcome(law, flat(lambda r, ids: centred(r)), role="ids") is Broken


def pairs_whitened(r, ddof):
    return centred(r) / np.sqrt((centred(r) ** 2).sum() / (r.size - ddof))


def test_a_whitening_of_the_batch_is_recognised_with_either_variance():
    for ddof in (0, 1):
        target = grouped(lambda r, d=ddof: pairs_whitened(r, d))
        assert batch_statistics(target) == WHITENED
        assert batch_statistics(replace(target, domain="binary")) == WHITENED
        assert batch_statistics(replace(target, min_group=5)) == WHITENED
        assert not isolates(target)
        assert excused_by_statistics(target).startswith(WHITENED)
    for function in (centred, standardised, raw, whitened, lambda r: 1.1 * pairs_whitened(r, 0)):
        assert batch_statistics(grouped(function)) == ""
    assert isolates(grouped(centred))

    def binary(r):
        assert np.isin(r, (0, 1)).all()
        return pairs_whitened(r, 0)

    assert batch_statistics(grouped(binary, domain="binary")) == WHITENED


def whitened_tokens(votes_in_group, votes_in_batch, **settings):
    """By group centred and divided by its spread, then whitened over all rows; rejected ones vote or do not."""

    def advantages(rewards, mask, ids):
        scores, kept = rewards.sum(-1), mask.any(-1)
        assert settings.get("domain") != "binary" or np.isin(scores, (0, 1)).all()
        out = np.zeros(len(scores))
        for i in np.unique(ids):
            rows = (ids == i) & (kept | votes_in_group)
            out[rows] = (scores[rows] - scores[rows].mean()) / (1 + scores[rows].std())
        every = out[kept | votes_in_batch]
        return ((out - every.mean()) / every.std())[:, None] * mask

    return tokens(advantages, **settings)


def test_a_rejected_rollout_has_no_vote_before_a_whitening_either():
    law, example = LAWS["rejected_rows_silent"], {"lengths": (2, 1, 3), "low": 0.0}
    for group, more in (((0.0, 1.0, 3.0), {}), ((0.0, 1.0, 1.0), {"domain": "binary"})):
        for votes, verdict in (((0, 0), None), ((1, 0), Broken), ((1, 1), Broken)):
            assert outcome(law, whitened_tokens(*map(bool, votes), **more), group=group, **example) is verdict


def test_a_reward_after_a_hole_counts():
    ends = tokens(lambda r, m, ids: by_token(r * np.cumprod(m, -1), m.astype(bool)))
    sound = tokens(lambda r, m, ids: by_token(r, m.astype(bool)))
    for group in ((0.0, 0.0, 1.0), (1.0, 0.0)):
        assert outcome(LAWS["hole_ends_nothing"], ends, group=group) is Broken
        assert outcome(LAWS["hole_ends_nothing"], sound, group=group) is None


def test_a_prompt_that_comes_twice_has_two_groups():
    """Leave-one-out over what has one id, one prompt, or one prompt and the same rewards."""

    def keyed(key):
        def advantages(rewards, ids, prompts):
            keys = [key(i, p, tuple(rewards[ids == i])) for i, p in zip(ids, prompts, strict=True)]
            others = [
                [r for j, r in enumerate(rewards) if j != i and keys[j] == k] for i, k in enumerate(keys)
            ]
            return np.array([r - np.mean(o) for r, o in zip(rewards, others, strict=True)])

        roles = {role: role for role in ("rewards", "ids", "prompts")}
        return replace(flat(advantages), signature=Signature("flat", roles, tuple(roles)))

    example = {"groups": ((0.0, 1.0), (0.0, 3.0)), "prompts": (0, 1)}
    for key, verdict in (
        (lambda i, p, r: i, None),
        (lambda i, p, r: p, Broken),
        (lambda i, p, r: (p, r), Broken),
        (lambda i, p, r: r, Broken),
    ):
        assert outcome(LAWS["duplicate_prompts"], keyed(key), **example) is verdict


def test_exact_laws_are_decided_where_the_function_may_be_used():
    def lowest(**settings):
        return min(min(world.rewards) for world in worlds(grouped(centred, **settings), binary=False))

    assert [lowest(domain=d) for d in ("real", "nonnegative", "binary")] == [-1.0, 0.0, 0.0]
    assert {r for w in worlds(grouped(centred, domain="binary"), False) for r in w.rewards} == {0.0, 1.0}
    assert {r for w in worlds(grouped(centred), True) for r in w.rewards} == {0.0, 1.0}
    assert {w.group for w in worlds(grouped(centred), False)} == {2, 3, 4}
    assert {w.group for w in worlds(grouped(centred, min_group=3), False)} == {3, 4}
    leave_one_out = grouped(lambda r: centred(r) * r.shape[1] / (r.shape[1] - 1))
    for name in ("unbiased", "unbiased_up_to_constant", "prompt_weighted"):
        assert outcome(LAWS[name], leave_one_out) is None
    assert outcome(LAWS["unbiased_up_to_constant"], grouped(centred)) is None
    assert outcome(LAWS["unbiased_up_to_constant"], grouped(lambda r: -centred(r))) is Broken
    assert (
        outcome(LAWS["unbiased_up_to_constant"], grouped(lambda r: centred(r) * (1 + 1e-4 * r.shape[1])))
        is None
    )
    assert outcome(LAWS["prompt_weighted"], grouped(standardised)) is None
    assert outcome(LAWS["prompt_weighted"], grouped(lambda r: -centred(r))) is Broken


def test_shifts_are_negative_only_where_rewards_may_be():
    def some(domain, condition):
        return find(
            examples.shifted(grouped(centred, domain=domain)),
            condition,
            settings=settings(max_examples=40, database=None, phases=[Phase.generate]),
        )

    assert some("real", lambda e: e["shift"] < 0)["shift"] < 0
    with pytest.raises(NoSuchExample):
        some("nonnegative", lambda e: e["shift"] < 0)
