"""``gradvar audit``: exit codes, files, one line on bad input, and no JAX."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from gradvar.cli import main as cli
from gradvar.stats.intervals import jeffreys
from tests.audit import dumps


@pytest.fixture
def sound(tmp_path):
    return dumps.write(tmp_path / "sound.jsonl", dumps.rows(0, steps=3, size=8))


@pytest.fixture
def odd(tmp_path):
    return dumps.write(tmp_path / "odd.jsonl", dumps.rows(0, steps=3, size=8)[:-1])


def test_exit_codes(sound, odd, capsys):
    assert cli.run(["audit", str(sound)]) == 0
    assert "groups of 8" in capsys.readouterr().out
    assert cli.run(["audit", str(odd)]) == 1
    assert "Suspicious:" in capsys.readouterr().out
    assert cli.run(["audit", str(odd), "--no-strict"]) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--estimator", "ppo"], "estimator: 'ppo' has no advantages"),
        (["--prompt", "nowhere"], "name it with --prompt COLUMN"),
        (["--reward-weights", "1", "2"], "reward_weights: 2 of them"),
        (["--json", "/dev/null/no/where.json"], "lies below a file, /dev/null"),
    ],
)
def test_bad_input_is_one_line_and_two(sound, capsys, options, says):
    assert cli.run(["audit", str(sound), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gradvar: error: ")
    assert says in error
    assert error.count("\n") == 1


def test_a_missing_file_is_one_line_and_two(tmp_path, capsys):
    assert cli.run(["audit", str(tmp_path / "nowhere.jsonl")]) == 2
    assert capsys.readouterr().err == (
        f"gradvar: error: files: no file {tmp_path / 'nowhere.jsonl'}; give files or folders of rollout dumps\n"
    )


def test_quiet_prints_nothing_and_writes_all_the_same(sound, tmp_path, capsys):
    assert cli.run(["audit", str(sound), "--quiet", "--json", str(tmp_path / "o.json")]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    content = json.loads((tmp_path / "o.json").read_text())
    assert content["rows"] == 3 * 8 * 8
    assert len(content["steps"]) == 3
    assert (
        content["overall"]["equal"]["low"]
        < content["overall"]["equal"]["value"]
        < content["overall"]["equal"]["high"]
    )


def test_the_list_of_prompts_can_be_filtered_by(sound, tmp_path):
    cli.run(["audit", str(sound), "--quiet", "--prompts", str(tmp_path / "p.csv")])
    with (tmp_path / "p.csv").open() as file:
        table = list(csv.DictReader(file))
    assert {row["class"] for row in table} <= {"always", "never", "mixed"}
    for row in table:
        n, k = int(row["rollouts"]), int(row["successes"])
        low, high = jeffreys(np.array([k]), np.array([n]))
        assert (float(row["low"]), float(row["high"])) == pytest.approx((low[0], high[0]), rel=1e-4)
        assert row["class"] == ("never" if k == 0 else "always" if k == n else "mixed")


@pytest.mark.slow
def test_no_jax_is_loaded(sound):
    script = (
        f"import sys; from gradvar.cli import main as cli; cli.run(['audit', {str(sound)!r}]); "
        "heavy = {'jax', 'equinox', 'sympy', 'matplotlib', 'pandas', 'pyarrow'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_progress_hears_of_every_file(sound, odd):
    from gradvar.audit import audit

    heard = []
    audit([sound, odd], progress=lambda file, share: heard.append((file, share)))
    assert [file for file, share in heard if share == 1.0][-1] == str(odd)
    assert all(0 <= share <= 1 for _, share in heard)
    assert {file for file, _ in heard} == {str(sound), str(odd)}
