"""The command line's edge: a reader that has read enough."""

import subprocess
import sys


def test_a_closed_pipe_is_no_crash():
    command = [sys.executable, "-c", "from gradvar.cli import main; main()", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141
    assert not said
