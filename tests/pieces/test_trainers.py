"""Every correction's weights against the functions of the trainers that are installed here; skipped where none is."""

import importlib.util
import sys
from pathlib import Path

import pytest

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"
TRAINERS = ("verl", "skyrl", "areal", "trl", "trinity")
INSTALLED = [name for name in TRAINERS if importlib.util.find_spec(name)]


@pytest.mark.slow
@pytest.mark.skipif(
    not INSTALLED, reason="no trainer is installed; pip install one of " + ", ".join(TRAINERS)
)
@pytest.mark.parametrize("trainer", INSTALLED)
def test_weights_are_those_of_the_trainer(trainer, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(PEERS))
    import corrections

    monkeypatch.setattr(sys, "argv", ["corrections", "--only", trainer, "--out", str(tmp_path / "table.csv")])
    assert corrections.main() == 0
    assert len((tmp_path / "table.csv").read_text().splitlines()) > 1
