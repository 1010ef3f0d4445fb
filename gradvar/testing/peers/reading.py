"""Formulas that were read in the sources of functions that are none of the oracle's estimators.

By "trainer kind name"; r is the ratio to the old policy, A the advantage, sg a constant for the gradient. Each was
compared with what the function answers to the stated input of the table.
"""

from __future__ import annotations

from collections.abc import Mapping

READING: Mapping[str, str] = {
    "verl advantage gpg": "reward less the group's mean, times the batch's rollouts over those with a non-zero reward",
    "verl advantage gdpo": "standardised in the group, then whitened over the batch's tokens",
    "verl advantage grpo_passk": "best less second, over the group's sample std",
    "verl loss dppo_tv": "sg[min(r, 20)] A log p, none where p has moved by more than 0.2 along the advantage",
    "verl loss dppo_kl": "sg[min(r, 20)] A log p, none where p has moved along the advantage by a KL above 0.2",
    "verl loss kl_cov": "r A without a clip, with |log r| taken off for the share of tokens of the largest covariance",
    "verl loss dro": "A log p - (b/2) (log r)^2",
    "trl loss cispo": "sg[min(r, epsilon_high)] A log p: epsilon_high is the cap itself, and its default is 0.2",
    "trl loss vespo": "sg[phi] A log p, phi a gamma-shaped weight of the whole response's ratio",
    "trl advantage GRPOTrainer": "scale_rewards=batch: reward less the group's mean, over the batch's std of rewards",
    "skyrl loss dppo": "r A, none where p has moved by more than 0.2 along the advantage",
    "skyrl loss rollout_is": "sg[r] A log p where r lies within the clip, else nothing",
    "skyrl loss kl_cov": "as verl's, but with |log r| summed over tokens: the average is in the advantages only",
    "skyrl loss cross_entropy": "log p, whatever the advantage",
    "torchrl loss CISPOLoss": "clip(r) A with the gradient taken through the clipped ratio: none beyond the clip",
    "trinity advantage asymre": "reward less the group's mean plus 0.1",
    "trinity loss opmd": "A log p / (1 + tau)",
    "trinity loss sft": "log p, whatever the advantage",
    "trinity loss sapo": "sg[gate] A log p: the gate itself is the weight, not its derivative as in SAPO",
    "trinity loss sft_is": "sg[p] log p, whatever the advantage",
    "trinity loss topr": "A log p, for negative advantages times sg[min(r, 1)] of the token",
    "trinity loss sppo": "A log clip(r, 1/(1+e), 1+e)",
    "liger loss cispo": "sg[min(r, epsilon_high)] A log p: epsilon_high is the cap itself, and its default is 0.2",
    "liger loss vespo": "sg[phi] A log p, phi a gamma-shaped weight of the whole response's ratio",
}
