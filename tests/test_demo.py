"""``gradvar demo``: its numbers against sums over binomial counts in NumPy, its picture and its files."""

import json
from math import comb
from pathlib import Path

import numpy as np
import pytest

from gradvar.cli import main as cli
from gradvar.report.picture import picture
from gradvar.studies.demo import PAIRS, RATES, ROLLOUTS, demo
from tests.report import schema

EPS = 1e-6


@pytest.fixture(scope="module")
def result():
    import jax

    with jax.enable_x64(True):
        return demo()


def by_hand(size):
    """Weight of each rate, and SNR per rollout: of a batch of prompts drawn from RATES, with two answers each.

    With score s1 = (1-p)(1,-1) of the right answer and s0 = -p(1,-1) of the wrong one, a group of k successes has the
    gradient g = (1/G) [k a s1 + (G - k) b s0], a and b the advantages of a success and of a failure.
    """
    first, second, truth = [], [], []
    for p in RATES:
        mean = square = 0.0
        for k in range(size + 1):
            share = k / size
            std = np.sqrt(share * (1 - share))
            a, b = (1 - share) / (std + EPS), -share / (std + EPS)
            g = (k * a * (1 - p) - (size - k) * b * p) / size  # along (1, -1)
            chance = comb(size, k) * p**k * (1 - p) ** (size - k)
            mean, square = mean + chance * g, square + chance * g**2
        first.append(mean)
        second.append(square)
        truth.append(p * (1 - p))
    first, second, truth = map(np.array, (first, second, truth))
    count, prompts = len(RATES), ROLLOUTS // size
    signal = 2 * (first**2).sum() / count**2  # each prompt has parameters of its own; |(1, -1)|^2 = 2
    noise = (2 * second.mean() - signal) / prompts
    return (
        first / truth,
        signal / noise / ROLLOUTS,
        truth @ first / np.sqrt((truth @ truth) * (first @ first)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 16])
def test_the_numbers_are_those_of_sums_over_counts(result, size):
    weights, snr, cosine = by_hand(size)
    np.testing.assert_allclose(result.weights[size], weights, rtol=1e-9)
    assert result.moments[size].snr_per_rollout == pytest.approx(snr, rel=1e-9)
    assert result.moments[size].cosine == pytest.approx(cosine, rel=1e-9)


@pytest.mark.slow
def test_two_rollouts_are_a_pair_of_dpo(result):
    signs = np.array([[a - b, b - a] for a, b in PAIRS])
    np.testing.assert_allclose(result.pairs["dpo"], signs / 2, atol=1e-12)
    np.testing.assert_allclose(result.pairs["grpo"], signs / 2, atol=2 * EPS)
    assert len(result.findings()) == 3


@pytest.mark.slow
def test_the_command_draws_and_writes(result, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("gradvar.studies.demo.demo", lambda: result)
    files = tmp_path / "demo.png", tmp_path / "demo.json"
    assert cli.run(["demo", "--out", str(files[0]), "--json", str(files[1])]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= max(60, len(f"Plot written to {files[0]}"))
    words = " ".join(printed.split())
    for sentence in result.findings():
        assert sentence in words
    assert files[0].read_bytes().startswith(b"\x89PNG")
    content = json.loads(files[1].read_text())
    assert schema.errors("demo", content) == []
    assert content["weights"]["16"] == pytest.approx(result.weights[16])
    assert cli.run(["demo", "--out", str(tmp_path / "demo.doc")]) == 2
    assert "ends in .png" in capsys.readouterr().err


@pytest.mark.slow
def test_the_readme_shows_it(result):
    text = " ".join((Path(__file__).parent.parent / "README.md").read_text().split())
    for sentence in result.findings():
        assert sentence in text


def test_a_picture_has_each_value_in_its_place():
    lines = picture({"*": [0.0, 1.0, 2.0]}, [0.0, 0.5, 1.0], width=16, height=9)
    marks = [(row, line.index("*")) for row, line in enumerate(lines) if "*" in line]
    assert [row for row, _ in marks] == sorted(row for row, _ in marks)
    assert lines[0].startswith("2.00 ┤")
    assert lines[0].rstrip().endswith("*")
    assert lines[8].startswith("0.00 ┤*")
    assert [line[:4] for line in lines[:9:2]] == ["2.00", "1.50", "1.00", "0.50", "0.00"]
