"""The simulated cluster against the closed form of work under failures; the accelerator's script in its small form."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scale.simulate import Cluster, expected_shard, simulate


def test_one_worker_takes_the_expected_time():
    cluster = Cluster(workers=1, rate=1 / 50.0, restart=7.0)
    outcome = simulate(4000, 60.0, cluster, seed=1)
    # the spread of a shard's time is about that of a geometric number of failures: 1.5 of its mean
    assert outcome.seconds / 4000 == pytest.approx(expected_shard(60.0, cluster), rel=4.5 * 1.5 / 4000**0.5)
    assert simulate(10, 60.0, Cluster(1, 0.0, 7.0)).seconds == 600.0


def test_a_thousand_workers_lose_little_with_short_shards():
    cluster = Cluster(workers=1000, rate=1 / 86_400, restart=300.0)
    short, long = simulate(20_000, 600.0, cluster), simulate(2_000, 6_000.0, cluster)
    assert short.lost == pytest.approx(600 / 2 / 86_400, rel=0.4)  # half a shard for every failure
    assert long.lost > 4 * short.lost


@pytest.mark.slow
def test_the_script_for_an_accelerator_works_on_a_cpu(tmp_path):
    """On the day it has eight minutes: one file, with every stage at every size, in bfloat16 as there."""
    script = Path(__file__).parents[2] / "benchmarks" / "accelerator" / "run.sh"
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {**os.environ, "PATH": path}
    subprocess.run(["bash", str(script), str(tmp_path / "a.json"), "small"], check=True, env=environment)
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["dtype"] == "bfloat16"
    assert {"date", "device", "versions", "ceiling"} <= found.keys()
    (size,) = found["sizes"].values()
    stages = {"sampling", "log-probabilities", "scoring", "ghost norms", "sketch of one score"}
    assert size["seconds"].keys() == size["of_ceiling"].keys() == stages
    assert all(share > 0 for share in size["of_ceiling"].values())
