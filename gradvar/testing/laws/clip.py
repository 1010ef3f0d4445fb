"""Laws of the clip in a policy-gradient loss, stated for its token weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gradvar.testing.digits import exact, shown
from gradvar.testing.laws.base import expect, expect_pair
from gradvar.testing.laws.loss_batches import make_batch, same, shifted_to, slack
from gradvar.testing.losses import LossTarget

# beyond every clip in use, and below the dual clip's bound of 3
FAR_ABOVE, FAR_BELOW = float(np.log(2.0)), float(np.log(0.4))


def on_policy_unclipped(target: LossTarget, shape: dict[str, Any]) -> None:
    """The first step after sampling has all ratios at one: there the clip must be invisible.

    Checked as linearity: each weight is its advantage times what an advantage of one would give. Broken by
    a clip whose bounds miss one, or by clipping advantages: one sign trains at another rate than the other.
    arXiv 1707.06347. Report: alexis-jacq/Pytorch-DPPO#3 (ratio times advantage was clamped to 1 +- 0.2).
    """
    batch = make_batch(shape, moved=False)
    still = target.weights(replace(batch, advantages=np.zeros_like(batch.advantages)))[1]
    unit_weights = target.weights(replace(batch, advantages=np.ones_like(batch.advantages)))[1] - still
    expect(bool(np.any(np.abs(unit_weights) > slack(target))), "with advantages of one no token has a weight")
    advantage_weights = target.weights(batch)[1] - still
    wanted = batch.advantages[:, None] * unit_weights
    text = f"advantages {exact(batch.advantages)}: weights {{}}, unclipped {{}}"
    expect_pair(same(target, advantage_weights, wanted), advantage_weights, wanted, text)


def zero_beyond_clip(target: LossTarget, shape: dict[str, Any], sign: float) -> None:
    """A rollout that has already moved past the clip in the direction of its advantage gets no further push.

    False by design for CISPO and other clipped weights, and for no clip at all. Broken by a clip without a
    minimum, or one that is never reached: updates run away on reused batches. arXiv 1707.06347. Report:
    rllm-org/rllm#81 (the clipped loss was computed, and the unclipped one averaged).
    """
    weights, advantage_weights = weights_beyond_clip(target, shape, sign, outward=True)
    expect(
        bool(np.all(np.abs(advantage_weights) <= slack(target))),
        f"advantage {sign:+g}, ratio {ratio_beyond_clip(sign, True):.2g}: weights {shown(weights)}, expected zero",
    )


def recovers_beyond_clip(target: LossTarget, shape: dict[str, Any], sign: float) -> None:
    """A rollout past the clip on the wrong side, against its advantage, keeps the weight that brings it back.

    It is what the minimum in PPO's objective is for. Broken by clipping the ratio alone: a token that was
    pushed the wrong way stays there for the rest of the batch. Report: callsys/GMPO#4 and
    ray-project/ray#37334 argue about it.
    """
    weights, advantage_weights = weights_beyond_clip(target, shape, sign, outward=False)
    expect(
        bool(np.all(advantage_weights * sign > slack(target))),
        f"advantage {sign:+g}, ratio {ratio_beyond_clip(sign, False):.2g}: weights {shown(weights)}, expected its sign",
    )


def ratio_beyond_clip(sign: float, outward: bool) -> float:
    """A ratio beyond the clip: ``outward`` in the direction that the advantage's sign pushes it."""
    return float(np.exp(FAR_ABOVE if (sign > 0) == outward else FAR_BELOW))


def weights_beyond_clip(
    target: LossTarget, shape: dict[str, Any], sign: float, outward: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row's weights [T] and the part of them due to its advantage, on its real tokens.

    Args:
        target: The loss.
        shape: The plain numbers of the batch.
        sign: The first row's advantage.
        outward: The first row's ratio lies beyond the clip in the direction of its advantage, else against it.
    """
    batch = make_batch(shape, moved=False)
    advantages = batch.advantages.copy()
    advantages[0] = sign
    moved = shifted_to(batch, 0, float(np.log(ratio_beyond_clip(sign, outward))))
    away = replace(moved, advantages=advantages)
    advantages = advantages.copy()
    advantages[0] = 0.0
    still = target.weights(replace(away, advantages=advantages))[1]
    weights = target.weights(away)[1]
    return weights[0], (weights - still)[0][batch.mask[0]]
