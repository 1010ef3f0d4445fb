"""How the settling experiment is read: places of equal budgets, tuning, and rows, on curves made by hand."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

settings = pytest.importorskip("benchmarks.settling.settings")
from benchmarks.settling.figures import line_of_the_law, points  # noqa: E402
from benchmarks.settling.map import bank_of, row_of  # noqa: E402
from benchmarks.settling.reading import places, rows  # noqa: E402
from benchmarks.settling.runs import Runs, at  # noqa: E402
from benchmarks.settling.text import left_open  # noqa: E402
from gradvar.core.devices import map_threads  # noqa: E402

STEPS, POINTS = 32, 4
TOKENS = {2: 5.0, 16: 4.0}  # per step
SECONDS = {2: 2.0, 16: 1.0}
BEST = {2: 2.0, 16: 1.0}  # the factor at which a curve rises fastest


def curve(group, factor, number):
    """A reward that rises from 0.3 with the square root of steps, fastest at the best factor."""
    steps = np.linspace(0, STEPS, POINTS + 1)
    speed = 0.02 * np.exp(-(np.log2(factor / BEST[group]) ** 2)) * (1 + 0.01 * number)
    reward = 0.3 + speed * np.sqrt(steps)
    return {"steps": steps, "tokens": TOKENS[group] * steps, "seconds": SECONDS[group], "reward": reward}


@pytest.fixture
def runs(tmp_path):
    size = settings.Size((2, 16), runs=3, starts=1, steps=STEPS, points=POINTS)
    made = Runs(settings.Setting("by hand", None, 0.3), size, tmp_path)
    for group in (2, 16):
        for factor in (0.5, 1.0, 2.0, 4.0):
            for number in range(3):
                for kind in ("tuning", "run"):
                    place = made.place(f"{kind}-{group}-{factor:g}-{number}")
                    place.parent.mkdir(exist_ok=True)
                    content = {k: np.asarray(v).tolist() for k, v in curve(group, factor, number).items()}
                    place.write_text(json.dumps(content))
    return made


def test_a_grid_is_widened_until_its_best_is_inside(runs):
    inside = runs.tuned(16)["tokens"]
    assert (inside["factor"], inside["edge"], sorted(inside["tried"])) == (1.0, False, [0.5, 1.0, 2.0])
    widened = runs.tuned(2)["prompts"]
    assert (widened["factor"], widened["edge"]) == (2.0, False)
    assert sorted(widened["tried"]) == [0.5, 1.0, 2.0, 4.0]
    assert runs.factors(2) == [2.0]


def test_the_lowest_rate_is_where_a_grid_ends(runs, monkeypatch):
    monkeypatch.setitem(BEST, 2, 0.5)
    for factor in (0.25, 0.5, 1.0, 2.0):
        for number in range(2):
            content = {k: np.asarray(v).tolist() for k, v in curve(2, factor, number).items()}
            runs.place(f"tuning-2-{factor:g}-{number}").write_text(json.dumps(content))
    assert (runs.tuned(2)["tokens"]["factor"], runs.tuned(2)["tokens"]["edge"]) == (0.5, False)
    narrow = replace(runs, size=replace(runs.size, lowest_rate=0.5))
    assert (narrow.tuned(2)["tokens"]["factor"], narrow.tuned(2)["tokens"]["edge"]) == (0.5, True)


def test_a_start_that_does_not_reach_its_success_is_made_again(runs, monkeypatch):
    keys = [runs.start_key(3), *(jax.random.fold_in(runs.start_key(3), attempt) for attempt in range(1, 5))]
    made = []

    def warm_start(policy, task, key, target):
        made.append(jax.random.key_data(key).tolist())
        return SimpleNamespace(reached=len(made) == 3)

    monkeypatch.setattr("benchmarks.settling.runs.warm_start", warm_start)
    monkeypatch.setattr(Runs, "policy", None)
    monkeypatch.setattr(Runs, "task", None)
    assert runs.start(3).reached
    assert made == [jax.random.key_data(key).tolist() for key in keys[:3]]
    made.extend(made)  # the third is behind us
    with pytest.raises(RuntimeError, match="5 starts of number 3 do not reach"):
        runs.start(3)


def test_budgets_are_where_they_should_be(runs):
    made = places(runs)
    assert made["prompts"] == {
        2: ("steps", 4.0),
        16: ("steps", 32.0),
    }  # an eighth of the steps, as many prompts
    assert made["tokens"] == {2: ("tokens", 128.0), 16: ("tokens", 128.0)}
    assert made["time"] == {2: ("steps", 16.0), 16: ("steps", 32.0)}
    assert at(runs.curve(2, 2.0, 0, tuning=False), "tokens", 128.0) == pytest.approx(
        np.interp(25.6, [0, 8, 16, 24, 32], 0.3 + 0.02 * np.sqrt([0, 8, 16, 24, 32]))
    )


def test_rows_say_what_is_retained(runs):
    table = {(row["budget"], row["group"]): row for row in rows(runs)}
    assert len(table) == 6
    small, large = table["prompts", 2], table["prompts", 16]
    finals = [
        [0.3 + 0.02 * (1 + 0.01 * n) * root for n in range(3)] for root in (np.sqrt(8) / 2, np.sqrt(32))
    ]
    assert small["reward"].value == pytest.approx(np.mean(finals[0]))
    assert small["retained"].value == pytest.approx(np.mean(finals[0]) / np.mean(finals[1]))
    gains = (np.mean(finals[0]) - 0.3) / (np.mean(finals[1]) - 0.3)
    assert small["retained_gain"].value == pytest.approx(gains)
    assert small["equivalence_p"] > 0.05  # 0.8 is not within 0.05 of 0.976
    assert large["retained"].value == 1
    assert large["equivalence_p"] is None
    assert table["tokens", 2]["equivalence_p"] < 0.05


def test_the_stages_hold_every_part_and_sequences_side_by_side_do_the_same(runs, monkeypatch):
    facts = SimpleNamespace(success_rate=0.3, steps=9, between_prompts=0.1)
    monkeypatch.setattr(Runs, "start", lambda self, number: facts)
    runs.part("prediction", lambda: {"kept": 1})
    tuning = [[f"tuning of {g}"] for g in (2, 16)]
    curves = [f"run {n}, {g}" for n in range(3) for g in (2, 16)]
    expected = [[["warm start 0"]], [["prediction"]], tuning, [curves]]
    assert [[list(sequence) for sequence in stage] for stage in runs.stages()] == expected
    assert [map_threads(list, stage) for stage in runs.stages()] == expected
    assert runs.starts() == [{"success": 0.3, "steps": 9, "between_prompts": 0.1}]


def test_points_of_the_map_stand_where_the_bank_and_the_rows_have_them():
    arms = [{"group": g, "variance_ratio": {"value": 32 / g / 16}} for g in (2, 16)]
    bank = {"success": 0.3, "length": 12.0}
    setting = {"name": "long_sorting", "prediction": {"bank": bank, "arms": arms}}
    rows = [
        {"setting": "long_sorting", "budget": budget, "group": g, "retained": {"value": g}}
        for budget in ("prompts", "tokens") for g in (2, 16)
    ]  # fmt: skip
    rows[2]["retained"] = {"value": 1.2}
    assert points({"settings": [setting], "rows": rows}) == [
        {"name": "long sorting", **bank, "law": {"value": 1.0}, "retained": {"value": 1.2}}
    ]


@pytest.mark.parametrize(
    ("difference", "retained", "p_value", "is_open"),
    [
        ((0.01, 0.03), (0.80, 0.90), 0.9, False),  # two are above at equal tokens, and the claim is excluded
        ((-0.03, -0.01), (0.95, 1.00), 0.01, False),  # two are below, and equivalence is shown
        ((-0.01, 0.03), (0.80, 0.90), 0.9, True),
        ((0.01, 0.03), (0.95, 1.00), 0.2, True),
        ((None, None), (0.80, 0.90), 0.9, True),
        ((0.01, 0.03), (None, 0.90), 0.9, False),
    ],
)
def test_a_setting_is_open_where_the_rule_says_so(difference, retained, p_value, is_open):
    def row(budget, group, **ends):
        figures = {name: dict(zip(("low", "high"), pair, strict=True)) for name, pair in ends.items()}
        return {"setting": "sums", "budget": budget, "group": group, "equivalence_p": p_value, **figures}

    other = row("tokens", 4, difference=(0.01, 0.03)) if is_open else row("tokens", 4, difference=(-1, 1))
    rows = [row("tokens", 2, difference=difference), row("prompts", 2, retained=retained), other]
    assert left_open({"settings": [{"name": "sums"}], "rows": rows}) == (["sums"] if is_open else [])


def test_results_alone_are_enough_to_go_on(runs, tmp_path):
    content = {
        "size": asdict(runs.size), "prediction": {"kept": 1},
        "curves": runs.kept_curves(),
    }  # fmt: skip
    assert len(content["curves"]) == 2 * 2 * 4 * 3
    again = replace(runs, folder=tmp_path / "again")
    again.restore(content)
    assert again.curve(2, 0.5, 1, tuning=True) == runs.curve(2, 0.5, 1, tuning=True)
    assert (again.prediction(), again.tuned(2)) == ({"kept": 1}, runs.tuned(2))
    fewer = replace(runs, folder=tmp_path / "fewer", size=replace(runs.size, groups=(16,)))
    fewer.restore(content)
    assert {row["group"] for row in fewer.kept_curves()} == {16}
    more = replace(runs, folder=tmp_path / "more", size=replace(runs.size, starts=2))
    more.restore(content)  # run 1 is the second start's there
    assert [more.place(f"run-16-1-{n}").exists() for n in range(3)] == [True, False, True]
    with pytest.raises(ValueError, match="steps: 32 in the results, 64"):
        replace(runs, size=replace(runs.size, steps=64)).restore(content)


def test_a_cell_of_the_map_is_read_at_both_budgets(tmp_path):
    size = settings.Size((2, 16), runs=3, starts=1, steps=96, points=8, rollouts_per_step=128)
    made = Runs(settings.Setting("addition-0.3-128", None, 0.3), size, tmp_path)
    bank_of(made).place("x").parent.mkdir()
    made.place("x").parent.mkdir()
    law = {"value": 0.6, "low": 0.5, "high": 0.7}
    arms = [{"group": 2, "variance_ratio": law}, {"group": 16, "variance_ratio": {"value": 1.0}}]
    content = {"bank": {"length": 3.0, "success": 0.31}, "arms": arms}
    (tmp_path / "addition-0.3" / "prediction.json").write_text(json.dumps(content))
    steps = np.linspace(0, 96, 9)
    for group, slope in ((2, 0.002), (16, 0.001)):
        for number in range(3):
            curve = {"steps": steps.tolist(), "reward": (0.3 + slope * (1 + 0.01 * number) * steps).tolist()}
            made.place(f"run-{group}-1-{number}").write_text(json.dumps(curve))
    row = row_of(made)
    two, early, sixteen = 0.3 + 0.192 * 1.01, 0.3 + 0.024 * 1.01, 0.3 + 0.096 * 1.01
    assert row["retained"]["value"] == pytest.approx(two / sixteen)
    assert row["retained_gain"]["value"] == pytest.approx(2)
    assert row["at_prompts"]["retained"]["value"] == pytest.approx(early / sixteen)
    assert row["at_prompts"]["retained_gain"]["value"] == pytest.approx(0.25)
    assert row["difference"]["value"] == pytest.approx(two - sixteen)
    assert (row["law"], row["prompts_per_step"]) == (law, {"2": 64, "16": 8})


def test_the_law_has_a_line_or_gives_a_panel_to_one_side():
    def cells(*ratios):
        return [{"success": 0.1 * 3**k, "law": {"value": ratio}} for k, ratio in enumerate(ratios)]

    ax = plt.figure().subplots()
    for ratios in ((2.0, 0.5), (2.0, 1.5), (0.5, 0.4)):
        line_of_the_law(ax, cells(*ratios), 0.5)
    assert [line.get_xdata()[0] for line in ax.lines] == [pytest.approx(0.1 * 3**0.5)]
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["the law: sixteen", "two", "the law: sixteen everywhere", "the law: two everywhere"]
    plt.close("all")
