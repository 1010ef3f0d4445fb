"""A verifier in Python that raises, hangs or gives no number: it is named, or counted, and never passed over."""

import threading
import time
import warnings
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import gradvar as gv
from gradvar.tasks import verifier
from tests.faults.scenes import POLICY, TASK, params, record, unsharded


class Judge:
    """Right where the answer is 0, as in Python; ``fault`` is called on the answer 1 to prompt 2."""

    def __init__(self, fault=None):
        self.fault = fault

    def prompts(self, key, num):
        return TASK.prompts(key, num)

    def reward(self, prompts, completions):
        assert isinstance(prompts, np.ndarray)
        assert completions.shape == (1, 1, 1)
        if self.fault and prompts[0] == 2 and completions[0, 0, 0] == 1:
            return self.fault()
        return np.array([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]][int(prompts[0])][int(completions[0, 0, 0])]])


def raises():
    return [][1]


HANGS = threading.Event()


def hangs():
    HANGS.set()
    time.sleep(30)


class Patient(threading.Thread):
    """Waits until the call has ended, or hangs: however busy the machine is, nothing else is late."""

    def join(self, timeout=None):
        while self.is_alive() and not HANGS.is_set():
            super().join(0.001)
        HANGS.clear()


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setattr(verifier, "threading", SimpleNamespace(Thread=Patient))


FAULTS = {
    "raised IndexError": raises,
    "took more than": hangs,
    "gave nan": lambda: np.nan,
    "raised TypeError": lambda: None,
}


@pytest.mark.slow
def test_python_gives_what_a_table_gives(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = record(tmp_path, task=gv.measure.Verifier(Judge(), time_limit=10.0))
    known = unsharded()
    for name, array in known.rollouts.arrays().items():
        assert np.array_equal(found.rollouts.arrays()[name], array)
    assert np.array_equal(found.recording.scores.vectors, known.recording.scores.vectors)


@pytest.mark.parametrize("said", FAULTS)
def test_a_failure_is_named_and_what_was_finished_is_kept(tmp_path, said, patient):
    pool = unsharded().rollouts
    bad = (pool.prompts[:, None] == 2) & (pool.completions[..., 0] == 1)
    shard, rollout = np.argwhere(bad)[0][0] // 2, np.argwhere(bad)[0][1]
    task = gv.measure.Verifier(Judge(FAULTS[said]), time_limit=0.1)
    message = rf"the verifier {said}.* on prompt \d, rollout {rollout}; fix it.*{shard} of 4 shards are kept"
    with pytest.raises(ValueError, match=message):
        record(tmp_path, task=task)
    assert len(list(tmp_path.glob("shard-*"))) == shard


@pytest.mark.parametrize("said", FAULTS)
def test_what_fails_can_count_as_something_and_is_counted(said, patient):
    task = gv.measure.Verifier(Judge(FAULTS[said]), time_limit=0.1, otherwise=-1.0)
    plain = unsharded().rollouts
    bad = (plain.prompts[:, None] == 2) & (plain.completions[..., 0] == 1)
    with pytest.warns(
        UserWarning, match=f"{bad.sum()} of 28 completions count as -1.0, .* first time it {said}"
    ):
        bank = gv.measure.record(POLICY, params(), task, jax.random.key(1), 7, 4)
    assert np.array_equal(bank.rollouts.rewards, np.where(bad, -1.0, plain.rewards))


def test_a_limit_of_time_ends_the_wait():
    task = gv.measure.Verifier(Judge(hangs), time_limit=0.05)
    with pytest.raises(ValueError, match=r"the verifier took more than 0\.\d+ s on prompt 0, rollout 0"):
        task.reward(np.array([2]), np.ones((1, 1, 1), np.int32))


@pytest.mark.slow
def test_a_verifier_works_inside_compiled_code():
    settings = {"key": jax.random.key(0), "replicates": 32}
    found = gv.measure.direct(
        gv.catalogue.get("rloo"), POLICY, params(), gv.measure.Verifier(Judge()), 4, prompts=TASK.all_prompts(),
        **settings,
    )  # fmt: skip
    known = gv.measure.direct(
        gv.catalogue.get("rloo"), POLICY, params(), TASK, 4, prompts=TASK.all_prompts(), **settings
    )
    np.testing.assert_array_equal(found.mean, known.mean)


def test_plain_python_is_told_what_to_do():
    with pytest.raises(
        ValueError, match=r"task: Python.reward is not made of JAX operations; wrap it: .*Verifier"
    ):
        gv.measure.record(POLICY, params(), Python(), jax.random.key(1), 7, 4)


class Python(Judge):
    def reward(self, prompts, completions):
        return super().reward(np.asarray(prompts)[:1], np.asarray(completions)[:1, :1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"time_limit": 0.0}, "time_limit: 0.0"), ({"otherwise": np.nan}, "otherwise: nan")],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        gv.measure.Verifier(Judge(), **settings)
