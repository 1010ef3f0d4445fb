"""The study, its files and figures, and the command line as a user meets them."""

import contextlib
import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pytest

import gradvar as gv
from gradvar.cli import main as cli
from gradvar.core.progress import Silent
from gradvar.files import paths
from gradvar.plot.panels import save_figures
from gradvar.studies.config import MeasureConfig
from gradvar.studies.problems import problems
from gradvar.studies.study import bias_curve, variants

SMALL = {
    "policies": ("bandit",),
    "estimators": ("rloo", "grpo"),
    "group_sizes": (2, 4),
    "staleness": (0, 2),
    "rollouts": 8,
    "replicates": 32,
}
ARGUMENTS = ["--policies", "bandit", "--estimators", "rloo", "grpo", "--group-sizes", "2", "--staleness", "0"]


@pytest.fixture(scope="module")
def study():
    return gv.study(**SMALL)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_one_result_for_every_setting(study):
    settings = {(r.staleness, r.moments.estimator, r.moments.group_size) for r in study.results}
    assert settings == {(s, e, g) for s in (0, 2) for e in ("rloo", "grpo") for g in (2, 4)}
    assert all(r.moments.rollouts == 8 and r.route == "exact" for r in study.results)
    fresh = study.select(estimator="rloo", staleness=0)
    assert [r.moments.bias_factor for r in fresh] == pytest.approx([1, 1])
    stale = study.select(estimator="rloo", staleness=2)
    assert all(abs(r.moments.bias_factor - 1) > 1e-3 for r in stale)


def test_rows_are_tidy_and_say_what_the_moments_say(study):
    rows = study.rows()
    assert len({tuple(r.keys()) for r in rows}) == 1
    row = next(r for r in rows if r["estimator"] == "grpo" and r["figure"] == "snr_per_rollout")
    m = study.select(estimator="grpo")[0].moments
    assert row["value"] == pytest.approx(m.snr / m.rollouts)
    assert row["se"] == 0


@pytest.mark.slow
def test_sampled_settings_carry_intervals():
    sampled = gv.study(**SMALL | {"estimators": ("reinforce_pp",), "group_sizes": (2,), "staleness": (0,)})
    (result,) = sampled.results
    assert result.route == "direct"  # four prompts coupled by the batch: too many to enumerate
    for row in sampled.rows():
        if row["figure"] not in ("true_signal",):
            assert row["se"] > 0
            assert row["low"] < row["value"] < row["high"]


def test_clip_is_an_axis_for_those_that_clip():
    asked = MeasureConfig(estimators=("rloo", "grpo"), clip=(0.1, 0.3))
    assert [(clip, e.name) for clip, e in variants(asked)] == [(None, "rloo"), (0.1, "grpo"), (0.3, "grpo")]
    study = gv.study(
        **SMALL | {"estimators": ("grpo",), "clip": (0.01, 0.9), "group_sizes": (4,), "staleness": (4,)}
    )
    tight, wide = (r.moments.trace_cov for r in study.results)
    assert tight < wide


def test_a_stale_policy_does_not_depend_on_what_else_is_asked_for():
    asked = SMALL | {"estimators": ("grpo",), "group_sizes": (2,)}
    (alone,) = gv.study(**asked | {"staleness": (3,)}).results
    among = gv.study(**asked | {"staleness": (1, 3, 5)}).results
    assert [r.staleness for r in among] == [1, 3, 5]
    np.testing.assert_allclose(among[1].moments.mean, alone.moments.mean, rtol=1e-12)
    assert not np.allclose(among[2].moments.mean, alone.moments.mean)


def test_engines_of_any_age_lie_on_the_path_of_stale_policies():
    """A trainer that is two steps ahead of its engine is the policy of two steps, and goes on as that does."""

    def digests(*steps: int, **asked: object) -> list[str]:
        config = MeasureConfig(policies=("bandit",), **asked)
        with contextlib.closing(problems(config, Silent())) as prepared:
            problem = next(prepared)
            return [problem.digest(s) for s in steps]

    behind = digests(0, 1, 3, sampler="stale:2", staleness=(0, 1, 3))
    assert behind == digests(2, 3, 5, staleness=(2, 3, 5))
    assert len(set(behind)) == 3


@pytest.mark.slow
def test_files_hold_the_rows_with_provenance(study, tmp_path):
    folder = tmp_path / "new" / "folder"
    written = [*study.save(folder), *save_figures(study, folder)]
    names = {p.name for p in written}
    assert {
        "measurements.csv",
        "measurements.json",
        "variance.svg",
        "bias.png",
        "snr.svg",
        "split.png",
    } <= names
    assert {p.name for p in (tmp_path / "new" / "folder").iterdir()} == names
    text = (tmp_path / "new" / "folder" / "measurements.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    content = json.loads((tmp_path / "new" / "folder" / "measurements.json").read_text())
    assert len(rows) == len(content["rows"]) == len(study.rows())
    assert [float(r["value"]) for r in rows] == pytest.approx([r["value"] for r in study.rows()], nan_ok=True)
    assert set(content["provenance"]) == {"versions", "device", "machine", "command", "date", "config"}
    assert content["provenance"]["config"]["seed"] == 0
    assert all(p.stat().st_size > 500 for p in written)
    with duckdb.connect() as database:
        parquet = database.read_parquet(str(tmp_path / "new" / "folder" / "measurements.parquet"))
        assert parquet.columns == list(rows[0])
        assert [dict(zip(rows[0], row, strict=True))["value"] for row in parquet.fetchall()] == pytest.approx(
            [float(r["value"]) if r["value"] else None for r in rows]
        )


def test_bias_curve_is_the_known_weight():
    """GRPO's weight at G = 2 does not depend on p (sample or population std); leave-one-out's is one."""
    rates = [0.05, 0.3, 0.9]
    curves = bias_curve([gv.catalogue.get(n) for n in ("rloo", "dr_grpo", "grpo")], 2, rates)
    np.testing.assert_allclose(curves["rloo"], 1.0)
    np.testing.assert_allclose(curves["dr_grpo"], 0.5)
    np.testing.assert_allclose(curves["grpo"], 1.0, rtol=1e-5)
    four = bias_curve([gv.catalogue.get("grpo")], 4, rates)["grpo"]
    assert four.max() / four.min() > 1.02


def test_same_seed_same_numbers_and_another_seed_others(study):
    first, again, other = (
        [r["value"] for r in s.rows()] for s in (study, gv.study(**SMALL), gv.study(**SMALL | {"seed": 1}))
    )
    np.testing.assert_array_equal(again, first)
    assert other != first


def test_list_shows_every_estimator(tmp_path, capsys):
    assert cli.run(["list", "--json", str(tmp_path / "list.json")]) == 0
    printed = capsys.readouterr().out
    listed = json.loads((tmp_path / "list.json").read_text())
    assert [e["name"] for e in listed] == list(gv.catalogue.names())
    assert all(name in printed for name in gv.catalogue.names())
    assert all(e["arxiv"] or e["title"] for e in listed)


BAD = {
    "estimator: no 'grop'": ["--estimators", "grop"],
    "group_sizes: 1;": ["--group-sizes", "1"],
    "group_sizes: 128 is larger than the 64 rollouts": ["--group-sizes", "128"],
    "group_sizes: 3 does not divide rollouts, 64": ["--group-sizes", "3"],
    "group_sizes: 2, 2 names something twice": ["--group-sizes", "2", "2"],
    "task: 'sorting' is not for the bandit policy": ["--task", "sorting"],
    "staleness: -1;": ["--staleness", "-1"],
    "clip: 2.0;": ["--clip", "2"],
    "replicates: 15;": ["--replicates", "15"],
    "success: 1.5;": ["--success", "1.5"],
    "seed: -1;": ["--seed", "-1"],
    "estimators: nothing given": ["--estimators"],
    "estimators: 'gdpo' needs reward_parts": ["--estimators", "gdpo"],
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_line_exit_2_and_nothing_written(message, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.run(["measure", "--policies", "bandit", "--out", str(out), *BAD[message]]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_an_unknown_task_is_exit_2(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.run(["measure", "--task", "chess"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "'chess'" in error
    assert "--task" in error
    assert "sorting" in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    assert cli.run(["measure", *ARGUMENTS, "--out", str(tmp_path / "file" / "out")]) == 2
    assert "is or lies below a file" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(paths.tempfile, "TemporaryFile", _refuse)
        assert cli.run(["measure", *ARGUMENTS, "--out", str(tmp_path / "out")]) == 2
    assert "out: " in (error := capsys.readouterr().err)
    assert "cannot be written (Permission denied in" in error
    assert cli.run(["measure", *ARGUMENTS, "--json", str(tmp_path)]) == 2
    assert "is a folder; give a file" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def _refuse(*_, **__):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_disk_that_fills_up_is_one_line_and_exit_2(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gradvar.studies.study.write_csv", _refuse)
    assert cli.run(["measure", *ARGUMENTS, "--rollouts", "8", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert "could not be written (Permission denied)" in said.err
    assert said.err.count("\n") == 1
    assert "rloo" in said.out


def test_an_interrupt_is_one_line_and_writes_nothing(tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gradvar.studies.study.study_parts", interrupt)
    assert cli.run(["measure", *ARGUMENTS, "--rollouts", "8", "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "gradvar: interrupted\n"
    assert not (tmp_path / "out").exists()


def test_a_failed_write_leaves_nothing_half_written(study, tmp_path, monkeypatch):
    from gradvar.files import tables as files

    class FullDisk:
        """Takes the head of the table and none of its rows."""

        def __init__(self, file):
            self.writerow = csv.writer(file).writerow

        def writerows(self, rows):
            raise OSError("disk full")

    monkeypatch.setattr(files, "csv", SimpleNamespace(writer=FullDisk))
    with pytest.raises(OSError, match="disk full"):
        study.save(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("rewards", "mask", "message"),
    [
        ([[1.0, np.nan]], None, "rewards: nan at prompt 0, rollout 1"),
        ([[np.inf, 1.0]], None, "rewards: inf at prompt 0, rollout 0"),
        ([[1.0, 0.0, 1.0]], None, "rewards: shape .1, 3. does not match"),
        ([[1.0, 0.0]], [[[1, 1], [0, 0]]], "mask: prompt 0, rollout 1 has no token"),
        ([[1.0, 0.0]], [[[1, 1]]], "mask: shape"),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(rewards, mask, message):
    with pytest.raises(ValueError, match=message) as caught:
        gv.Batch(rewards, np.zeros((1, 2, 2)), mask)
    assert "\n" not in str(caught.value)


def test_token_weights_refuse_another_shape():
    batch = gv.Batch([[1.0, 0.0]], np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="logp: shape"):
        gv.token_weights(gv.catalogue.get("grpo"), np.zeros((1, 2, 3)), batch)


def test_help_answers_at_once_and_without_jax():
    """What takes the time is importing JAX (seconds), so it's the import that is asserted, not the time."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gradvar", "measure", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "--group-sizes" in done.stdout
    assert " jax" not in done.stderr


@pytest.mark.slow
def test_the_transformer_is_measured_where_it_has_learnt(tmp_path):
    study = gv.study(
        policies=("transformer",), estimators=("rloo", "dapo"), group_sizes=(2, 4), staleness=(0, 2), rollouts=16,
        replicates=64,
    )  # fmt: skip
    (rate,) = study.success.values()
    assert 0.1 < rate < 0.9
    assert len(study.results) == 8
    for result in study.results:
        m = result.moments
        assert np.isfinite([m.trace_cov, m.within, m.snr, m.bias_factor]).all()
        assert m.trace_cov > 0
        assert m.mean.shape[0] > 50_000
    for result in study.select(estimator="rloo", staleness=0):
        # The reference is leave-one-out itself on policy: the factor is one but for rounding.
        assert result.moments.bias_factor == pytest.approx(1.0, abs=1e-3)
    assert all(Path(p).exists() for p in [*study.save(tmp_path), *save_figures(study, tmp_path)])
