"""An array that a function takes must matter: what is taken and ignored is taken by mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.arrays import defaults_of, unwrapped
from gradvar.testing.laws.base import Residue, expect, expect_pair
from gradvar.testing.laws.loss_batches import plain_batch, slack
from gradvar.testing.losses import LossBatch, LossTarget
from gradvar.testing.roles import role_of

ROLES: Mapping[str, str] = {
    "old_logp": "old log-probabilities",
    "mask": "mask",
    "ref_logp": "reference log-probabilities",
    "sampler_logp": "log-probabilities of the sampler",
    "second_mask": "second mask",
    "entropy": "entropies",
    "advantages": "advantages",
}
COEFFICIENTS = ("beta", "kl_coef")
_GAP = 0.05  # nats a token between engine and trainer, within the cap of any correction


def arrays_matter(target: LossTarget, role: str) -> None:
    """What is taken changes the value or a weight: old log-probabilities, masks, the reference.

    Broken by a ratio of the log-probabilities to their own detached copy, which is one on every reused batch, by a
    second mask that nobody multiplies, by a KL term that is computed and not added. Report:
    meta-pytorch/torchforge#571, xiaomi-research/time-r1#20, THUDM/slime#399.
    """
    batch = plain_batch(lengths=(3, 2, 4, 3))
    value, weights = target.weights(batch)
    other, moved = target.weights(_changed(batch, role))
    name = target.signature.name_of(role)
    small = slack(target) * max(1.0, float(np.abs(weights).max()))
    ignored = abs(value - other) <= small and bool(np.all(np.abs(weights - moved) <= small))
    if ignored and role in ("ref_logp", "entropy") and switched_off(target):
        raise Residue(f"'{name}' has no influence: the coefficient is zero, or in a configuration")
    expect(
        not ignored, f"'{name}' is taken and ignored: other {ROLES[role]} change neither value nor weights"
    )


def entropy_raises(target: LossTarget) -> None:
    """An entropy bonus is a bonus: with more entropy, the loss is lower.

    Broken by a sign, the policy is paid for giving up its variety. Report: LuEE-C/PPO-Keras#4,
    DLR-RM/stable-baselines3#127.
    """
    batch = plain_batch(lengths=(3, 2, 4, 3))
    entropy = batch.values()["entropy"]
    value = target.weights(replace(batch, entropy=entropy))[0]
    other = target.weights(replace(batch, entropy=entropy + 0.5))[0]
    text = f"entropies of {entropy[0, 0]:g} give the objective {{}}, of {entropy[0, 0] + 0.5:g} {{}}"
    expect_pair(other >= value - slack(target), value, other, text)


def sampler_corrects(target: LossTarget, row: int) -> None:
    """A rollout that the engine found less likely than the trainer did weighs no less for it: it is seen too rarely.

    Broken by a weight that is turned over, engine over trainer in place of trainer over engine: what the engine
    samples too often then counts even more. arXiv 2110.00641, equation (3), has the trainer's probability over the
    sampling policy's. A mask, which has no weight between, is excused.
    """
    batch = plain_batch(moved=False, lengths=(3, 2, 4, 3))
    sampler = batch.values()["sampler_logp"]
    weights = []
    for sign in (-1, 1):
        moved = sampler.copy()
        moved[row] += sign * _GAP
        weights.append(float(np.abs(target.weights(replace(batch, sampler_logp=moved))[1][row]).sum()))
    rare, often = weights
    if min(rare, often) <= slack(target):
        raise Residue("read as a mask: a rollout that is off has no weight")
    name = target.signature.name_of("sampler_logp")
    text = f"'{name}' {_GAP:g} below the trainer's gives a rollout the weight {{}}, {_GAP:g} above it {{}}: turned over"
    expect_pair(rare >= 0.99 * often, rare, often, text)


def second_mask_counts(target: LossTarget, layout: str) -> None:
    """A token that the second mask leaves out leaves every average, as one that the first leaves out.

    Broken by a sum under both masks over a count of one of them: the more a tool answers, or the more rollouts are
    cut off, the less every other token counts. Report: huggingface/trl#6369 (fix #6439).
    """
    batch = plain_batch(moved=False, lengths=(3, 2, 4, 3), layout=layout)
    second = batch.mask & ~(
        np.arange(batch.mask.shape[1]) == 1
    )  # [rollout, time]: the second token is a tool's
    weights = target.weights(replace(batch, second_mask=second))[1]
    expected = target.weights(replace(batch, mask=batch.mask & second, second_mask=second))[1]
    small = 10 * slack(target) * max(1.0, float(np.abs(expected).max()))
    expect_pair(
        bool(np.allclose(weights[second], expected[second], rtol=1e-4, atol=small)),
        weights[second],
        expected[second],
        f"tokens that '{target.signature.name_of('second_mask')}' leaves out still count: weights {{}}, and {{}} where "
        f"'{target.signature.name_of('mask')}' leaves these out too",
    )


def _changed(batch: LossBatch, role: str) -> LossBatch:
    """The batch with other values in this place, unlike in every row."""
    rows = np.arange(len(batch.mask))[:, None]
    if role == "mask":
        mask = batch.mask.copy()
        mask[0, 0] = False
        return replace(batch, mask=mask)
    if role == "second_mask":
        second = batch.mask.copy()
        second[0, 1] = False
        return replace(batch, second_mask=second)
    if role == "advantages":
        return replace(batch, advantages=np.array([-1.0, 2.0, 0.25, 3.0]))
    present = batch.values()[role]
    return replace(batch, **{role: present - 0.02 * (1 + rows)})


def switched_off(target: Any) -> bool:
    """Return True if a coefficient may be zero: by its default, as the user set it, or in a configuration."""
    values = defaults_of(target.function)
    if values is None or target.signature.takes("config"):
        return True
    values |= target.signature.fixed
    coefficients = [value for name, value in values.items() if role_of(name) in COEFFICIENTS]
    of_an_object = unwrapped(target.function).__code__.co_varnames[:1] == ("self",)
    return of_an_object or any(value == 0 for value in coefficients)


def drawn(target: LossTarget) -> st.SearchStrategy[dict[str, Any]]:
    """The arrays that the loss takes."""
    return st.fixed_dictionaries({"role": st.sampled_from([r for r in ROLES if target.takes(r)])})


def needs_arrays(target: LossTarget) -> str:
    """For losses that take some array beside the log-probabilities."""
    return "" if any(target.takes(r) for r in ROLES) else "it takes the log-probabilities alone"
