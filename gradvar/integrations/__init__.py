"""Figures of a running training: signal in groups, other group sizes, noise, engine against trainer.

    trainer.add_callback(gradvar.integrations.trl.GradVarCallback(trainer))   # TRL

    monitor = gradvar.integrations.Monitor()                                    # verl, prime-rl, a loop of one's own
    monitor.rewards(rewards)                                                    # [prompt, rollout], at every step
    wandb.log(monitor.metrics())

    gradvar.integrations.ray.run_parts(job, 16)                                 # recordings on a Ray cluster

``Monitor`` needs NumPy and SciPy; the noise of the gradient needs PyTorch. Nothing is loaded before it is used.
"""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__, submodules=["ray", "trl"], submod_attrs={"monitor": ["Monitor"]}
)
