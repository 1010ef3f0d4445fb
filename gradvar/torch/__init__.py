"""Rollouts from a PyTorch trainer: the same score bank, from token ids, masks, rewards and any causal language model.

    import gradvar.torch

    rollouts = gradvar.torch.as_rollouts(prompts, completions, mask=mask)
    bank = gradvar.torch.record(model, rollouts, rewards)

Nothing is loaded before it is used; where PyTorch is missing, using it says so in one line.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradvar.torch.arrays import as_rollouts as as_rollouts
    from gradvar.torch.model import logprobs as logprobs
    from gradvar.torch.recording import TorchSettings as TorchSettings
    from gradvar.torch.recording import record as record

_NAMES = {
    "TorchSettings": "gradvar.torch.recording",
    "as_rollouts": "gradvar.torch.arrays",
    "logprobs": "gradvar.torch.model",
    "record": "gradvar.torch.recording",
}

__all__ = ["TorchSettings", "as_rollouts", "logprobs", "record"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'gradvar.torch' has no attribute '{name}'")
    try:
        importlib.import_module("torch")
    except ImportError:
        raise ImportError("torch: not installed; pip install torch") from None
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value
