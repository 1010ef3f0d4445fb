"""A model cut over four processes, one of which is killed, and then over two, records the bank of one process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradvar.gradients.sketch import Sketch  # noqa: E402

from . import models, sharded_once  # noqa: E402

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_sketches_of_pieces_add_up_to_the_sketch(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.torch.sharded_once", str(tmp_path)]
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert finished.stdout.splitlines() == ["stopped"]
    assert (tmp_path / "killed").read_text() == "1"
    assert not (tmp_path / "2.npz").exists()  # none of the four got to its end
    banks = [sharded_once.record(models.Llama(tied=x).float(), Sketch("hashed", 16)) for x in (True, False)]
    alone, untied = (bank.recording.scores.vectors for bank in banks)
    assert np.abs(alone).max() > 0.1
    for rank in range(2):
        made = np.load(tmp_path / f"{rank}.npz")
        np.testing.assert_allclose(made["vectors"], alone, atol=1e-5)  # a part by four, the other by two
        assert made["there"].tolist() == ["shard-00000"]  # what four had recorded is kept
        assert made["kept"].all()
        np.testing.assert_allclose(made["cut"], untied, atol=1e-5)
        assert made["placements"].tolist() == ["(Shard(dim=0),)", "(Shard(dim=1),)"]
        assert "give scores=Sketch" in str(made["refusal"])
