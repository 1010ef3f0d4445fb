"""Engines and corrections by name, what each correction costs, and the choice among noisy costs."""

import itertools
import json
import re

import jax
import numpy as np
import pytest

import gradvar as gv
from gradvar.cli import listing
from gradvar.cli import main as cli
from gradvar.core.spelling import CORRECTIONS, SAMPLERS, SURROGATES, read_correction, read_sampler
from gradvar.core.spelling_meanings import correction_rows, engine_rows
from gradvar.measure.spelled import corrected_by, correction_piece
from gradvar.stats.choice import least
from gradvar.stats.direction import effective_share, sampled_losses
from gradvar.stats.figures import BlockSums
from gradvar.studies.config import ListConfig, MeasureConfig
from gradvar.studies.problems import finite_problem
from tests.report import schema

NUMBERS = {
    "stale": ":2",
    "top_k": ":2",
    "temperature": ":0.7",
    "top_p": ":0.7",
    "min_p": ":0.1",
    "noise": ":0.1",
    "template": ":1",
}
CUT, CAP = 0.8, 1.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "top-q:0.9"}, "sampler: no 'top-q'; did you mean top_p or top_k?"),
        ({"sampler": "top_p"}, "sampler: 'top_p'; give top_p:MASS"),
        ({"sampler": "top_p:1.2"}, "sampler: 'top_p:1.2'; give a number above zero and at most 1"),
        ({"sampler": "top_k:1.5"}, "sampler: 'top_k:1.5'; give a whole number from 1 up"),
        ({"sampler": "fp8:raw"}, "sampler: 'fp8:raw'; only temperature"),
        ({"corrections": ("tis:two",)}, "corrections: 'tis:two' has a number that cannot be read"),
        ({"corrections": ("icepop:5:0.5",)}, "give the lower end of the band first"),
        ({"corrections": ("tis:1:2:3",)}, "corrections: 'tis:1:2:3'; tis takes 2 numbers at most"),
        ({"corrections": ("tis+vespo",)}, "loglinear stand first, one of them at most"),
        ({"corrections": ("vespo+normalised",)}, "normalised comes behind what it divides"),
        ({"sampler": "template:0.5"}, "sampler: 'template:0.5'; give a token"),
        ({"corrections": ("none+tis",)}, "none stands alone"),
        ({"corrections": ("normalised",)}, "normalised comes behind what it divides"),
        ({"corrections": ()}, "corrections: nothing given"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_with_the_fix(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        MeasureConfig(**settings).check()
    assert "\n" not in str(error.value)


def test_every_name_makes_its_piece():
    for name in SAMPLERS:
        assert read_sampler(name + NUMBERS.get(name, "")).name == name
    for name, defaults in CORRECTIONS.items():
        text = "tis+normalised" if name == "normalised" else name
        assert (correction_piece(read_correction(text)) is None) == (name == "none")
        assert read_correction(text)[-1].values == defaults
    for name in SURROGATES:
        made = corrected_by(gv.catalogue.get("dr_grpo"), f"{name}+tis")
        assert made.name == f"dr_grpo+{name}+tis"
        assert {"logp_sampler"} == set(made.needs)
    joined = correction_piece(read_correction("tis:1.5+k3_token:0.1"))
    ones = np.ones((1, 1, 2))
    logs = {"logp_old": 0 * ones, "logp_sampler": -np.log([[[1.1, 2.0]]])}  # w is 1.1 and 2
    np.testing.assert_allclose(joined(**logs, mask=ones > 0), [[[1.1, 0.0]]], rtol=1e-6)


def test_every_word_is_explained_and_what_is_listed_can_be_read(capsys):
    assert len(engine_rows()) == len(SAMPLERS)
    words = [row["word"] for row in correction_rows()]
    assert len(words) == len(CORRECTIONS) + len(SURROGATES)
    for word in words:
        read_correction("tis+normalised" if word == "normalised" else word)
    assert listing.run(ListConfig(what="samplers")) == 0
    assert "noise:SIZE" in capsys.readouterr().out


def brute_losses():
    """Loss and bias of dr_grpo in groups of 2 with top-p, plain and with min(w, CAP), by loops over all groups."""
    with jax.enable_x64(False):  # random numbers are others in float64
        _, task, params = finite_problem("bandit", "binary", 0)
    logits = np.asarray(params, np.float64)
    rewards = np.asarray(
        task.reward(task.all_prompts(), np.arange(4).reshape(1, 4, 1).repeat(len(logits), 0))
    )
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    sums = {name: [0.0, np.zeros(logits.size)] for name in ("none", "tis")}  # E||g||^2 and E g
    truth = np.zeros(logits.shape)
    for q, p in enumerate(chances):
        order = np.argsort(-p)
        kept = order[: 1 + np.argmax(np.cumsum(p[order]) > CUT)]
        engine = np.where(np.isin(np.arange(4), kept), p, 0.0)
        engine /= engine.sum()
        for i, j in itertools.product(kept, repeat=2):
            half = (rewards[q][i] - rewards[q][j]) / 2  # the first one's reward less the group's mean
            for name, total in sums.items():
                gradient = np.zeros(logits.shape)
                for k, advantage in ((i, half), (j, -half)):
                    weight = 1.0 if name == "none" else min(p[k] / engine[k], CAP)
                    gradient[q] += weight * advantage * (np.eye(4)[k] - p) / 2
                chance = engine[i] * engine[j] / len(chances)
                total[0] += chance * (gradient**2).sum()
                total[1] = total[1] + chance * gradient.ravel()
        truth[q] = p * (rewards[q] - p @ rewards[q]) / len(chances)
    flat = truth.ravel()
    return {
        name: (1 - (m @ flat) ** 2 / (s * flat @ flat), 1 - (m @ flat) ** 2 / (m @ m * flat @ flat))
        for name, (s, m) in sums.items()
    }


@pytest.mark.slow
def test_the_command_against_loops(tmp_path, capsys):
    """The table's numbers are those of loops, and the sentence names the smaller loss."""
    command = f"mismatch --policy bandit --samplers top_p:{CUT} --corrections none tis:{CAP} --group-size 2 --prompts 1"
    assert cli.run([*command.split(), "--quiet", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    saved = json.loads((tmp_path / "out" / "mismatch.json").read_text())
    assert schema.errors("mismatch", saved) == []
    known = brute_losses()
    for row in saved["rows"]:
        loss, bias = known[row["correction"].partition(":")[0]]
        value = {"loss": loss, "bias": bias, "variance": loss - bias}[row["figure"]]
        np.testing.assert_allclose(row["value"], value, rtol=1e-9)
    names = {"none": "none", "tis": f"tis:{CAP}"}
    best = names[min(known, key=lambda name: known[name][0])]
    assert f"{best} costs least" in " ".join(printed.split())
    assert {"mismatch.csv", "mismatch.svg", "mismatch.png"} <= {p.name for p in (tmp_path / "out").iterdir()}


def means(samples):
    """Means [thing] of samples [thing, block], and their leave-one-out values."""
    blocks = samples.shape[1]
    return samples.mean(1), (samples.sum(1, keepdims=True) - samples) / (blocks - 1)


def test_the_choice_is_wrong_in_one_of_twenty_at_most():
    """Costs that are all equal but for the last, which is the largest: nothing may be called the least often."""
    rng, wrong, trials = np.random.default_rng(0), 0, 200
    for _ in range(trials):
        samples = rng.normal(size=(5, 64)) + rng.normal(size=64)  # blocks are shared
        samples[-1] += 0.5
        choice = least(*means(samples))
        wrong += choice.certain and choice.best > 0  # the first may count as the true least
    assert wrong / trials < 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)


def test_the_choice_sees_what_is_clear_and_what_is_the_same():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(3, 64))
    samples[1] -= 2.0
    samples[2] = samples[1]
    choice = least(*means(samples))
    assert (choice.best, choice.certain, choice.alike, choice.rival) == (1, True, (1, 2), 0)
    assert choice.gap.excludes(0.0)
    assert not least(*means(rng.normal(size=(3, 64)))).certain
    few = least(*means(samples), effective=[2.0, 2.0, 2.0])
    assert not few.certain  # no interval, no choice


def test_losses_of_a_gradient_of_known_mean_and_spread():
    """g = 2 e1 + e2 + normal noise, grad J = e1: the bias is 1/5 and the loss 1 - 4 / (5 + 3)."""
    rng, blocks, size = np.random.default_rng(2), 64, 64
    gradients = np.array([2.0, 1.0, 0.0]) + rng.normal(size=(blocks, size, 3))
    sums = gradients.sum(1)
    losses = sampled_losses(
        BlockSums(
            count=np.full(blocks, float(size)), gram=sums @ sums.T, squares=(gradients**2).sum((1, 2)), pairs=None,
            aligned=sums[:, 0], truth=np.array(1.0), truth_known=True,
        )
    )  # fmt: skip
    for name, value in {"loss": 0.5, "bias": 0.2, "variance": 0.3}.items():
        error = np.sqrt((blocks - 1) * losses.parts[name].var())
        assert abs(losses.values[name] - value) < 4 * error
    assert effective_share(np.zeros(5)) == pytest.approx(1.0)


@pytest.mark.slow
def test_sampled_costs_agree_with_enumerated_ones():
    from gradvar.studies import mismatch as study

    config = gv.MismatchConfig(
        policy="tabular", samplers=("stale:2",), corrections=("none", "seq_mask:1.1"), group_size=2, prompts=1,
        replicates=2048,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        exactly = gv.mismatch(config)
        patch.setattr(study, "_finite", lambda problem: False)
        sampled = gv.mismatch(config)
    assert (exactly.route, sampled.route) == ("exact", "direct")
    for known, cost in zip(exactly.costs, sampled.costs, strict=True):
        for part in ("loss", "bias", "variance"):
            x = getattr(cost, part)
            assert abs(x.value - getattr(known, part).value) < 4.5 * x.se
    size = sampled.sizes["stale:2"]
    assert abs(size.divergence.value - exactly.sizes["stale:2"].divergence.value) < 4.5 * size.divergence.se
    assert exactly.sizes["stale:2"].divergence.value > 1e-4
