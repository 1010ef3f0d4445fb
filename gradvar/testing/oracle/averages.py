"""Aggregations as the coefficient of every token [N, T], and KL terms with their derivatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradvar.testing.oracle.rollouts import Grouping

AGGREGATIONS = (
    "token-mean", "sequence-mean", "sequence-sum", "token-sum", "prompt-mean", "constant-length", "token-count",
)  # fmt: skip
"""Over all tokens; over each rollout's tokens, then rollouts; sums over rollouts; no mean at all; over each
prompt's tokens, then prompts; sums over rollouts and a constant; sums over a count that is given."""


def coefficients(
    aggregation: str,
    mask: np.ndarray,
    groups: Grouping,
    *,
    empty: str = "count",
    length: float | None = None,
    token_count: float | None = None,
) -> np.ndarray:
    """The coefficient of every token in the objective's value.

    Args:
        aggregation: One of ``AGGREGATIONS``.
        mask: Tokens that count, [N, T].
        groups: The groups of the rows.
        empty: ``count`` or ``drop`` the rows (for ``prompt-mean``: prompts) without a token.
        length: The constant of ``constant-length``; None: the width T.
        token_count: The divisor of ``token-count``; None: this batch's tokens.
    """
    weight = mask.astype(float)
    tokens = weight.sum(-1, keepdims=True)
    rows = len(mask) if empty == "count" else max(int((tokens > 0).sum()), 1)
    if aggregation == "token-mean":
        return weight / max(tokens.sum(), 1)
    if aggregation == "sequence-mean":
        return weight / np.maximum(tokens, 1) / rows
    if aggregation == "sequence-sum":
        return weight / rows
    if aggregation == "token-sum":
        return weight
    if aggregation == "constant-length":
        return weight / rows / (mask.shape[1] if length is None else length)
    if aggregation == "token-count":
        return weight / (max(tokens.sum(), 1) if token_count is None else token_count)
    per_prompt = groups.totals(tokens[:, 0])
    prompts = groups.count if empty == "count" else max(int((per_prompt > 0).sum()), 1)
    return weight / np.maximum(per_prompt, 1)[groups.index][:, None] / prompts


KL_FORMS = ("k1", "k2", "k3", "abs", "mse")


def kl_tokens(kl: str, logp: np.ndarray, old: np.ndarray, ref: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The KL estimate of every token and its derivative, [N, T] each, before the coefficient.

    ``k1``, ``k2``, ``k3``, ``abs`` and ``mse`` of k = logp - ref. ``weighted-k3``: times r = exp(logp - old),
    differentiated as a product. ``scaled-k3``: times r under a stop-gradient. ``k1-through-k2``: the value of the
    first with the gradient of the second.

    Args:
        kl: The form.
        logp: Log-probabilities, [N, T].
        old: Those of the policy that sampled.
        ref: Those of the reference.
    """
    form, _, through = kl.partition("-through-")
    prefix, _, plain = form.rpartition("-")
    value, slope = _PLAIN[plain](logp - ref)
    if through:
        slope = _PLAIN[through](logp - ref)[1]
    r = np.exp(logp - old)
    if prefix == "weighted":
        return r * value, r * (value + slope)
    if prefix == "scaled":
        return r * value, r * slope
    return value, slope


_PLAIN: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "k1": lambda k: (k, np.ones_like(k)),
    "k2": lambda k: (k**2 / 2, k),
    "k3": lambda k: (np.expm1(-k) + k, -np.expm1(-k)),
    "abs": lambda k: (np.abs(k), np.sign(k)),
    "mse": lambda k: (k**2, 2 * k),
}


def known_kl(kl: str) -> bool:
    """Return True if ``kl_tokens`` knows the form."""
    form, _, through = kl.partition("-through-")
    prefix, _, plain = form.rpartition("-")
    return plain in _PLAIN and prefix in ("", "weighted", "scaled") and (not through or through in _PLAIN)
