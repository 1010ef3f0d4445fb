"""The conformance kit: property tests for anybody's advantage function or policy-gradient loss.

    from gradvar.testing import advantage_laws

    @advantage_laws(my_advantage)
    def test_my_advantage(law):
        law()

Needs NumPy and Hypothesis (``pip install gradvar[check]``); JAX or PyTorch only if the code under test uses
them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
