"""The limit that tests set for child processes: of what they compute, and not of how long they wait."""

import signal
import sys

import pytest

from tests.processor import run_within


@pytest.mark.slow
def test_a_process_that_computes_for_ever_is_ended_and_one_that_waits_is_not():
    endless = run_within(1, [sys.executable, "-c", "while True: pass"])
    assert endless.returncode == -signal.SIGXCPU
    waiting = run_within(1, [sys.executable, "-c", "import time; time.sleep(1.5); print('done')"])
    assert (waiting.returncode, waiting.stdout) == (0, "done\n")
