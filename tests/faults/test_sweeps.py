"""Sweeps that were stopped go on: what was measured is kept, and nothing is taken for something else."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

import gradvar as gv
from gradvar.cli import main as cli
from gradvar.files.atomic import Lock
from gradvar.files.cache import MomentsCache
from gradvar.studies import settings as studies

SMALL = {
    "policies": ("bandit",),
    "estimators": ("rloo", "grpo"),
    "group_sizes": (2, 4),
    "staleness": (0,),
    "rollouts": 8,
    "replicates": 32,
}
SAMPLED = SMALL | {"estimators": ("reinforce_pp",), "group_sizes": (2,)}  # too many batches to enumerate
ARGUMENTS = ["--policies", "bandit", "--estimators", "rloo", "grpo", "--group-sizes", "2", "4", "--staleness", "0",
             "--rollouts", "8"]  # fmt: skip


def rows(study):
    return [(r["estimator"], r["group_size"], r["figure"], r["value"], r["se"]) for r in study.rows()]


def stopping(patch, after, error=KeyboardInterrupt):
    """Enumeration that is interrupted before its ``after``-th result."""
    made, calls = studies.exact, []

    def measure(*args, **named):
        calls.append(args[0].name)
        if len(calls) == after:
            raise error
        return made(*args, **named)

    patch.setattr(studies, "exact", measure)
    return calls


@pytest.fixture(scope="module")
def whole():
    return gv.study(**SMALL)


@pytest.mark.slow
def test_a_stopped_sweep_goes_on(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stopping(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            gv.study(**SMALL, keep=tmp_path)
    with monkeypatch.context() as patch:
        calls = stopping(patch, 0)
        resumed = gv.study(**SMALL, keep=tmp_path)
    assert calls == ["grpo"]
    assert resumed.reused == 3
    assert rows(resumed) == rows(whole)
    for one, two in zip(resumed.results, whole.results, strict=True):
        np.testing.assert_array_equal(one.moments.mean, two.moments.mean)
        np.testing.assert_array_equal(one.moments.true_gradient, two.moments.true_gradient)


@pytest.mark.slow
def test_what_differs_is_measured(whole, tmp_path, monkeypatch):
    gv.study(**SMALL, keep=tmp_path)
    calls = stopping(monkeypatch, 0)
    assert gv.study(**SMALL | {"group_sizes": (2, 8)}, keep=tmp_path).reused == 2
    assert calls == ["rloo", "grpo"]
    for change in ({"seed": 1}, {"rollouts": 16}, {"clip": (0.3,), "estimators": ("grpo",)}):
        assert gv.study(**SMALL | change, keep=tmp_path).reused == 0
    with monkeypatch.context() as patch:
        patch.setattr(studies, "versions", lambda: {"source": "another"})
        assert gv.study(**SMALL, keep=tmp_path).reused == 0


@pytest.mark.slow
def test_sampled_settings_are_kept_too(tmp_path, monkeypatch):
    first = gv.study(**SAMPLED, keep=tmp_path)
    monkeypatch.setattr(studies, "direct", None)
    again = gv.study(**SAMPLED, keep=tmp_path)
    assert again.reused == len(again.results) == 1
    assert rows(again) == rows(first)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [0, 100, -5])
def test_a_damaged_file_is_measured_again(whole, tmp_path, cut):
    gv.study(**SMALL, keep=tmp_path)
    path = sorted(tmp_path.glob("*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.warns(UserWarning, match="is damaged .*; its setting is measured again"):
        found = gv.study(**SMALL, keep=tmp_path)
    assert found.reused == 3
    assert rows(found) == rows(whole)


@pytest.mark.slow
def test_a_file_of_another_setting_is_not_believed(whole, tmp_path):
    gv.study(**SMALL, keep=tmp_path)
    one, two, *_ = sorted(tmp_path.glob("*.safetensors"))
    one.write_bytes(two.read_bytes())
    with pytest.warns(UserWarning, match=r"is damaged \(of another setting\)"):
        assert rows(gv.study(**SMALL, keep=tmp_path)) == rows(whole)


def test_every_flipped_bit_is_noticed(whole, tmp_path):
    with MomentsCache(tmp_path) as kept:
        moments, identity = whole.results[0].moments, {"a": 1}
        kept.put(identity, moments)
        (path,) = tmp_path.glob("*.safetensors")
        content, rng = path.read_bytes(), np.random.default_rng(0)
        for at in rng.choice(len(content), 200, replace=False).tolist():
            changed = bytearray(content)
            changed[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(changed))
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                found = kept.get(identity)
            if found is None:
                assert "is damaged" in str(heard[0].message)
            else:  # white space of the header may change, numbers may not
                assert (found.trace_cov, found.se) == (moments.trace_cov, moments.se)
                assert np.array_equal(found.mean, moments.mean)
        path.write_bytes(content)
        found = kept.get(identity)
        assert found.trace_cov == moments.trace_cov
        assert found.dof == moments.dof
        assert kept.get({"a": 2}) is None


def test_two_sweeps_in_one_folder_are_refused(tmp_path, capsys):
    with Lock(tmp_path / "out" / "measured"):
        assert cli.run(["measure", *ARGUMENTS, "--out", str(tmp_path / "out")]) == 2
    assert "out: another run is writing to" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupt_says_what_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stopping(monkeypatch, 3)
    assert cli.run(["measure", *ARGUMENTS, "--out", str(tmp_path / "out")]) == 130
    kept = len([*(tmp_path / "out" / "measured").glob("*.safetensors")])
    assert kept in (2, 3)  # two threads: a setting that the other had begun may be kept as well
    said = f"gradvar: {kept} settings are kept in {tmp_path}/out/measured; the same command continues there\n"
    assert said in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cli.run(["measure", *ARGUMENTS, "--out", str(tmp_path / "out")]) == 0
    assert f"{kept} of 4 settings had been measured before" in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_sweep_gives_the_same_files(tmp_path):
    more = [
        "--policies",
        "bandit",
        "--estimators",
        "rloo",
        "grpo",
        "dapo",
        "maxrl",
        "--staleness",
        "0",
        "2",
        "--quiet",
    ]

    def start(out):
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        command = [
            sys.executable,
            "-m",
            "gradvar",
            "measure",
            *more,
            "--group-sizes",
            "2",
            "4",
            "--rollouts",
            "8",
        ]
        return subprocess.Popen(
            [*command, "--out", str(out)], env=environment, stdout=subprocess.PIPE, text=True
        )

    process = start(tmp_path / "killed")
    while len(list((tmp_path / "killed" / "measured").glob("*.safetensors"))) < 5 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    resumed, alone = start(tmp_path / "killed"), start(tmp_path / "alone")
    said = resumed.communicate()[0]
    alone.communicate()
    assert "settings had been measured before" in said
    one, two = (
        json.loads((tmp_path / n / "measurements.json").read_text())["rows"] for n in ("killed", "alone")
    )
    assert one == two
