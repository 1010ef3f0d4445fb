"""The checkers look at the folders that are meant, and a fault in each of these is seen."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
FOLDERS = ("gradvar", "proofs", "benchmarks")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_the_type_checker_is_told_of_the_package():
    assert "gradvar" in SETTINGS["mypy"]["files"]


def test_the_linter_reads_every_python_folder():
    pytest.importorskip("ruff", reason="the dev extra is not installed")
    listed = run("ruff", "check", "--show-files").stdout
    for folder in (*FOLDERS, "tests"):
        if any((ROOT / folder).rglob("*.py")):
            assert f"{ROOT / folder}/" in listed, folder


@pytest.mark.parametrize("folder", ["gradvar", "tests"])
def test_the_linter_sees_a_planted_fault(folder):
    pytest.importorskip("ruff", reason="the dev extra is not installed")
    planted = "import os\n"
    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", f"{folder}/planted.py", "-"]
    done = subprocess.run(command, input=planted, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert "F401" in done.stdout


@pytest.mark.slow
def test_the_type_checker_sees_a_planted_fault(tmp_path):
    pytest.importorskip("mypy", reason="the dev extra is not installed")
    bad = tmp_path / "planted.py"
    bad.write_text("from gradvar.studies.config import MeasureConfig\nx: int = MeasureConfig().out\n")
    done = run("mypy", "--config-file", "pyproject.toml", str(bad))
    assert done.returncode == 1, done.stdout
    assert "Incompatible types in assignment" in done.stdout


def test_the_quick_suite_runs_every_test_folder():
    assert SETTINGS["pytest"]["ini_options"]["testpaths"] == ["tests"]
    assert "error" in SETTINGS["pytest"]["ini_options"]["filterwarnings"]
