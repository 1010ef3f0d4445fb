"""The report in a real browser: whole, readable and quiet, on a telephone and on a desk, in light and in dark."""

import json

import pytest

from gradvar.plot.style import INK, PAPER
from gradvar.report.page import page
from gradvar.report.read import read

from . import browser, samples

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.find() is None, reason="no Chromium or Chrome on this machine"),
]

ARMS = [f"grpo-{2 * k}-no-std" for k in range(1, 13)]
# What is wrong with the page as it is laid out, as a list of sentences.
FAULTS = """
(() => {
  const wrong = [], wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) wrong.push("the page scrolls sideways");
  for (const e of document.querySelectorAll("body *")) {
    const inside = e.closest(".scroll, pre, svg");
    if (inside && inside !== e) continue;
    const box = e.getBoundingClientRect();
    if (box.right > wide + 1 || box.left < -1) wrong.push(`${e.tagName} reaches beyond the window`);
  }
  const figures = [...document.querySelectorAll("figure svg")];
  if (!figures.length) wrong.push("no figures");
  for (const svg of figures) {
    const box = svg.getBoundingClientRect();
    if (box.width < 250 || box.height < 80) wrong.push(`a figure is ${box.width} by ${box.height}`);
    for (const t of svg.querySelectorAll("text")) {
      const b = t.getBoundingClientRect();
      if (b.height < 7.5 && b.width < 7.5) wrong.push(`text too small: ${t.textContent}`);
      if (b.left < box.left - 2 || b.right > box.right + 2 || b.top < box.top - 2 || b.bottom > box.bottom + 2)
        wrong.push(`text is cut: ${t.textContent}`);
    }
    const line = svg.querySelector("[style*='--c0']");
    const seen = getComputedStyle(line).stroke + getComputedStyle(line).fill;
    if (!/rgb/.test(seen)) wrong.push(`a series has no colour: ${seen}`);
  }
  return wrong;
})()
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    contents = samples.every() | {"arms": samples.experiment(arms=ARMS)}
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    sections, lines = read(folder)
    assert lines == []
    (folder / "report.html").write_text(page("A report", sections, ["x.json: is not JSON"], "1 January 2026"))
    return folder / "report.html"


@pytest.fixture(scope="module")
def chromium():
    with browser.Browser(browser.find()) as running:
        yield running


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1400])
def test_the_page_is_whole_and_quiet(chromium, report, width, dark):
    chromium.open(report, width, dark=dark, touch=width == 360)
    assert chromium.evaluate(FAULTS) == []
    assert chromium.problems == []
    ground = "dark" if dark else "light"
    colours = chromium.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    assert colours == [rgb(PAPER[ground]), rgb(INK[ground])]


def rgb(shade):
    return f"rgb({', '.join(str(int(shade[k : k + 2], 16)) for k in (1, 3, 5))})"


def test_faults_are_seen(chromium, report, tmp_path):
    """A planted violator for each rule: the checks above do fail."""
    html = report.read_text()
    plants = {
        "the page scrolls sideways": html.replace("<main>", '<main><div style="width: 2000px">wide</div>', 1),
        "no figures": html.replace("<svg", "<i").replace("</svg>", "</i>"),
        "a figure is": html.replace("figure svg {", "figure svg { max-width: 90px !important;"),
        "text is cut": html.replace("figure svg text {", "figure svg text { font-size: 40px !important;"),
        "a series has no colour": html.replace("--c0: ", "--gone: ").replace("var(--c0)", "none; --c0: 1"),
    }
    for fault, planted in plants.items():
        path = tmp_path / "planted.html"
        path.write_text(planted)
        chromium.open(path, 360)
        assert any(fault in said for said in chromium.evaluate(FAULTS)), fault
    foreign = html.replace(
        "<main>", '<main><img src="https://example.invalid/x.png"><script>alert(1)</script>', 1
    )
    path.write_text(foreign)
    chromium.open(path, 360)
    forbidden = {"the page's policy forbids img-src", "the page's policy forbids script-src-elem"}
    assert forbidden <= set(chromium.problems)
    chromium.problems.clear()


def test_tables_sort_by_number_and_by_name(chromium, report):
    chromium.open(report, 1400)
    table = "[...document.querySelectorAll('table')].find(t => /^Arms;/.test(t.caption.textContent))"

    def click(column):
        chromium.evaluate(
            f"[...{table}.querySelectorAll('th button')].find(b => b.textContent === '{column}').click()"
        )
        return chromium.evaluate(f"[...{table}.tBodies[0].rows].map(r => r.cells[0].textContent)")

    rows = {r["arm"]: r["final_reward"] for r in samples.experiment(arms=ARMS)["rows"]}
    assert click("after") == sorted(rows, key=rows.get)
    assert click("after") == sorted(rows, key=rows.get, reverse=True)
    states = (
        f"[...{table}.querySelectorAll('th')].map(h => h.getAttribute('aria-sort')).filter(s => s !== 'none')"
    )
    assert chromium.evaluate(states) == ["descending"]
    assert click("arm") == sorted(rows, key=lambda name: int(name.split("-")[1]))  # grpo-4 before grpo-10
    assert chromium.problems == []


def test_the_page_prints(chromium, report, tmp_path):
    chromium.open(report, 1400, dark=True)
    chromium.pdf(tmp_path / "report.pdf")
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 50_000
    assert chromium.evaluate("[...document.querySelectorAll('details')].every(d => d.open)")
    chromium.ask("Emulation.setEmulatedMedia", media="print")
    assert chromium.evaluate("getComputedStyle(document.body).backgroundColor") == rgb(PAPER["light"])
    chromium.ask(
        "Emulation.setDeviceMetricsOverride", width=720, height=1000, deviceScaleFactor=1, mobile=False
    )
    assert (
        chromium.evaluate("document.documentElement.scrollWidth") == 720
    )  # no table is cut at the paper's edge
