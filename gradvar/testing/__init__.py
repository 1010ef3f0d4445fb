"""The conformance kit: property tests for anybody's advantage function or policy-gradient loss.

    from gradvar.testing import advantage_laws

    @advantage_laws(my_advantage)
    def test_my_advantage(law):
        law()

Needs NumPy and Hypothesis (``pip install gradvar[check]``); JAX or PyTorch only if the code under test uses
them.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "advantage_laws": "pytest_laws",
    "loss_laws": "pytest_laws",
    "LawCase": "pytest_laws",
    "check_advantage": "runner",
    "check_loss": "runner",
    "Report": "runner",
    "Result": "runner",
    "advantage_target": "targets",
    "loss_target": "targets",
    "AdvantageTarget": "targets",
    "LossTarget": "targets",
    "LossBatch": "targets",
    "SignatureError": "signatures",
    "LAWS": "names",
}
_MODULES = ("strategies", "laws", "names")

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"gradvar.testing.{_HOMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"gradvar.testing.{name}")
    raise AttributeError(f"module 'gradvar.testing' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
