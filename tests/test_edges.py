"""What a newcomer stumbles over: packages that are missing, and settings in a file."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gradvar.cli import main as cli
from gradvar.cli.settings_file import with_settings_file
from gradvar.core.extras import PACKAGES, missing

ROOT = Path(__file__).parent.parent


def without(modules, code):
    """What a process prints that cannot import some modules."""
    blocked = f"import sys\nfor m in {modules!r}: sys.modules[m] = None\n"
    done = subprocess.run([sys.executable, "-c", blocked + code], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_part_of_the_api_names_the_package_that_it_needs():
    code, _, errors = without(["sympy"], "import gradvar as gv\ngv.symbolic")
    line = "gradvar.symbolic: sympy is not installed; pip install sympy z3-solver latex2mathml"
    assert code == 1
    assert errors.strip().endswith(f"ModuleNotFoundError: {line}")


def test_every_package_is_one_of_the_extras():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = " ".join(item for items in extras.values() for item in items)
    for module, package in PACKAGES.items():
        assert package in listed
        assert missing(f"{module}.part").startswith(f"{package} is not installed; pip install ")
        assert package in missing(module).partition("pip install")[2]


@pytest.mark.slow
def test_a_missing_package_is_one_line_with_a_command():
    code = (
        "from gradvar.cli.main import run\n"
        "codes = [run(['prove']), run(['check', 'examples/trainer.py:advantages']), run(['cite', 'A1a'])]\n"
        "try:\n    import gradvar.testing as t; t.check_advantage\n"
        "except ImportError as error: print(error)\n"
        "print(codes)"
    )
    _, out, err = without(["sympy", "hypothesis"], code)
    assert out.splitlines()[-1] == "[2, 2, 2]"
    assert "gradvar.testing: hypothesis is not installed; pip install hypothesis" in out
    lines = err.splitlines()
    assert len(lines) == 3
    assert "sympy is not installed; pip install sympy z3-solver latex2mathml" in lines[0]
    assert "hypothesis is not installed; pip install hypothesis" in lines[1]
    assert "A1a is a claim, and sympy is not installed" in lines[2]


def test_the_catalogue_is_listed_without_jax():
    code, out, err = without(
        ["jax", "numpy"], "from gradvar.cli.main import run; raise SystemExit(run(['list']))"
    )
    assert (code, err) == (0, "")
    assert "dr_grpo" in out
    assert "2402.03300" in out


def test_settings_come_from_a_file_and_the_command_line_wins(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        '[measure]\nestimators = ["rloo", "grpo"]\ngroup_sizes = [2, 4]\nquiet = true\n[train]\nseeds = 2\n'
    )
    read = with_settings_file("measure", ["--config", str(file), "--group-sizes", "8"])
    assert read == ["--group-sizes", "8", "--estimators", "rloo", "grpo", "--quiet"]
    settings = cli._parse("measure", read)
    assert (settings.group_sizes, settings.estimators, settings.quiet) == ((8,), ("rloo", "grpo"), True)
    assert with_settings_file("train", [f"--config={file}"]) == ["--seeds", "2"]
    assert with_settings_file("measure", ["--quiet"]) == ["--quiet"]
    assert "--no-quiet" in with_settings_file("measure", ["--no-quiet", "--config", str(file)])
    assert "--quiet" not in with_settings_file("measure", ["--no-quiet", "--config", str(file)])


def test_a_result_is_a_settings_file(tmp_path):
    config = cli._parse("measure", ["--group-sizes", "2", "--clip", "0.1", "0.3", "--out", str(tmp_path)])
    file = tmp_path / "measurements.json"
    file.write_text(json.dumps({"kind": "measurement", "provenance": {"config": config.as_dict()}}))
    assert cli._parse("measure", with_settings_file("measure", ["--config", str(file)])) == config


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("seeds = ", "is not TOML"),
        ("[train]\nseeds = 2\n", r"has [train], and no [measure]"),
        ("group_sise = [2]\n", "did you mean --group-sizes?"),
        (None, "No such file"),
    ],
)
def test_a_bad_file_is_one_line(content, words, tmp_path, capsys):
    file = tmp_path / "run.toml"
    if content is not None:
        file.write_text(content)
    try:
        code = cli.run(["measure", "--config", str(file)])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
