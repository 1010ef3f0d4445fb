"""Targets for laws that are run on one example: advantages of rewards, and losses whose weights are given."""

import numpy as np

from gradvar.testing.arrays import library
from gradvar.testing.laws import ADVANTAGE, LOSS, Broken, Residue
from gradvar.testing.losses import LossTarget
from gradvar.testing.signatures import Signature
from gradvar.testing.targets import AdvantageTarget

UNIT = 1e-6  # what rounding may cause in double precision, relative to the largest entry if that exceeds one
LAWS = {law.name: law for law in ADVANTAGE}
LOSS_LAWS = {law.name: law for law in LOSS}


def grouped(function, **settings):
    signature = Signature("grouped", {"rewards": "rewards"}, ("rewards",))
    return AdvantageTarget(function, signature, library("numpy"), "planted", **settings)


def flat(function, **settings):
    signature = Signature("flat", {"rewards": "rewards", "ids": "ids"}, ("rewards", "ids"))
    return AdvantageTarget(function, signature, library("numpy"), "planted", **settings)


def tokens(function, **settings):
    roles = {"rewards": "token_rewards", "mask": "mask", "ids": "ids"}
    return AdvantageTarget(
        function, Signature("token-level", roles, tuple(roles)), library("numpy"), "planted", **settings
    )


def outcome(law, target, **example):
    """Broken, a remark's name, or None."""
    try:
        law.check(target, **example)
    except Broken:
        return Broken
    except Residue:
        return Residue
    return None


class Planted(LossTarget):
    """A loss whose value and weights are given: ``function(batch)``; no derivative is taken."""

    def weights(self, batch, dtype=None):
        value, weights = self.function(batch)
        return float(value), np.asarray(weights, float) * np.ones(batch.mask.shape)


def planted(function, *roles, **settings):
    taken = ("logp", "old_logp", "advantages", "mask", *roles)
    return Planted(
        function, Signature("loss", {role: role for role in taken}), library("numpy"), "planted", **settings
    )


def surrogate(b, fault=0.0, value=0.0):
    """The sum of ratio times advantage over tokens; weights are off by ``fault``, the value by ``value``."""
    ratio = np.exp(np.where(b.mask, b.logp - b.old_logp, 0))
    push = np.where(b.mask, ratio * b.advantages[:, None], 0)
    return push.sum() + value, push + fault
