"""Two rollouts against sixteen by exact enumeration, in seconds: the identity with DPO, prompt weights, and noise.

One prompt for each of 19 success rates, a right answer and a wrong one; on policy. The identity is that of arXiv
2510.00977, Section 3: two rollouts of different reward have advantages +1 and -1, and so the weights of a pair of DPO
at its start, in units of beta (2305.18290, equation 7).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.estimator import token_weights
from gradvar.core.moments import Moments
from gradvar.measure.exact.enumerate import exact
from gradvar.measure.exact.tables import exact_tables
from gradvar.policies import Bandit
from gradvar.stats.text import short_text
from gradvar.tasks import Bandit as RewardTable

RATES = np.round(np.arange(1, 20) / 20, 2)
SIZES = (2, 16)
ROLLOUTS = 64
PAIRS = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0))


@dataclass(frozen=True)
class Demo:
    """What was enumerated.

    ``moments``: of GRPO at each group size, for batches of 64 rollouts. ``weights``: the factor of each success rate's
    expected gradient on its true one. ``pairs``: the token weights of two rollouts under GRPO and under DPO in units
    of beta, for each of ``PAIRS``, [pair, rollout].
    """

    moments: Mapping[int, Moments]
    weights: Mapping[int, Float[np.ndarray, " rate"]]
    pairs: Mapping[str, Float[np.ndarray, "pair rollout"]]

    @cached_property
    def difference(self) -> float:
        """The largest difference between the weights of GRPO and DPO on any pair."""
        return float(np.abs(self.pairs["grpo"] - self.pairs["dpo"]).max())

    def findings(self) -> list[str]:
        """Return three sentences; every number in them is exact."""
        two, sixteen = (self.moments[size] for size in SIZES)
        edge, middle = self.weights[16][0], self.weights[16][len(RATES) // 2]
        flat = float(np.abs(self.weights[2] - 1).max())
        ratio = sixteen.snr_per_rollout / two.snr_per_rollout
        more, fewer, times = (2, 16, ratio) if ratio > 1 else (16, 2, 1 / ratio)
        per_rollout = [short_text(m.snr_per_rollout) for m in (two, sixteen)]
        cosines = [short_text(m.cosine) for m in (two, sixteen)]
        return [
            f"With two rollouts GRPO is a pair of DPO at its start: {_signed(self.pairs['grpo'][0])} on a success and "
            f"a failure, nothing on equal rewards; DPO's weights over beta differ by {self.difference:.0e} at most "
            "(GRPO's epsilon).",
            f"At G = 2 every prompt has the weight that the gradient gives it (1, to {flat:.0e}); at G = 16 a prompt "
            f"solved {100 * RATES[0]:.0f} % of the time has {short_text(edge)}, one solved half of the time "
            f"{short_text(middle)}.",
            f"On these {len(RATES)} prompts groups of {more} need {times:.2f} times the rollouts of groups of {fewer} "
            f"for the same signal-to-noise ratio ({per_rollout[0]} per rollout at G = 2, {per_rollout[1]} at G = 16; "
            f"cosine with the true gradient {cosines[0]} and {cosines[1]}).",
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the findings and figures as plain values, for a file."""
        return {
            "kind": "demo",
            "findings": self.findings(),
            "rates": RATES.tolist(),
            "weights": {str(size): curve.tolist() for size, curve in self.weights.items()},
            "snr_per_rollout": {str(size): m.snr_per_rollout for size, m in self.moments.items()},
            "cosine": {str(size): m.cosine for size, m in self.moments.items()},
            "pairs": {name: array.tolist() for name, array in self.pairs.items()},
        }


def demo() -> Demo:
    """Enumerate GRPO with two and with sixteen rollouts, and compare its pairs with those of DPO."""
    grpo = catalogue.get("grpo")
    policy = Bandit(2, num_prompts=len(RATES))
    logits = np.stack([np.log(RATES / (1 - RATES)), np.zeros_like(RATES)], -1)
    tables = exact_tables(policy, logits, RewardTable(np.tile([1.0, 0.0], (len(RATES), 1))))
    # [rate, rate, answer]: each prompt has logits of its own, so only the diagonal is not zero
    gradients = np.asarray(tables.gradients).reshape(len(RATES), len(RATES), 2)
    truth = gradients[np.arange(len(RATES)), np.arange(len(RATES))]
    moments, weights = {}, {}
    for size in SIZES:
        moments[size] = exact(grpo, tables=tables, group_size=size, prompts=ROLLOUTS // size)
        mean = moments[size].mean.reshape(-1, 2) * len(RATES)  # each prompt's own
        weights[size] = (mean * truth).sum(-1) / (truth**2).sum(-1)
    return Demo(moments, weights, _pairs())


def _pairs() -> dict[str, np.ndarray]:
    """The token weights of two rollouts of one token each, [pair, rollout], at the reference policy."""
    logp = jnp.log(jnp.full((len(PAIRS), 2, 1), 0.5))
    batch = Batch(rewards=jnp.asarray(PAIRS), logp_old=logp, logp_ref=logp)
    pairs = {}
    for name, estimator in (("grpo", catalogue.get("grpo")), ("dpo", catalogue.get("dpo", beta=1.0))):
        weights = np.asarray(token_weights(estimator, logp, batch))
        pairs[name] = weights[..., 0] * len(PAIRS)  # of a prompt, not of the batch's mean
    return pairs


def _signed(weights: Float[np.ndarray, " rollout"]) -> str:
    return " and ".join(f"{w:+.2g}" for w in weights)
