"""tunix (JAX): ``loss_fn(model, train_example, algo_config, pad_id, eos_id)`` and advantages of flat rewards.

The loss computes its log-probabilities from a model; while it runs, the functions that its module calls for that
(``nnx.split`` and ``common.compute_per_token_logps``) answer with the kit's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradvar.testing.adapters.base import Adapter, CallForm, TrainerCall, TrainerConfig, as_float
from gradvar.testing.arrays import unwrapped

CONFIG = {
    "beta": 0.0,
    "epsilon": 0.2,
    "epsilon_low": 0.2,
    "epsilon_high": 0.2,
    "loss_algo": "grpo",
    "loss_agg_mode": "sequence-mean-token-mean",
    "temperature": 1.0,
    "kl_loss_mode": "low_var_kl",
    "kl_clamp_value": None,
    "kl_coef": 0.0,
    "entropy_coef": None,
}


def _loss(call: TrainerCall) -> Any:
    values = call.values
    mask = as_float(values["mask"], values["logp"])
    words = np.zeros(np.shape(mask), np.int32)
    example = SimpleNamespace(
        prompt_ids=words[:, :1],
        prompt_mask=words[:, :1] + 1,
        completion_ids=words,
        completion_mask=mask,
        advantages=values["advantages"],
        old_per_token_logps=values["old_logp"],
        ref_per_token_logps=values.get("ref_logp"),
        segment_ids=None,
        segment_positions=None,
        sampler_is_weights=None,
    )
    with log_probabilities(call.function, values["logp"]):
        result = call.by_name(
            {
                "model": SimpleNamespace(logp=values["logp"]),
                "train_example": example,
                "algo_config": TrainerConfig({**CONFIG, **call.rest()}),
                "pad_id": 0,
                "eos_id": 0,
            }
        )
    return result[0] if isinstance(result, tuple) else result


@contextmanager
def log_probabilities(function: Callable[..., Any], logp: Any) -> Iterator[None]:
    """While this lasts, the function's module computes these log-probabilities, whatever the model."""
    scope = unwrapped(function).__globals__
    logits = np.zeros((*np.shape(logp), 2), np.float32)
    # the names by which the module reaches the model, where it has them
    answers: dict[str, dict[str, Callable[..., Any]]] = {
        "nnx": {"split": lambda *args, **kwargs: (None, None)},
        "common": {
            "compute_per_token_logps": lambda *args, **kwargs: (
                (logp, logits) if kwargs.get("return_logits") else logp
            )
        },
    }
    before = {name: scope[name] for name in answers if name in scope}
    try:
        for name, module in before.items():
            scope[name] = _Answering(module, answers[name])
        yield
    finally:
        scope.update(before)


class _Answering:
    """A module some of whose functions are answered by others."""

    def __init__(self, module: Any, answers: Mapping[str, Callable[..., Any]]) -> None:
        self._module, self._answers = module, answers

    def __getattr__(self, name: str) -> Any:
        return self._answers[name] if name in self._answers else getattr(self._module, name)


def _loss_roles(settings: Mapping[str, Any]) -> tuple[str, ...]:
    reference = settings.get("beta") or settings.get("kl_coef")
    return ("logp", "old_logp", "advantages", "mask", *(("ref_logp",) if reference else ()))


def _advantage(call: TrainerCall) -> Any:
    return call.by_name({"rewards": call.values["rewards"], "num_generations": int(call.values["count"])})


TUNIX = Adapter(
    "tunix",
    "google-tunix",
    "jax",
    (
        CallForm("loss", ("model", "train_example", "algo_config"), _loss, roles=_loss_roles),
        CallForm("advantage", ("rewards", "num_generations"), _advantage, roles=("rewards", "count")),
    ),
)
