"""Which named estimator a function is, with which settings, and where it differs.

print(identify(my_advantages).sentence)
# GRPO, sample std, epsilon 0.0001 added; differs: groups of one (raw reward)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradvar.testing.identification.advantage import identify_advantages
from gradvar.testing.identification.loss import identify_loss
from gradvar.testing.identification.report import Identification
from gradvar.testing.kinds import Kind, check_kind, kind_of, kind_target
from gradvar.testing.losses import LossTarget
from gradvar.testing.matching.match import Target, target_of
from gradvar.testing.targets import AdvantageTarget


def identify(function: Callable[..., Any] | Target, **settings: Any) -> Identification:
    """Find the named estimator and the settings that reproduce an advantage function or a loss.

    Args:
        function: The function, or its target.
        settings: Further settings of ``advantage_target`` or ``loss_target``.

    Raises:
        ValueError: The function's signature is not understood.

    >>> import numpy as np
    >>> def mine(rewards):  # [G]
    ...     return (rewards - np.mean(rewards)) / (np.std(rewards) + 1e-4)
    >>> identify(mine, signature="group").sentence
    'GRPO, population std, epsilon 0.0001 added; differs: a NaN reward (its group is NaN)'
    """
    if not isinstance(function, AdvantageTarget | LossTarget) and not settings.get("signature"):
        further = kind_of(function, settings.get("arguments"))
        if further is not None:
            return identify_kind(function, further, **settings)
    target = target_of(function, **settings)
    if isinstance(target, LossTarget):
        return identify_loss(target)
    return identify_advantages(target)


def identify_kind(function: Callable[..., Any], kind: Kind, **settings: Any) -> Identification:
    """Identify a function of a further kind (GAE, value losses, pair losses, ...) by the known forms of the kind."""
    target = kind_target(function, kind, **settings)
    label = target.origin or target.name
    if target.form is None:
        nearest = f"; nearest: {target.nearest.title}" if target.nearest else ""
        gap = ""
        if target.nearest is not None and target.odd_scene is not None:
            gap = f": {target.difference(target.nearest, target.odd_scene, target.factor)}"
        return Identification(label, kind.name, False, why=f"a function for {kind.name}{nearest}{gap}")
    times = "" if abs(target.factor - 1) < 1e-3 else f", times {target.factor:.4g}"
    failures = check_kind(target).failures
    differs = tuple(f"{r.name} ({r.why})" for r in failures)
    words = f"{target.form.title}{times}"
    return Identification(label, kind.name, not failures, target.form.name, differs=differs, words=words)
