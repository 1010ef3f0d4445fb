"""Every command's table fits the terminal, and none of its numbers is cut."""

import re

import numpy as np
import pytest

from gradvar.audit import audit
from gradvar.audit.text import text as audit_text
from gradvar.cli import listing, mismatch, train
from gradvar.cli.streams import Screen
from gradvar.core.moments import Moments
from gradvar.measure.advise.advice import Advice, Point
from gradvar.measure.advise.costs import Costs
from gradvar.measure.advise.estimator_choice import EstimatorRanking, RankedEstimator
from gradvar.measure.advise.from_rewards import advise_from_rewards
from gradvar.report.terminal import tables
from gradvar.stats.intervals import Interval
from gradvar.stats.sheet import Column, Sheet, wrapped
from gradvar.stats.text import estimate_text
from gradvar.studies.config import ListConfig, MeasureConfig
from gradvar.studies.study import Measurement, Study
from gradvar.testing.verdicts import CheckReport, LawResult
from tests.report import samples

WIDTHS = (60, 80, 120)
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def near(value, share=0.1):
    return Interval(value, value * (1 - share), value * (1 + 2 * share), share * value)


def moments(name, size, scale):
    """Moments whose figures have many digits and lopsided intervals."""
    figures = {
        "trace_cov": 0.00611523 * scale, "between": 0.00174411, "within": 0.0043, "signal": 0.011153,
        "snr": 0.0861234 / scale, "true_signal": 0.011, "bias_factor": -123.456789 * scale, "cosine": 0.9871234,
    }  # fmt: skip
    se = {figure: 0.07 * abs(value) for figure, value in figures.items()}
    return Moments(
        estimator=name, group_size=size, prompts=64 // size, mean=np.ones(2), mean_se=np.ones(2), **figures, se=se,
        dof=15, replicates=96, effective=dict.fromkeys(figures, 12.0),
    )  # fmt: skip


def study(raw=False):
    config = MeasureConfig(policies=("transformer",), staleness=(0,), raw=raw, clip=(0.2, 0.3))
    names = ("reinforce_pp_baseline", "grpo", "dapo")
    results = tuple(
        Measurement("transformer", "addition", 0, clip, "direct", moments(name, size, 1.7**k))
        for k, (name, clip, size) in enumerate((n, c, g) for n in names for c in (0.2, 0.3) for g in (2, 16))
    )
    return Study(config, results, {"transformer, addition": 0.4})


def arm(name):
    columns = ("retained_final", "retained_gain", "improvement")
    ends = {f"{c}{end}": 12.3456 for c in columns for end in ("", "_low", "_high")}
    return {
        "arm": name, "learning_rate": 0.00031415, "start_reward": 0.329, "final_reward": 0.497, **ends,
        "rollouts": 12_800_000, "tokens": 378_540_000, "seconds": 1234.56, "start_snr": 0.0123456, "final_snr": 0.0065,
    }  # fmt: skip


def advice():
    points = (Point(g, near(1.0), near(1.2345 * g), 0.1, 0.1, 0.1, 0.5) for g in (2, 16, 64))
    return Advice(2, near(2.0), tuple(points), (), True, 40, 12, 1.2, ())


def ranking():
    names = ("reinforce_pp_baseline", "rloo")
    return EstimatorRanking(
        tuple(RankedEstimator(n, 16, (0.123, 12.345), near(0.9), near(123.456)) for n in names)
    )


RATES = {
    "learning_rate": float("nan"),
    "lowest_rate": 0.000012345,
    "highest_rate": 0.0012345,
}  # of the starts
SHEETS = {
    "measure": lambda: next(tables(study())),
    "measure --raw": lambda: next(tables(study(raw=True))),
    "mismatch": lambda: mismatch.table(samples.mismatch()),
    "advise": lambda: advice().sheet(),
    "compare": lambda: ranking().sheet(),
    "advise --rewards": lambda: advise_from_rewards(
        np.tile([1.0, 0.0, 1.0, 0.0], (9, 1)), Costs(), (2, 4, 8)
    ).sheet(),
    "train": lambda: train.table([arm("grpo-2"), arm("grpo-16-no-std-no-clip") | RATES], "addition"),
    "train --list": lambda: train._arms(),
}


def assert_fits(narrow, full, width):
    """No line is longer, nothing is cut, and every number is one of the whole table's."""
    assert "…" not in narrow
    assert max(map(len, narrow.splitlines())) <= width
    numbers = set(NUMBER.findall(full))
    assert set(NUMBER.findall(narrow)) <= numbers
    assert numbers


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SHEETS)
def test_no_number_is_cut(name, width):
    sheet = SHEETS[name]()
    full = sheet.render(10, wide=True)
    assert full == sheet.render(None)
    assert all(cell in full for row in sheet.rows for cell in row)
    assert_fits(sheet.render(width), full, width)


def test_so_are_the_audit_s_tables(tmp_path):
    lines = [
        f'{{"prompt": "q{i % 7}", "reward": {int(i % 3 == 0)}, "step": {i % 2}, "group": {i // 4}}}\n'
        for i in range(56)
    ]
    (tmp_path / "dump.jsonl").write_text("".join(lines))
    result = audit([tmp_path / "dump.jsonl"])
    for width in WIDTHS:
        assert_fits(audit_text(result, width), str(result), width)
    assert str(result) == audit_text(result)


@pytest.mark.parametrize("width", WIDTHS)
def test_so_are_lists_and_verdicts(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    listing.run(ListConfig())
    narrow = capsys.readouterr().out
    listing.run(ListConfig(wide=True))
    assert_fits(narrow, capsys.readouterr().out, width)
    law = LawResult("finite", "fails", universal=True, why="float64 [0.123456, 0] -> [nan, 12.345678] " * 3)
    report = CheckReport("trainer.py:f", (law,)).table()
    Screen().say(report, "    ")
    assert_fits(capsys.readouterr().out, report, width)


def test_what_is_left_out_is_named_and_too_narrow_a_table_is_stacked():
    columns = (Column("estimator", words=True, grouped=True), Column("bias"), Column("prompts", rank=1))
    sheet = Sheet(columns, (("reinforce", "1.23456", "32"), ("reinforce", "6.54321", "16")), "a table")
    assert sheet.render(20).endswith("(left out for width:\n  prompts; --wide\n  shows them)")
    assert sheet.render(20).count("reinforce") == 1
    stacked = sheet.render(16)
    assert stacked.count("reinforce") == 2
    assert {"1.23456", "6.54321", "32", "16"} <= set(NUMBER.findall(stacked))
    words = Sheet(
        (Column("name"), Column("what it is", words=True), Column("paper", words=True)), (("f", "a b", "c"),)
    )
    assert words.render(9).split() == ["f:", "a", "b;", "paper:", "c"]


def test_an_interval_of_a_cosine_ends_at_one():
    assert estimate_text(Interval(0.97, 0.9, 1.0), most=1.0) == "0.97 [0.90, 1]"
    assert estimate_text(Interval(0.5, 0.45, 0.56), most=1.0) == "0.50 ±0.06"
    assert estimate_text(Interval(-0.98, -1.0, -0.9), most=1.0) == "-0.98 [-1, -0.90]"
    (sheet,) = tables(study())
    place = [column.name for column in sheet.columns].index("cosine")
    assert all(row[place].startswith("0.99 [") for row in sheet.rows)
    assert all(row[place].rstrip("*").endswith(", 1]") for row in sheet.rows)


def test_the_default_columns_do_not_change_where_an_estimator_is_rescaled():
    """Twice the gradient: four times the variance, and the same table but for the bias factor."""
    once = moments("grpo", 2, 1.0)
    figures = {name: getattr(once, name) for name in once.se}
    for name, power in {"trace_cov": 4, "between": 4, "within": 4, "signal": 4, "bias_factor": 2}.items():
        figures[name] *= power
    se = {name: 0.07 * abs(value) for name, value in figures.items()}
    twice = Moments(
        estimator="grpo", group_size=2, prompts=32, mean=once.mean, mean_se=once.mean_se, **figures, se=se, dof=15,
        replicates=96, effective=once.effective,
    )  # fmt: skip

    def cells(m, raw):
        config = MeasureConfig(policies=("bandit",), staleness=(0,), raw=raw)
        result = Measurement("bandit", "binary", 0, None, "direct", m)
        (sheet,) = tables(Study(config, (result,), {"bandit, binary": 0.4}))
        named = zip((column.name for column in sheet.columns), sheet.rows[0], strict=True)
        return {name: cell for name, cell in named if name != "bias factor"}

    assert cells(once, raw=False) == cells(twice, raw=False)
    assert cells(once, raw=False)["relative tr Cov"].startswith("11.6")
    assert cells(once, raw=True) != cells(twice, raw=True)


def test_sentences_are_broken_between_words_and_commands_are_not():
    sentence = "about 46.7 % of groups, 0.0123 ±0.004 in all"
    for width in range(12, 50):
        lines = wrapped(sentence, width).splitlines()
        assert " ".join(line.strip() for line in lines) == sentence
        assert not any(line.rstrip().endswith(("46.7", "0.0123")) for line in lines)
    assert wrapped("  $ gradvar check examples/trainer.py:f --laws finite", 20).count("\n") == 0
