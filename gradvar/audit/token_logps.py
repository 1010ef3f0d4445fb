"""Log-probabilities of tokens by the engine and by the trainer, where a dump has both: how far they are apart."""

from typing import Any

import numpy as np


class TokenLogps:
    """Log-ratios trainer - engine of every token of every rollout, one array a rollout."""

    def __init__(self) -> None:
        self.log_ratios: list[np.ndarray] = []
        self.unlike = 0  # rollouts whose lists differ in length or hold no numbers

    def add(self, engine: Any, trainer: Any, mask: Any) -> None:
        """Add a rollout's lists of one length; ``mask`` keeps the tokens of the response, where it is one."""
        if not isinstance(engine, list) or not isinstance(trainer, list) or len(engine) != len(trainer):
            self.unlike += 1
            return
        try:
            apart = np.asarray(trainer, float) - np.asarray(engine, float)
        except (TypeError, ValueError):
            self.unlike += 1
            return
        if isinstance(mask, list) and len(mask) == len(apart):
            apart = apart[np.asarray(mask, bool)]
        if len(apart) and np.isfinite(apart).all():
            self.log_ratios.append(apart)
        else:
            self.unlike += 1
