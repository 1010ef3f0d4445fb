"""The command line's edge: a reader that has read enough, as `head` has, is no crash."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "code"), [(["cite", "grpo"], 141), (["list"], 1)]
)  # Rich has a code of its own
def test_a_closed_pipe_is_no_crash(arguments, code):
    command = [sys.executable, "-c", "from gradvar.cli.main import main; main()", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == code
    assert not said
