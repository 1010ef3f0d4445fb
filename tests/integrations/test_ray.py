"""Parts on local Ray clusters, with a worker that is killed; skipped where Ray is not installed."""

import os
import signal
from pathlib import Path

import jax
import pytest

import gradvar as gv
from gradvar.integrations import ray as on_ray
from gradvar.measure.bank.recorder import ShardPart
from tests.faults.scenes import record, same, unsharded


def test_without_ray_one_line_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(on_ray.importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"pip install 'gradvar\[ray\]'"):
        on_ray.run_parts(print, 2)
    with pytest.raises(ValueError, match="parts: 0"):
        on_ray.run_parts(print, 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_killed_worker_is_replaced_and_errors_are_told(tmp_path):
    ray = pytest.importorskip("ray")
    folder = str(tmp_path)

    def job(part):
        number = part.partition("/")[0]
        with open(f"{folder}/attempts", "a") as file:
            file.write(f"{number}\n")
        if number == "2" and not os.path.exists(f"{folder}/killed"):
            Path(f"{folder}/killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        Path(f"{folder}/part-{number}").write_text(str(int(number) ** 2))

    def fails(part):
        if part == "1/2":
            raise RuntimeError("no such model")

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        assert sorted(on_ray.run_parts(job, 4)) == [1, 2, 3, 4]
        assert [Path(f"{folder}/part-{i}").read_text() for i in range(1, 5)] == ["1", "4", "9", "16"]
        assert Path(f"{folder}/attempts").read_text().split().count("2") == 2
        with pytest.raises(
            ValueError, match=r"job: 1 of 2 parts failed, the first is 1/2 \(RuntimeError: no such"
        ):
            on_ray.run_parts(fails, 2)
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_bank_does_not_depend_on_the_workers(tmp_path, workers):
    """Nor on the order in which parts end, nor on one that was killed."""
    ray = pytest.importorskip("ray")
    bank, killed = tmp_path / "bank", tmp_path / "killed"

    def job(part):
        if part == "2/4" and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        jax.config.update("jax_enable_x64", True)  # as in this process
        record(bank, part=ShardPart.parse(part))

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    try:
        assert sorted(on_ray.run_parts(job, 4)) == [1, 2, 3, 4]
    finally:
        ray.shutdown()
    assert killed.exists()
    assert same(gv.ScoreBank.open(bank), unsharded())
