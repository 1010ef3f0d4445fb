"""Adapters of trainers' batches: ``gradvar check --adapter verl module:function`` is one line."""

from gradvar.testing.adapters.base import Adapter, CallForm, TrainerCall, TrainerConfig, adapted
from gradvar.testing.adapters.nemo_rl import NEMO_RL
from gradvar.testing.adapters.openrlhf import OPENRLHF
from gradvar.testing.adapters.prime_rl import PRIME_RL
from gradvar.testing.adapters.skyrl import SKYRL
from gradvar.testing.adapters.slime import SLIME
from gradvar.testing.adapters.torchrl import TORCHRL
from gradvar.testing.adapters.trl import TRL
from gradvar.testing.adapters.tunix import TUNIX
from gradvar.testing.adapters.verl import VERL

ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter
    for adapter in (VERL, TRL, OPENRLHF, NEMO_RL, SKYRL, SLIME, TUNIX, TORCHRL, PRIME_RL)
}
"""The adapters by the trainer's name."""

__all__ = ["ADAPTERS", "Adapter", "CallForm", "TrainerCall", "TrainerConfig", "adapted", "adapter_named"]


def adapter_named(name: str) -> Adapter:
    """The adapter of a trainer. Raises ``ValueError`` where there is none."""
    if name not in ADAPTERS:
        raise ValueError(f"adapter: '{name}' is unknown; give one of {', '.join(ADAPTERS)}")
    return ADAPTERS[name]
