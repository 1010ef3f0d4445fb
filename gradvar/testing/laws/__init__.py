"""The laws, as explicit tuples: of advantages, and of losses."""

from __future__ import annotations

from gradvar.testing.laws import advantage, exact, half, loss, masks, robust, signal
from gradvar.testing.laws.base import Broken, Law, Residue

ADVANTAGE: tuple[Law, ...] = (*robust.LAWS, *signal.LAWS, *masks.LAWS, *advantage.LAWS, *exact.ADVANTAGE_LAWS)
LOSS: tuple[Law, ...] = (*loss.LAWS, *half.LAWS, *exact.LOSS_LAWS)

__all__ = ["ADVANTAGE", "LOSS", "Broken", "Law", "Residue"]
