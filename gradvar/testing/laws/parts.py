"""Laws of losses that are cut into parts: micro-batches, ranks, and the number of tokens of the whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gradvar.testing.digits import shown
from gradvar.testing.laws.base import expect_pair
from gradvar.testing.laws.loss_batches import make_batch, same
from gradvar.testing.losses import LossTarget


def microbatch_invariant(target: LossTarget, shape: dict[str, Any]) -> None:
    """Cutting a batch into equal parts, for memory or devices, must not change the gradient.

    Broken by dividing by the part's own number of tokens: short parts count more, so the gradient depends
    on the number of devices. A token-mean breaks it unless it is told the whole batch's count. Report:
    huggingface/trl#3021, PrimeIntellect-ai/prime-rl#583, allenai/open-instruct#1161.
    """
    batch = make_batch(shape)
    rows = len(batch.advantages)
    prompts = rows // batch.group
    if prompts < 2 or prompts % 2:
        return
    half = rows // 2
    whole = target.weights(batch)[1]
    count = float(batch.mask.sum())
    parts = [replace(batch.rows(slice(s, s + half)), token_count=count) for s in (0, half)]
    found = np.concatenate([target.weights(part)[1] for part in parts])
    if target.takes("token_count") and same(target, whole, found):
        return
    text = "weights {} of the whole, {} as the mean over two halves"
    expect_pair(same(target, whole, found / 2), whole, found / 2, text)


def token_count_divides(target: LossTarget, shape: dict[str, Any], factor: float) -> None:
    """A loss that is told the token count of the whole batch divides by it, and by no count of its own.

    Then the sum over ranks and micro-batches is the whole. Broken by a division by the part's own tokens: the
    count that was handed over is ignored, and short parts count more. Report: PrimeIntellect-ai/prime-rl#2358,
    NovaSky-AI/SkyRL#925, huggingface/trl#3021.
    """
    batch = make_batch(shape)
    count = float(batch.mask.sum())
    whole = target.weights(replace(batch, token_count=count))[1]
    more = target.weights(replace(batch, token_count=factor * count))[1]
    expect_pair(
        same(target, whole, factor * more),
        more,
        whole / factor,
        f"{factor:g} times the token count turns weights {shown(whole)} into {{}}, expected {{}}",
    )
    rows = [replace(batch.rows(slice(s, s + 1)), group=1, token_count=count) for s in range(len(batch.mask))]
    summed = np.concatenate([target.weights(part)[1] for part in rows])
    expect_pair(
        same(target, whole, summed),
        whole,
        summed,
        "weights {} of the whole, {} rank by rank with the count of the whole: each divides by its own tokens",
    )
