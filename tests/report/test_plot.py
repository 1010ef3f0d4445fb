"""gv.plot: what is drawn is what was given, with units and intervals; colours are told apart; nothing is cut off."""

import itertools

import jax
import matplotlib.style
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats

import gradvar as gv
from gradvar.plot.style import COLOURS, PAPER, colour, figure_of, ground_of
from gradvar.stats.intervals import wilson
from gradvar.studies.rows import tidy

from . import samples

ROWS, RUNS, ADVICE, AUDIT = samples.rows(), samples.experiment(), samples.advice(), samples.audit()
MISMATCH = samples.mismatch()
PLOTS = {
    "variance": lambda **k: gv.plot.variance(ROWS, staleness=0, **k),
    "snr": lambda **k: gv.plot.snr(ROWS, staleness=4, **k),
    "bias": lambda **k: gv.plot.bias(ROWS, staleness=4, **k),
    "figure": lambda **k: gv.plot.figure(ROWS, "within", staleness=0, **k),
    "staleness": lambda **k: gv.plot.staleness(ROWS, group_size=4, **k),
    "compare": lambda **k: gv.plot.compare(ROWS, "bias_factor", staleness=0, **k),
    "split": lambda **k: gv.plot.split(ROWS, staleness=0, **k),
    "mismatch": lambda **k: gv.plot.mismatch(MISMATCH, **k),
    "cost": lambda **k: gv.plot.cost(ADVICE, **k),
    "equal_groups": lambda **k: gv.plot.equal_groups(AUDIT, **k),
    "informative": lambda **k: gv.plot.informative(AUDIT, **k),
    "training": lambda **k: gv.plot.training(RUNS, **k),
    "retention": lambda **k: gv.plot.retention(RUNS, **k),
    "profiles": lambda **k: gv.plot.profiles(RUNS, **k),
}


def test_every_plot_of_the_room_is_tested_here():
    functions = {n for n in vars(gv.plot) if not n.startswith("_") and callable(getattr(gv.plot, n))}
    assert functions == {*PLOTS, "prompt_weight", "clip", "theme"}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_draws_on_the_axes_given_and_names_its_quantities(name):
    mine = Figure().subplots()
    assert PLOTS[name](ax=mine) is mine
    fresh = PLOTS[name]()
    assert isinstance(fresh, Axes)
    assert fresh is not mine
    labels = [axis.get_label_text() for axis in (fresh.xaxis, fresh.yaxis)]
    if name in ("compare", "retention"):  # their vertical axis has names at its ticks
        assert labels.pop() == ""
        assert len(fresh.get_yticklabels()) == 3
    assert all(any(mark in label for mark in "(⟨‖") or "cosine" in label for label in labels), labels


def test_legends_of_many_names_stay_within_the_figure(monkeypatch):
    def curves(estimators, size, rates):
        return {e.name: np.ones(len(rates)) for e in estimators}

    monkeypatch.setattr("gradvar.plot.weight.bias_curve", curves)
    with gv.plot.theme():
        assert faults(gv.plot.prompt_weight(["rloo", "grpo", "grpo_sample_std"], (2, 8))) == []
        assert (
            faults(gv.plot.prompt_weight(["rloo", "reinforce_pp_baseline", "pass_at_k_standardised"], 2))
            == []
        )


def test_long_names_leave_room_for_labels():
    runs = samples.experiment(arms=["grpo-16-sample-std-clip-higher", "grpo-16"])
    rows = samples.rows(names=("reinforce_pp_baseline", "pass_at_k_standardised"), staleness=(0,))
    with gv.plot.theme():
        for figure in ("retained_final", "retained_gain", "difference", "improvement"):
            assert faults(gv.plot.retention(runs, figure)) == []
        for figure in ("snr_per_rollout", "trace_cov", "bias_factor"):
            assert faults(gv.plot.compare(rows, figure)) == []


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("name", PLOTS)
def test_no_text_is_cut_off_and_no_ticks_collide(name, ground):
    with gv.plot.theme(ground):
        assert faults(PLOTS[name]()) == []


def test_text_that_is_cut_off_or_collides_is_seen():
    with gv.plot.theme():
        ax = PLOTS["training"]()
        ax.set_xlabel(
            "a label that is far too long for a figure of this width, and then a little longer still"
        )
        assert faults(ax)
        ax = PLOTS["training"]()
        ax.set_xticks([0, 1, 2, 3], ["0", "1000000", "2000000", "3000000"])
        assert faults(ax)


def faults(ax):
    """Texts that reach beyond the figure, and tick labels that overlap, after the layout has been made."""
    figure = ax.get_figure()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    width, height = figure.bbox.width, figure.bbox.height
    legend = ax.get_legend()
    ticks = [seen(ax.xaxis), seen(ax.yaxis)]
    texts = [
        ax.xaxis.label,
        ax.yaxis.label,
        *(legend.get_texts() if legend else []),
        *itertools.chain(*ticks),
    ]
    found = []
    for text in (t for t in texts if t.get_text()):
        box = text.get_window_extent(renderer)
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1:
            found.append(f"cut: {text.get_text()}")
    for row in ticks:
        boxes = [t.get_window_extent(renderer) for t in row]
        found += [f"overlap: {a}" for a, b in itertools.pairwise(boxes) if a.overlaps(b)]
    return found


def seen(axis):
    """The labels of the ticks within the axis; Matplotlib keeps some beyond its ends that it does not draw."""
    low, high = sorted(axis.get_view_interval())
    pad = 1e-9 * (high - low)
    labels = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    return [label for at, label in labels if low - pad <= at <= high + pad and label.get_text()]


def test_intervals_are_drawn_as_they_were_given():
    ax = gv.plot.variance(ROWS, staleness=0)
    drawn = {c.get_label(): c for c in ax.containers}
    wanted = [r for r in ROWS if r["figure"] == "trace_cov" and r["staleness"] == 0]
    for name in ("grpo", "dapo"):
        own = [r for r in wanted if r["estimator"] == name]
        (bars,) = drawn[name].lines[2]
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, [[r["low"], r["high"]] for r in own])
        np.testing.assert_allclose(drawn[name].lines[0].get_ydata(), [r["value"] for r in own])
    assert drawn["rloo"].lines[2] == ()  # exact: no interval, and none is made up


def test_a_figure_without_an_interval_is_hollow_for_a_full_mark_without_a_bar_is_exact():
    rows = [r for r in ROWS if r["figure"] == "snr_per_rollout" and r["staleness"] == 0]
    unknown = {"low": float("nan"), "high": float("nan")}
    rows = [{**r, **unknown} if (r["estimator"], r["group_size"]) == ("dapo", 2) else r for r in rows]
    for ax, axis in ((gv.plot.snr(rows), "y"), (gv.plot.compare(rows), "x")):
        hollow = [line for line in ax.lines if line.get_markerfacecolor() == "none"]
        ((value,),) = [line.get_data()["xy".index(axis)] for line in hollow]
        assert value in [r["value"] for r in rows if r["low"] != r["low"]]
        full = sum(len(c.lines[0].get_markevery()) for c in ax.containers)
        assert full == len(rows) - 1


@pytest.mark.slow
def test_a_study_and_its_rows_draw_the_same():
    study = gv.study(
        policies=("bandit",),
        estimators=("rloo", "grpo"),
        group_sizes=(2, 4),
        staleness=(0,),
        rollouts=8,
        quiet=True,
    )
    from_study, from_rows = (gv.plot.snr(source) for source in (study, study.rows()))
    moments = gv.plot.snr([r.moments for r in study.results])
    for ax in (from_rows, moments):
        for one, other in zip(from_study.containers, ax.containers, strict=True):
            np.testing.assert_array_equal(one.lines[0].get_ydata(), other.lines[0].get_ydata())


@pytest.mark.slow
def test_an_experiment_and_what_is_saved_of_it_draw_the_same():
    runs = gv.experiment(
        arms=(gv.arms.get("grpo-2"), gv.arms.get("grpo-16")), reference="grpo-16", seeds=2, steps=2, evaluations=2,
        rollouts_per_step=32, eval_prompts=16, eval_rollouts=4, keep=False, width=16, success=0.05,
    )  # fmt: skip
    for draw in (gv.plot.training, gv.plot.profiles, gv.plot.retention):
        one, other = draw(runs), draw(runs.as_json())
        assert one.get_xlabel() == other.get_xlabel()
        for a, b in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(a.get_xydata(), b.get_xydata())


@pytest.mark.slow
def test_a_banks_evaluation_and_advice_are_drawn_with_their_intervals():
    policy, task = gv.policies.Bandit(4, num_prompts=6), gv.tasks.Bandit(np.eye(6, 4) + np.eye(6, 4, -4))
    bank = gv.measure.record(
        policy, policy.init(jax.random.key(0)), task, jax.random.key(1), prompts=40, rollouts=8
    )
    found = bank.evaluate([gv.catalogue.get("rloo"), gv.catalogue.get("grpo")], group_sizes=(2, 4))
    ax = gv.plot.figure(found, "variance_per_rollout")
    ends = [s[:, 1] for s in ax.containers[0].lines[2][0].get_segments()]
    wanted = [found.estimate(("rloo", g), "variance_per_rollout") for g in (2, 4)]
    np.testing.assert_allclose(ends, [[e.low, e.high] for e in wanted])
    advice = gv.measure.advise(bank)
    drawn = gv.plot.cost(advice).containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, [p.cost.value for p in advice.curve])


def test_training_bands_are_students_intervals():
    ax = gv.plot.training(RUNS, level=0.9)
    band = ax.collections[1].get_paths()[0].vertices
    rewards = {(r["evaluation"], r["seed"]): r["reward"] for r in RUNS["curves"] if r["arm"] == "grpo-16"}
    for point in range(5):
        values = [rewards[point, s] for s in range(6)]
        low, high = stats.t.interval(0.9, 5, np.mean(values), stats.sem(values))
        at = band[np.isclose(band[:, 0], 10 * point)][:, 1]
        assert at.min() == pytest.approx(low)
        assert at.max() == pytest.approx(high)


def test_training_bands_of_several_starts_count_each_once():
    """Six seeds of two starts scatter little within a start: over seeds the band would be far too narrow."""
    curves = [
        r | {"start": r["seed"] // 3, "reward": r["reward"] + 0.2 * (r["seed"] // 3)} for r in RUNS["curves"]
    ]
    ax = gv.plot.training(RUNS | {"curves": curves}, arms=("grpo-16",))
    assert "over warm starts" in ax.get_xlabel()
    finals = [
        [r["reward"] for r in curves if (r["arm"], r["evaluation"], r["start"]) == ("grpo-16", 4, s)]
        for s in (0, 1)
    ]
    means = np.mean(finals, 1)
    low, high = stats.t.interval(0.95, 1, means.mean(), stats.sem(means))
    band = ax.collections[0].get_paths()[0].vertices
    at = band[np.isclose(band[:, 0], 40)][:, 1]
    assert (at.min(), at.max()) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_has_no_band():
    assert not gv.plot.training(samples.experiment(seeds=1)).collections


@pytest.mark.parametrize("successes", [0, 3, 8])
def test_wilsons_interval_is_scipys(successes):
    low, high = wilson(np.array([successes / 8]), 8)
    interval = stats.binomtest(successes, 8).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((interval.low, interval.high))


def test_profiles_are_shares_of_runs():
    ax = gv.plot.profiles(RUNS, thresholds=[0.0, 0.36, 1.0])
    finals = [r["reward"] for r in RUNS["curves"] if r["arm"] == "grpo-2" and r["evaluation"] == 4]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1.0, np.mean(np.array(finals) > 0.36), 0.0])


def test_the_optimum_without_an_upper_end_reaches_to_the_edge():
    bounded, open_ = (gv.plot.cost(samples.advice(upper)) for upper in (5.0, None))
    ends = [ax.patches[0].get_extents().x1 for ax in (bounded, open_)]
    edges = [ax.transData.transform((ax.get_xlim()[1], 0))[0] for ax in (bounded, open_)]
    assert ends[0] < edges[0] - 50
    assert ends[1] == pytest.approx(edges[1])


def test_shares_of_groups_are_the_audits_with_their_intervals():
    ax = gv.plot.informative(AUDIT)
    (bars,) = ax.containers[0].lines[2]
    ends = [s[:, 1].tolist() for s in bars.get_segments()]
    known = [p["informative"] for p in AUDIT["group_sizes"] if p["informative"]["value"] is not None]
    np.testing.assert_allclose(ends, [[p["low"], p["high"]] for p in known])
    band = gv.plot.equal_groups(AUDIT).collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.9 * 0.25, 1.05 * 0.25))
    logged = {"curve": [{"group_size": g, "informative": 0.5, "informative_se": 0.1} for g in (2, 4)]}
    (bars,) = gv.plot.informative(logged).containers[0].lines[2]
    np.testing.assert_allclose(bars.get_segments()[0][:, 1], [0.5 - 0.196, 0.5 + 0.196])
    unknown = {"group_sizes": [{"group_size": 2, "informative": None}]}
    with pytest.raises(ValueError, match="source: no group size has a known share"):
        gv.plot.informative(unknown)
    with pytest.raises(TypeError, match="audit: dict has no steps"):
        gv.plot.equal_groups(unknown)


def test_prompt_weights_are_the_sum_over_successes():
    """w(p) = sum_k C(G, k) p^k (1-p)^(G-k) A_k (k/p - (G-k)/(1-p) times -1) / G, with NumPy and no engine."""
    rates = np.array([0.1, 0.5, 0.8])
    ax = gv.plot.prompt_weight(["rloo", "grpo"], 3, rates=rates)
    curves = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(curves["rloo"], 1.0)
    expected = np.zeros(3)
    for k in (1, 2):
        std = np.sqrt(k / 3 * (1 - k / 3)) + 1e-6
        right, wrong = (1 - k / 3) / std, -(k / 3) / std
        chance = stats.binom.pmf(k, 3, rates)
        expected += chance * (right * k / rates - wrong * (3 - k) / (1 - rates)) / 3
    np.testing.assert_allclose(curves["grpo"], expected, rtol=1e-9)
    both = gv.plot.prompt_weight(["rloo", "grpo"], (2, 3), rates=rates)
    names = [text.get_text().replace("\n", " ") for text in both.get_legend().get_texts()]
    assert names == ["rloo, G = 2 and 3; grpo, G = 2", "grpo, G = 3"]


def test_clips_take_the_weight_that_the_papers_take():
    ratios = np.array([0.5, 0.79, 0.81, 1.0, 1.19, 1.21, 1.27, 1.29, 2.0])
    ax = gv.plot.clip(["grpo", "dapo"], ratios=ratios)
    right, wrong = ax.lines[0].get_ydata(), ax.lines[1].get_ydata()
    np.testing.assert_allclose(right, np.where(ratios <= 1.2, ratios, 0))
    np.testing.assert_allclose(wrong, np.where(ratios >= 0.8, ratios, 0))
    assert ax.lines[2].get_ydata()[6] == pytest.approx(1.27)  # dapo's upper range is 0.28
    assert ax.lines[2].get_ydata()[7] == 0


# ---- colours

SIGHT = {  # Machado, Oliveira and Fernandes 2009, severity 1
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


def linear(shade):
    c = np.array(matplotlib.colors.to_rgb(shade))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    to_cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    to_lab = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099],
              [0.0259040371, 0.7827717662, -0.808675766]]  # fmt: skip
    return np.array(to_lab) @ np.cbrt(np.array(to_cones) @ np.clip(rgb, 0, 1))


def nearest(shades, sight):
    seen = [oklab(np.array(SIGHT[sight]) @ linear(s)) for s in shades]
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))


def contrast(one, other):
    low, high = sorted(float(linear(s) @ [0.2126, 0.7152, 0.0722]) for s in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_colours_are_told_apart_by_everybody(ground):
    for sight in ("normal", "protanopia", "deuteranopia"):
        assert nearest(COLOURS[ground], sight) > 0.105, sight
    assert nearest(COLOURS[ground], "tritanopia") > 0.06
    assert min(contrast(s, PAPER[ground]) for s in COLOURS[ground]) > (2.9 if ground == "light" else 4.5)


def test_matplotlibs_own_colours_would_not_pass():
    own = [f"C{k}" for k in range(8)]
    assert nearest(own, "deuteranopia") < 0.105


def test_the_ground_decides_the_colours_whoever_set_it():
    assert ground_of(Figure().subplots()) == "light"
    with gv.plot.theme("dark"):
        assert colour(gv.plot.variance(ROWS, staleness=0), 0) == COLOURS["dark"][0]
    whole = Figure(facecolor="black")
    inner = whole.subfigures(1, 2)[0].subplots()
    inner.set_facecolor("none")
    assert figure_of(inner) is whole
    assert ground_of(inner) == "dark"  # what is seen through the axes is the whole figure's ground
    with matplotlib.style.context("dark_background"):
        assert ground_of(Figure().subplots()) == "dark"
    with pytest.raises(ValueError, match="ground: 'sepia'"):
        gv.plot.theme("sepia")


# ---- input that makes no sense

BAD = {
    "figure: 'speed', staleness=0 is not among": lambda: gv.plot.figure(ROWS, "speed", staleness=0),
    "staleness: measured at 0, 4; choose one": lambda: gv.plot.variance(ROWS),
    "source: its rows have no staleness": lambda: gv.plot.staleness(
        [{k: v for k, v in r.items() if k != "staleness"} for r in ROWS], group_size=4
    ),
    "figure: 'speed'; choose": lambda: gv.plot.retention(RUNS, "speed"),
    "x: 'hours'; choose": lambda: gv.plot.training(RUNS, x="hours"),
    "level: 95;": lambda: gv.plot.training(RUNS, level=95),
    "arms: no 'absent'; choose grpo-2": lambda: gv.plot.training(RUNS, arms=("absent",)),
    "arms: none of": lambda: gv.plot.retention(RUNS, arms=("absent",)),
    "rates: between 0 and 1": lambda: gv.plot.prompt_weight("rloo", 4, rates=[0, 1]),
    "group_sizes: nothing given": lambda: gv.plot.prompt_weight("rloo", ()),
    "group_sizes: 1; rloo needs": lambda: gv.plot.prompt_weight("rloo", 1),
    "estimators: 'ppo' needs values": lambda: gv.plot.clip("ppo"),
    "estimators: nothing given": lambda: gv.plot.clip([]),
    "ratios: the least is 0": lambda: gv.plot.clip("grpo", ratios=[0.0, 1.0]),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_clear_line(message):
    with pytest.raises(ValueError, match=message) as caught:
        BAD[message]()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [3, "rows", [{"estimator": "rloo"}], [None]])
def test_a_source_of_another_kind_is_a_type_error(source):
    with pytest.raises(TypeError, match="source: "):
        tidy(source)
    with pytest.raises(TypeError, match="advice: "):
        gv.plot.cost(source)
    with pytest.raises(TypeError, match="experiment: "):
        gv.plot.training(source)


def test_names_that_matplotlib_would_hide_or_parse_are_drawn():
    rows = samples.rows(names=("_hidden", "a" * 60), staleness=(0,))
    labels = [t.get_text() for t in gv.plot.variance(rows).get_legend().get_texts()]
    assert labels[0].strip("\u200a") == "_hidden"
    assert len(labels[1]) < 40
