"""The conformance kit: property tests for anybody's advantage function or policy-gradient loss.

    from gradvar.testing import advantage_laws

    @advantage_laws(my_advantage)
    def test_my_advantage(law):
        law()

Needs NumPy and Hypothesis (``pip install hypothesis``); JAX or PyTorch only if the code under test uses
them.
"""

from typing import Any

import lazy_loader

_lazily, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _lazily(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "hypothesis":
            raise
        raise ImportError(
            "gradvar.testing: hypothesis is not installed; pip install hypothesis", name="hypothesis"
        ) from None
