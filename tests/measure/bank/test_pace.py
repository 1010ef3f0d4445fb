"""The estimate of a recording's time, by a clock of its own: sampling 2 s, scoring 3 s, writing 1 s a prompt."""

import numpy as np
import pytest

from gradvar.measure.bank.pace import Pace


class Heard:
    def __init__(self):
        self.steps, self.notes = [], []

    def stage(self, name, total):
        raise AssertionError("a stage is begun by the recording")

    def advance(self, steps=1, note=""):
        self.steps.append(steps)
        self.notes.append(note)


def test_what_is_left_by_what_was_seen():
    now, heard = [0.0], Heard()
    pace = Pace(10, heard, clock=lambda: now[0])

    def shard(prompts, compiling=0.0):
        pace.begin()
        now[0] += 2.0 * prompts + compiling
        pace.done("sampling", prompts)

        def images():
            for _ in range(4):
                now[0] += 3.0 * prompts / 4
                yield np.zeros((1, 8))

        pace.begin()
        for _ in pace.scoring(images(), 4, prompts):
            pass
        now[0] += prompts
        pace.written(prompts)

    assert pace.left() is None
    assert pace.note() == ""
    shard(2, compiling=100.0)
    assert heard.notes[0].startswith("about ")  # from the first rows
    assert pace.left() == pytest.approx(8 * (52 + 3 + 1))  # the first sample holds the time of compiling
    shard(2)
    assert pace.left() == pytest.approx(6 * (2 + 3 + 1))
    assert heard.notes[-1] == "about 36 s left (sampling 2 s, scoring 3 s, writing 1 s a prompt)"
    shard(6)
    assert pace.left() == 0
    assert sum(heard.steps) == pytest.approx(10)
    assert pace.seconds == pytest.approx({"sampling": 120.0, "scoring": 30.0, "writing": 10.0})
