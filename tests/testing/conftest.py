"""The quick suite runs a sample of the kit's long tables; the slow suite runs the rest."""

import pytest
from hypothesis import Phase

from gradvar.testing import search

# Of the parametrised tests of a file, every n-th is quick.
SAMPLED = {
    "test_adapters.py": 2,
    "test_forms.py": 12,
    "test_forms_names.py": 8,
    "test_identify.py": 30,
    "test_oracle.py": 10,
    "test_oracle_matches.py": 10,
    "test_violators_table.py": 12,
    "test_gae.py": 20,
    "test_critic.py": 16,
    "test_correction.py": 8,
    "test_sequence_mask.py": 5,
    "test_pairs.py": 12,
    "test_shaping.py": 8,
    "test_kl_reward.py": 12,
    "test_matrix.py": 16,
    "test_filters.py": 16,
    "test_steps.py": 12,
    "test_left.py": 6,
}


@pytest.fixture
def unshrunk(monkeypatch):
    """The first example that breaks a law is as good as the smallest, which takes most of the time to find."""
    monkeypatch.setattr(search, "PHASES", (Phase.generate,))


def _place(item):
    """Where a test stands in its file: a plugin may have shuffled the tests, and which are quick is not to change."""
    indices = item.callspec.indices if hasattr(item, "callspec") else {}
    return str(item.path), item.location[1] or 0, tuple(indices.values()), item.nodeid


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    counts = dict.fromkeys(SAMPLED, 0)
    for item in sorted(items, key=_place):
        name = item.path.name
        if name in SAMPLED and hasattr(item, "callspec") and "testing" in item.path.parts:
            if counts[name] % SAMPLED[name]:
                item.add_marker(pytest.mark.slow)
            counts[name] += 1
