"""The page that one plays with: its formulas are the claims', its numbers the engine's; keys and touch move it."""

import importlib.util
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradvar as gv
from gradvar.core.batch import Batch
from gradvar.measure.advise.optimum import optimal_size
from gradvar.measure.bank.summary import Budget
from gradvar.measure.exact.closed_forms import four_number_law, four_numbers, ustatistic_numbers
from tests.report import browser

EXPLORE = Path(__file__).parents[2] / "docs" / "explore"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.find() is None, reason="no Chromium or Chrome on this machine"),
]
SETTINGS = (  # estimator, group size, right answers of a prompt
    ("grpo", 16, 1), ("grpo", 4, 2), ("grpo", 2, 4), ("grpo_sample_std", 6, 1), ("dr_grpo", 3, 2), ("rloo", 8, 1),
    ("rloo", 3, 3), ("maxrl", 12, 1), ("maxrl", 4, 2), ("reinforce", 5, 1),
)  # fmt: skip
FIGURES = {
    "biasFactor": "bias_factor", "cosine": "cosine", "between": "between", "within": "within", "trace": "trace_cov",
    "signal": "signal", "perRollout": "snr_per_rollout",
}  # fmt: skip
PLACE = """
<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<style>:root { font-size: 20px } html { background: #fff } body { margin: 8px } .md-typeset { min-width: 0 }
@media (prefers-color-scheme: dark) { html { background: #16181b; color: #eee; --md-default-bg-color: #16181b;
--md-default-fg-color: #eee; --md-default-fg-color--light: #aaa;
--md-default-fg-color--lightest: #444 } }</style></head>
<body class="md-typeset">BODY</body></html>
"""


def generator():
    spec = importlib.util.spec_from_file_location("make_explorer", EXPLORE.parent / "make_explorer.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_explorer"] = module
    spec.loader.exec_module(module)
    return module


def test_the_formulas_are_those_of_the_claims():
    assert (EXPLORE / "formulas.js").read_text() == generator().script()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explore")
    text = (EXPLORE / "index.md").read_text()
    body = text[text.index("<div class=") :]
    prose = body[body.index("## What is computed") : body.index("<link")]
    (folder / "index.html").write_text(PLACE.replace("BODY", body.replace(prose, "")))
    for path in (*EXPLORE.glob("*.js"), *EXPLORE.glob("*.css")):
        (folder / path.name).write_text(path.read_text())
    return folder / "index.html"


@pytest.fixture
def chromium(page):
    with browser.Browser(browser.find()) as running:
        running.open(page, 1000)
        yield running
        assert running.problems == []


def ask(running, expression):
    return json.loads(running.evaluate(f"JSON.stringify({expression})"))


def engine(name, size, answers, rates):
    """The engine's moments of prompts with these success rates, and each prompt's weight."""
    chances = np.repeat(np.stack([rates, 1 - rates], -1) / answers, answers, axis=1)  # [prompt, answer]
    rewards = np.tile(np.repeat([1.0, 0.0], answers), (len(rates), 1))
    policy = gv.policies.Bandit(2 * answers, num_prompts=len(rates))
    with jax.enable_x64(True):
        moments = gv.measure.exact(
            gv.catalogue.get(name), policy, jnp.log(chances), gv.tasks.Bandit(rewards), size
        )
    mean, truth = (np.asarray(x).reshape(len(rates), -1) for x in (moments.mean, moments.true_gradient))
    return moments, (mean * truth).sum(-1) / (truth**2).sum(-1)


def differences(running, name, size, answers, rates):
    """Relative differences between the page and the engine: of the prompts' weights, and of the figures of all."""
    moments, weights = engine(name, size, answers, rates)
    rows = json.dumps([{"p": float(p), "count": 1} for p in rates])
    shown = ask(running, f"MODEL.figures('{name}', {size}, {rows}, {answers}, 0)")
    single = f"{rows}.map(x => MODEL.group('{name}', {size}, x.p, MODEL.numbersOf(x.p, {answers})).weight)"
    gaps = [abs(np.array(ask(running, single)) / weights - 1)]
    scale = {"between": moments.trace_cov, "within": moments.trace_cov}  # parts that may be zero
    for key, figure in FIGURES.items():
        value = getattr(moments, figure)
        gaps.append(np.atleast_1d(abs(shown[key] - value) / scale.get(key, abs(value))))
    return np.concatenate(gaps)


def test_a_thousand_prompts_are_as_the_engine_has_them(chromium):
    draws, prompts = np.random.default_rng(0), 0
    for name, size, answers in SETTINGS:
        for _ in range(10):
            rates = draws.uniform(0.01, 0.99, 10)
            assert differences(chromium, name, size, answers, rates).max() < 1e-9, (name, size, rates)
            prompts += len(rates)
    assert prompts == 1000
    chromium.evaluate(
        "FORMULAS.meanGiven = (G, k, p, a, b) => 1.00001 * (k * a / p - (G - k) * b / (1 - p)) / G"
    )
    assert differences(chromium, "rloo", 8, 1, rates).max() > 1e-6  # what is planted is seen


def test_prompts_that_share_a_direction_and_the_best_size(chromium):
    rates, answers, alignment = np.array([0.1, 0.3, 0.3, 0.8]), 3, 0.4
    chances = np.repeat(np.stack([rates, 1 - rates], -1) / answers, answers, axis=1)
    rewards = np.repeat([1.0, 0.0], answers)
    scores = np.eye(2 * answers) - chances[:, None]  # [prompt, answer, logit]
    numbers = [four_numbers(c, rewards, s) for c, s in zip(chances, scores, strict=True)]
    laws = [four_number_law(x, 4, lambda r: (r - r.mean()) / (r.std() + 1e-6)) for x in numbers]
    roots = np.sqrt([x.signal for x in numbers])
    cosines = np.where(np.eye(4), 1.0, alignment)
    weight = np.array([law.bias_factor for law in laws])
    signal, aligned = ((x * roots) @ cosines @ (weight * roots) / 16 for x in (weight, np.ones(4)))
    between = ((weight * roots) ** 2).mean() - signal
    rows = "[{p: 0.1, count: 1}, {p: 0.3, count: 2}, {p: 0.8, count: 1}]"
    shown = ask(chromium, f"MODEL.figures('grpo', 4, {rows}, {answers}, {alignment})")
    expected = {
        "signal": signal, "between": between, "within": np.mean([law.trace_cov for law in laws]),
        "biasFactor": aligned / (roots @ cosines @ roots / 16),
        "mixed": np.mean(1 - rates**4 - (1 - rates) ** 4),
    }  # fmt: skip
    np.testing.assert_allclose([shown[key] for key in expected], list(expected.values()), rtol=1e-12)
    pairs = [ustatistic_numbers(c, rewards, s) for c, s in zip(chances, scores, strict=True)]
    price = np.mean([2 * x.zeta2 - 4 * x.zeta1 for x in pairs])
    spread = (roots**2).mean() - roots @ cosines @ roots / 16
    star = float(optimal_size(Budget(spread, 0.0, price, 0.0), 0.0))
    assert ask(chromium, f"MODEL.optimum({rows}, {answers}, {alignment})") == pytest.approx(star, rel=1e-12)
    assert ask(chromium, f"MODEL.optimum([{{p: 0.3, count: 3}}], {answers}, 1)") is None  # infinite


def shipped(name, lengths, margin=0.0, **settings):
    """The token weights of a pair, the first rollout right, whose log-ratios are half of the margin apart from zero."""
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    moved = np.array([[margin / 2], [-margin / 2]]) * mask / np.array(lengths)[:, None]
    with jax.enable_x64(True):
        old = jnp.asarray(np.where(mask, -1.0, 0.0))[None]
        batch = Batch(jnp.array([[1.0, 0.0]]), old, jnp.asarray(mask)[None], logp_ref=old)
        return np.asarray(gv.token_weights(gv.catalogue.get(name, **settings), old + moved, batch))[0]


def test_pairs_and_lengths_are_as_the_code_that_ships_has_them(chromium):
    for margin in (-1.7, -0.2, 0.0, 0.3, 0.5, 1.3):
        pair = ask(chromium, f"MODEL.pair({margin}, 0.7, 0.2, 0.2)")
        np.testing.assert_allclose(pair["grpo"], shipped("grpo", (1, 1), margin)[:, 0], rtol=1e-12)
        dpo = shipped("dpo", (1, 1), margin, beta=0.7)[:, 0] / 0.7
        np.testing.assert_allclose(pair["dpo"], dpo, rtol=1e-12)
    for name in ("grpo", "dapo", "dr_grpo"):
        row, weights = ask(chromium, f"MODEL.lengths('{name}', 2, 1.5)"), shipped(name, (3, 2))
        seen = [row["right"], row["wrong"], row["rightSum"], row["wrongSum"]]
        np.testing.assert_allclose(seen, [*weights[:, 0], *weights.sum(1)], rtol=1e-12)


TRIPS = """
(() => {
  const wrong = [], wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) wrong.push("the page scrolls sideways");
  for (const e of document.querySelectorAll(".explorer :is(input, select, button, svg, p, output)")) {
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > wide + 1 || box.left < -1))
      wrong.push(`${e.id || e.tagName} reaches beyond the window`);
  }
  for (const e of document.querySelectorAll(".explorer :is(input, select)"))
    if (!e.labels.length && !e.getAttribute("aria-label")) wrong.push(`${e.id} has no label`);
  for (const t of document.querySelectorAll(".explorer figure > div > svg text")) {
    const box = t.getBoundingClientRect(), around = t.ownerSVGElement.getBoundingClientRect();
    if (box.left < around.left - 1 || box.right > around.right + 1) wrong.push(`text is cut: ${t.textContent}`);
  }
  if (document.querySelectorAll(".explorer path.series").length < 10) wrong.push("curves are missing");
  if (/NaN|undefined|Infinity/.test(document.body.innerText)) wrong.push("a number is none");
  return wrong;
})()
"""


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_it_is_whole_in_light_and_dark_at_every_setting(chromium, page, width):
    for dark in (False, True):
        chromium.open(page, width, dark=dark, touch=width == 360)
        assert chromium.evaluate(TRIPS) == [], (width, dark)
    for end in ("min", "max"):
        chromium.evaluate(
            f"document.querySelectorAll('input[type=range]').forEach(x => {{ x.value = x.{end}; }});"
            "document.getElementById('explorer').dispatchEvent(new Event('input'))"
        )
        wait(chromium)
        assert chromium.evaluate(TRIPS) == [], (width, end)


def wait(running):
    """Until what was asked for is drawn."""
    drawn = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
    running.ask("Runtime.evaluate", expression=drawn, awaitPromise=True)


def test_keys_and_touch_move_it_and_the_address_keeps_it(chromium, page):
    read = "document.querySelector('output[for=sizeA]').value + document.getElementById('figures').innerText"
    before = chromium.evaluate(read)
    chromium.evaluate("document.getElementById('sizeA').focus()")
    for kind in ("keyDown", "keyUp"):
        chromium.ask(
            "Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39
        )
    wait(chromium)
    after = chromium.evaluate(read)
    assert before.startswith("16")
    assert after.startswith("17")
    assert after[2:] != before[2:]
    assert "sizeA=17" in chromium.evaluate("location.hash")
    chromium.open(page, 360, touch=True)
    chromium.ask("Emulation.setTouchEmulationEnabled", enabled=True)
    box = chromium.evaluate(
        "(e => { e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
        " return [b.left + b.width * 0.9, b.top + b.height / 2]; })(document.getElementById('answers'))"
    )
    chromium.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": box[0], "y": box[1]}])
    chromium.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    wait(chromium)
    assert int(chromium.evaluate("document.getElementById('answers').value")) > 40
