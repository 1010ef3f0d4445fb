"""The same numbers on 1, 2 and 4 devices of a process, and on 4 devices of two.

Direct Monte Carlo and the scores of given rows, to the last bit; pools too, where the policy multiplies no matrices. A
transformer's log-probabilities agree to rounding: products of matrices may be summed in another order for another
number of rows.
"""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradvar as gv
from gradvar.core.devices import SINGLE, DeviceMesh, choose_devices, padded

ROOT = Path(__file__).parent.parent.parent
LOGP = 1e-5  # float32: eight roundings of numbers below ten


def start(out, scene, counts, *more):
    command = [sys.executable, "-m", "tests.devices.run_once", str(out), scene, counts, *map(str, more)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    return said


def differing(one, two):
    """The names of arrays that are not the same to the last bit."""
    first, second = np.load(one), np.load(two)
    assert set(first) >= set(second)
    return {
        n for n in second if not np.array_equal(first[n], second[n], equal_nan=first[n].dtype.kind == "f")
    }


@pytest.mark.slow
def test_four_devices_and_one_agree_to_the_last_bit(tmp_path):
    assert "devices 4" in finish(start(tmp_path, "quick", "1,4"))
    assert not differing(tmp_path / "1.npz", tmp_path / "4.npz")
    arrays = dict(np.load(tmp_path / "1.npz"))
    arrays["direct/rloo/mean"] = np.nextafter(arrays["direct/rloo/mean"], 1)  # the planted violator: one bit
    np.savez(tmp_path / "other.npz", **arrays)
    assert differing(tmp_path / "1.npz", tmp_path / "other.npz") == {"direct/rloo/mean"}


@pytest.fixture(scope="module")
def finite(tmp_path_factory):
    out = tmp_path_factory.mktemp("finite")
    finish(start(out, "finite", "1,2,4"))
    return out


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_any_number_of_devices_and_one_agree(finite, devices):
    found = differing(finite / "1.npz", finite / f"{devices}.npz")
    assert found <= {"rademacher/vectors"}  # one product with a random matrix, for another number of rows
    one, two = (np.load(finite / f"{n}.npz")["rademacher/vectors"] for n in (1, devices))
    np.testing.assert_allclose(two, one, atol=1e-14)


@pytest.mark.slow
def test_two_processes_of_two_devices_and_one_of_one_agree(finite):
    processes = 2
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = [start(finite, "processes", "2", processes, index, port) for index in range(processes)]
    for process in started:
        assert "devices 4 of which here 2" in finish(process)
    for index in range(processes):  # every process has the whole result
        assert differing(finite / "1.npz", finite / f"{index}-of-{processes}.npz") == set()


@pytest.mark.slow
def test_a_transformer_agrees_to_rounding(tmp_path):
    finish(start(tmp_path, "transformer", "1,4"))
    one, four = (np.load(tmp_path / f"{n}.npz") for n in (1, 4))
    rounded = differing(tmp_path / "1.npz", tmp_path / "4.npz")
    assert rounded <= {"gram/pool/logp", "gram/pool/logp_old", "gram/pool/logp_ref"}
    np.testing.assert_allclose(four["gram/pool/logp"], one["gram/pool/logp"], atol=LOGP)


def test_who_does_the_work():
    assert choose_devices() is SINGLE  # a suite runs on one device
    assert choose_devices(1) is SINGLE
    for wrong, message in (
        (2, "devices: 2, and JAX sees 1"),
        ("every", "devices: 'every'"),
        ([], "is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            choose_devices(wrong)


def test_rows_are_filled_up_with_the_last():
    found = padded((np.arange(5), np.arange(10).reshape(5, 2)), 4)
    assert found[0].tolist() == [0, 1, 2, 3, 4, 4, 4, 4]
    assert found[1][-1].tolist() == [8, 9]


def test_devices_get_rows_of_their_own():
    import jax
    import jax.numpy as jnp

    spread = DeviceMesh(jax.devices())

    def call(shared, rows):
        return rows * shared

    np.testing.assert_array_equal(
        spread.gather(spread.over(call, (jnp.float64(2),), (jnp.arange(4.0),))), 2 * np.arange(4.0)
    )


def test_a_policy_that_does_not_number_its_prompts_is_drawn_on_one_device():
    from gradvar.measure.bank.sample import RolloutSampler
    from gradvar.measure.direct_plan import PolicyOnTask

    class Plain(gv.policies.Bandit):
        def sample(self, params, key, prompts, group):
            return super().sample(params, key, prompts, group)

    import jax

    policy, task = Plain(2), gv.tasks.Bandit([1.0, 0.0])
    subject = PolicyOnTask(policy, task, policy.init(jax.random.key(0)))
    draw = RolloutSampler(subject, jax.random.key(1), None, (), 4)
    assert draw(np.zeros(2, np.int32), 4).shape == (2, 4, 1)
    with pytest.raises(ValueError, match=r"Plain\.sample takes no first_prompt"):
        draw(np.zeros(2, np.int32), 4, first=2)
