"""What the tests of PyTorch models share. Without PyTorch those files are skipped, and nothing here is asked for."""

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """Small models are faster on one."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def rollouts():
    """The off-policy rollouts of ``scenes``."""
    from .scenes import off_policy

    return off_policy()
