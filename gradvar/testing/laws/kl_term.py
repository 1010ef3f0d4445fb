"""The KL term of a policy loss: its gradient and value as functions of the distance to the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from gradvar.testing.digits import shown
from gradvar.testing.laws.base import Residue, expect, expect_pair
from gradvar.testing.laws.loss_batches import padded, parallel, plain_batch, slack
from gradvar.testing.losses import LossBatch, LossTarget

# log-probability less the reference's, on a sampled token
DISTANCES = np.array([-2.0, -1.0, -0.5, -0.1, 0.1, 0.5, 1.0, 2.0])
# what a token's log-probability is pushed down with, up to a positive factor
GRADIENTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "k2": lambda d: d,
    "k3": lambda d: 1 - np.exp(-d),
    "|k1|": np.sign,
    "k1 weighted by the ratio": lambda d: 1 + d,
    "k2 weighted by the ratio": lambda d: d + d**2 / 2,
    "k1": np.ones_like,
    "k3 of the wrong direction": lambda d: np.exp(d) - 1,
    "exp(-d), without its control": lambda d: -np.exp(-d),
}
FAULTS = {
    "k1": "k1 as a loss pushes every token down alike, wherever the reference is: its mean is zero",
    "k3 of the wrong direction": "k3 with the log-ratio turned around: it is not the KL of the sampling policy",
    "exp(-d), without its control": "the ratio to the reference alone: it pushes every token up",
}


def kl_term(target: LossTarget, layout: str) -> None:
    """The KL term is k2, k3 or a weighted form of them: zero at the reference, and it pulls towards it.

    Broken by a term that is computed without its gradient, by a sign, by k1 as a loss (arXiv 2506.09477), by a
    log-ratio that is turned around, or by a mean over another set of tokens than that of the policy's term: the
    coefficient then depends on the padding. Report: allenai/open-instruct#535, NVIDIA-NeMo/RL#2506.
    """
    batch = plain_batch(moved=False, lengths=(4, 2, 3, 4), layout=layout)
    quiet = replace(batch, advantages=np.zeros(4), ref_logp=batch.logp)
    value, still = target.weights(quiet)
    values, pulls = [], []
    for distance in DISTANCES:
        moved, weights = target.weights(replace(quiet, ref_logp=quiet.logp - distance))
        values.append(value - moved)
        pulls.append(-(weights)[batch.mask])
    gradient, cost = np.array(pulls), np.array(values)  # [distance, token]
    small = max(slack(target), 1e-7)
    if np.all(np.abs(gradient + still[batch.mask]) <= small):
        is_k1 = parallel(cost, DISTANCES, 1e-3) and _form(gradient.sum(1)) == "k1"
        expect(not is_k1, f"the reference moves the value by {shown(cost)}, and no weight: {FAULTS['k1']}")
        expect(
            bool(np.all(np.abs(cost) <= small)),
            f"the reference moves the value by {shown(cost)}, and no weight: the term has no gradient",
        )
        raise Residue("the reference has no influence: its coefficient may be zero")
    name = _form(gradient.sum(1))
    seen = f"at distances {shown(DISTANCES)} tokens are pushed down by {shown(gradient.sum(1))}"
    expect(name not in FAULTS, f"{seen}: {FAULTS.get(name, '')}")
    expect(bool(name), f"{seen}: the gradient of no known estimate of the KL, or of a wrong sign")
    _normalised(target, batch, quiet)
    _local(target, batch, quiet)
    raise Residue(f"read as {name}")


def _form(pull: np.ndarray) -> str:
    return next((name for name, form in GRADIENTS.items() if parallel(pull, form(DISTANCES), 1e-3)), "")


def _local(target: LossTarget, batch: LossBatch, quiet: LossBatch) -> None:
    """One token's distance pulls on that token alone, or on the rollout as a whole where the KL is the rollout's.

    A KL that is weighted by the ratio of the sequence has a second term, that of the weight: it pushes all tokens of
    the rollout down where one of them is far from the reference on either side. Report: huggingface/trl#6586.
    """
    reference = quiet.logp.copy()
    reference[0, int(np.argmax(batch.mask[0]))] -= 1.0
    pull = (target.weights(quiet)[1] - target.weights(replace(quiet, ref_logp=reference))[1])[0][
        batch.mask[0]
    ]
    small = 10 * slack(target) * max(1.0, float(np.abs(pull).max()))
    alone = bool(np.all(np.abs(pull[1:]) <= max(small, 1e-3 * abs(pull[0]))))
    alike = bool(np.allclose(pull[1:], pull[0], rtol=1e-2, atol=small))
    expect(
        alone or alike,
        f"one token at distance 1 from the reference: tokens of its rollout are pushed down by {shown(pull)}; the KL's "
        "weight is that of the whole rollout, and is differentiated",
    )


def _normalised(target: LossTarget, batch: LossBatch, quiet: LossBatch) -> None:
    """The term is a mean over tokens of the batch, not over padding."""
    away = replace(quiet, ref_logp=quiet.logp - 1.0)
    term = np.where(batch.mask, target.weights(away)[1], 0.0)
    wide = padded(away, (0, 2))
    again = target.weights(wide)[1][:, : term.shape[1]]
    again = np.where(batch.mask, again, 0.0)
    small = 10 * slack(target) * max(1.0, float(np.abs(term).max()))
    expect_pair(
        bool(np.allclose(term, again, rtol=1e-4, atol=small)),
        term[batch.mask],
        again[batch.mask],
        "KL weights {}, with two more columns of padding {}: the KL term is a mean over the padded matrix",
    )
    counts = batch.mask.sum(-1, keepdims=True)
    known = [batch.mask.astype(float), batch.mask / counts, batch.mask * counts]
    expect(
        any(parallel(-term, k, 1e-3) for k in known),
        f"KL weights {shown(term)} on tokens at one distance: no mean over tokens or rollouts",
    )
