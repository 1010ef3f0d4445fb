"""Seeds cut over the processes of jax.distributed: the same states and curves to the last bit, on every process."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
ROOT = Path(__file__).parent.parent.parent


def shared(folder, processes):
    """What every process printed."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.train.run_processes", str(folder), str(processes)]
    started = [
        subprocess.Popen(
            [*command, str(i), str(port)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for i in range(processes)
    ]
    said = [process.communicate() for process in started]
    assert all(process.returncode == 0 for process in started), said[0][1]
    return [out.splitlines() for out, _ in said]


@pytest.mark.slow
def test_one_and_two_processes_agree(tmp_path):
    ((alone,),) = shared(tmp_path, 1)
    for lines in shared(tmp_path, 2):
        assert lines[-1] == alone.replace("1 ", "2 ", 1)
        assert any(x.startswith("seeds: 3 for 2 devices of 2 processes") for x in lines)
        assert any(x.startswith("folder: ") for x in lines)
