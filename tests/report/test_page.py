"""gradvar report: every kind is read, whatever is damaged costs one line, and nothing from a file becomes markup."""

import base64
import copy
import hashlib
import json
import random
import re
from html.parser import HTMLParser

import pytest
from markupsafe import Markup

from gradvar.cli import main as cli
from gradvar.plot.style import COLOURS, FAINT, INK, PAPER
from gradvar.report import measured as of_measurements
from gradvar.report import sections as of_others
from gradvar.report import trained as of_experiments
from gradvar.report.html import Picture, Table
from gradvar.report.page import Section, page
from gradvar.report.read import KINDS, read
from gradvar.stats.intervals import Interval
from gradvar.stats.text import interval_texts

from . import samples


class Outline(HTMLParser):
    """What a browser would make of a page: its elements in order, the attributes that load or run, its text."""

    VOID = ("meta", "br")

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.links, self.handlers, self.text = [], [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "action", "data") or "url(" in (value or ""):
                self.links.append(value)
            if name.startswith("on"):
                self.handlers.append(name)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def undrawn(monkeypatch):
    """Sections without the time that drawing takes."""
    for module in (of_measurements, of_experiments, of_others):
        monkeypatch.setattr(
            module, "drawn", lambda *_, caption, **__: Picture(Markup("<svg></svg>"), caption)
        )


def save(folder, contents):
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_every_kind_is_recognised(tmp_path, undrawn):
    save(tmp_path, samples.every())
    sections, lines = read(tmp_path)
    assert lines == []
    assert {s.file.removesuffix(".json"): s.kind for s in sections} == {
        "measurement": "Measurement", "experiment": "Experiment", "advice": "Advice", "proofs": "Proof run",
        "check": "Check of an advantage function or loss", "analysis": "Analysis of an objective",
        "audit": "Audit",
    }  # fmt: skip
    assert {content["kind"] for content in samples.every().values()} == set(KINDS)
    for section in sections:
        assert section.findings
        assert section.tables


def test_findings_say_what_the_numbers_say(tmp_path, undrawn):
    save(tmp_path, samples.every())
    found = {s.file: s.findings for s in read(tmp_path)[0]}
    runs = samples.experiment()
    best = max(runs["rows"], key=lambda r: r["final_reward"])
    (told,) = [f for f in found["experiment.json"] if f.startswith(f"{best['arm']} ends above")]
    assert f"{best['retained_final']:.3f}" in told
    assert found["proofs.json"][0].startswith("1 proved, 2 refuted, 1 fails")
    assert any(f.startswith("refuted X2, Bias.") for f in found["proofs.json"])
    assert any(f.startswith("X4, Misread: refuted; our question.") for f in found["proofs.json"])
    assert "X3 does not check: the step 'Sum' raised" in found["proofs.json"]
    assert any(r"$\frac{1}{2}$ & not <1>." in f for f in found["proofs.json"])
    assert found["check.json"][0] == "Does not pass: 1 of 2 laws fail."
    assert "Not as declared: finite fails." in found["check.json"]
    quiet = "Nothing suspicious in how rollouts are grouped and rewarded."
    assert found["audit.json"] == [quiet, *samples.audit()["advice"]]
    save(tmp_path, {"audit": samples.audit("Suspicious: Two groups are odd.")})
    assert [s.findings[0] for s in read(tmp_path)[0] if s.kind == "Audit"] == [
        "Suspicious: Two groups are odd."
    ]
    assert found["advice.json"] == samples.advice()["findings"]


def measured(tmp_path, value):
    """The findings on two estimators, one exact at 1, the other at ``value`` with an interval of +-0.1."""
    rows = [
        {"estimator": name, "group_size": 4, "figure": figure, "value": v, "low": v - h, "high": v + h}
        for figure in ("snr_per_rollout", "bias_factor") for name, v, h in (("rloo", 1.0, 0.0), ("mine", value, 0.1))
    ]  # fmt: skip
    save(tmp_path, {"rows": {"kind": "measurement", "rows": rows}})
    return read(tmp_path)[0][0].findings


def test_what_is_not_told_apart_is_said_so(tmp_path, undrawn):
    close = measured(tmp_path, 1.05)
    assert close[0].startswith(
        "Which setting buys the most signal per rollout cannot be told: the largest estimate is"
    )
    assert "1 within its interval for mine" in close[1]
    far = measured(tmp_path, 1.3)
    assert far[0].startswith(
        "Most signal per rollout from mine at G = 4, SNR 1.30 (95 % interval 1.20 to 1.40)"
    )
    assert "cannot be told" not in far[0]
    assert "1.30 ±0.10 for mine" in far[1]


BROKEN = {
    "half": ('{"rows": [', "half.json: is not JSON"),
    "empty": ("", "empty.json: is not JSON"),
    "number": ("3", "number.json: its 'kind' is none of measurement, training,"),
    "other": ('{"a": 1}', "other.json: its 'kind' is none of"),
    "list": ('[{"kind": "check"}]', "list.json: its 'kind' is none of"),
    "odd": ('{"kind": ["check"]}', "odd.json: its 'kind' is none of"),
    "deep": ("[" * 100_000, "deep.json: is nested too deeply"),
    "arms": (
        '{"kind": "training", "rows": [{"arm": "x"}, 3], "curves": []}',
        "arms.json: says it is of kind training, but is damaged",
    ),
    "laws": (
        '{"kind": "check", "target": "t", "laws": [{"status": "fails"}]}',
        "laws.json: says it is of kind check, but is damaged",
    ),
    "points": (
        '{"kind": "advice", "best": 4, "findings": [], "curve": [{"group_size": "four"}]}',
        "points.json: says it is of kind advice",
    ),
}


def test_a_damaged_file_costs_one_line_and_stops_nothing(tmp_path, capsys):
    save(tmp_path, {name: text for name, (text, _) in BROKEN.items()})
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    (tmp_path / "folder.json").mkdir()
    save(tmp_path, {"check": samples.check(), "untitled": samples.check() | {"target": ""}})
    assert cli.run(["report", str(tmp_path)]) == 0
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert len(lines) == len(BROKEN) + 2
    for message in [m for _, m in BROKEN.values()] + [
        "latin.json: is not UTF-8",
        "folder.json: is not a file",
    ]:
        assert len([x for x in lines if message in x]) == 1, message
    html = (tmp_path / "report.html").read_text()
    assert "Does not pass: 1 of 2 laws fail." in html
    assert "half.json: is not JSON" in html
    assert '<a href="#part-2">untitled</a> (untitled.json)' in html


def test_folders_within_are_read_and_their_other_files_passed_over(tmp_path, undrawn):
    inner = tmp_path / "run"
    inner.mkdir()
    save(inner, {"check": samples.check(), "other": {"a": 1}, "half": "{"})
    save(tmp_path, {"again": samples.check()})  # byte for byte the same: once is enough
    sections, lines = read(tmp_path)
    assert [s.file for s in sections] == ["again.json"]
    assert [line.split(":")[0] for line in lines] == ["run/half.json"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "absent", "absent does not exist; give a folder of results"),
        (lambda p: p, "holds no result; give a folder with what measure"),
    ],
)
def test_nothing_to_report_is_exit_2(tmp_path, capsys, make, message):
    assert cli.run(["report", str(make(tmp_path))]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_command_writes_where_it_is_told(tmp_path, capsys):
    save(tmp_path, {"check": samples.check()})
    out, told = tmp_path / "new" / "page.html", tmp_path / "told.json"
    words = [
        "report",
        str(tmp_path / "check.json"),
        "--out",
        str(out),
        "--json",
        str(told),
        "--title",
        "A <b> page",
    ]
    assert cli.run(words) == 0
    assert "A &lt;b&gt; page" in out.read_text()
    assert json.loads(told.read_text())["sections"][0]["findings"][0] == "Does not pass: 1 of 2 laws fail."
    assert "1 of 2 laws" in capsys.readouterr().out


# ---- names from files are text, never markup


def poisoned(content, word):
    """The same content with every text in it replaced, but for those that say what it is."""
    if isinstance(content, dict):
        return {k: v if k in ("figure", "kind") else poisoned(v, word) for k, v in content.items()}
    if isinstance(content, list):
        return [poisoned(v, word) for v in content]
    return word if isinstance(content, str) else content


def checked(html):
    """The page's outline, after its rules have been asserted."""
    outline = Outline(html)
    assert outline.tags.count("script") == 1
    assert outline.handlers == []
    inside = [link for link in outline.links if link.startswith("#") or "url(#" in link]
    papers = [
        link for link in outline.links if re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{5}(v\d+)?", link)
    ]
    assert len(inside) + len(papers) == len(outline.links), outline.links
    ids = re.findall(r' id="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    return outline


@pytest.mark.parametrize("kind", samples.every())
def test_no_text_of_a_file_becomes_markup(tmp_path, kind):
    save(tmp_path, {kind: poisoned(samples.every()[kind], samples.HOSTILE)})
    sections, lines = read(tmp_path)
    assert lines == []
    outline = checked(page(samples.HOSTILE, sections, [samples.HOSTILE], samples.HOSTILE))
    words = "".join(outline.text)
    assert words.count('<script>alert("x")</script>') >= 4


def test_a_page_that_lets_markup_through_is_seen():
    section = Section("t", "k", findings=[], more={"x": Markup(samples.HOSTILE)})
    with pytest.raises(AssertionError):
        checked(page("t", [section], [], ""))


@pytest.mark.slow
def test_figures_stand_in_the_page_with_their_text_and_the_pages_colours(tmp_path):
    save(tmp_path, {"advice": samples.advice(), "measurement": samples.measurement(staleness=(0,))})
    html = page("t", read(tmp_path)[0], [], "")
    outline = checked(html)
    assert outline.tags.count("svg") == 1 + 5
    assert html.count('role="img"') == 6
    assert "group size G (rollouts per prompt)" in outline.text
    inside = re.findall(r"<svg.*?</svg>", html, re.S)
    assert all("var(--c0)" in svg and "var(--ink)" in svg for svg in inside)
    assert not any(
        re.search(r"#[0-9a-f]{6}\b", svg) for svg in inside
    )  # a colour that no ground would change
    assert "<style" not in "".join(inside)


def test_characters_of_any_script_are_drawn_without_a_warning(tmp_path):
    save(
        tmp_path,
        {"advice": samples.advice(), "m": samples.measurement(names=("模型", "наш"), staleness=(0,))},
    )
    html = page("t", read(tmp_path)[0], [], "")
    assert re.search(r"<text[^>]*>模型</text>", html)


def test_control_characters_and_half_surrogates_are_no_reason_to_fail(tmp_path, capsys):
    odd = "a\x00b\ud800c"
    rows = [r | {"estimator": odd} for r in samples.rows(names=("rloo",), staleness=(0,), sizes=(4,))]
    save(tmp_path, {"check": poisoned(samples.check(), odd), "m": {"kind": "measurement", "rows": rows}})
    assert cli.run(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""
    checked((tmp_path / "report.html").read_text())


def test_only_the_pages_own_script_may_run():
    html = page("t", [Section("a", "b", ["c"])], [], "")
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in html
    assert html.index("Content-Security-Policy") < html.index("<style>")


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_the_style_has_the_plots_colours(ground):
    html = page("t", [Section("a", "b", ["c"])], [], "")
    blocks = dict(zip(("light", "dark"), re.findall(r":root \{(.*?)\}", html, re.S), strict=False))
    shades = dict(re.findall(r"--(\w+): (#\w+);", blocks[ground]))
    assert (shades["ink"], shades["paper"], shades["faint"]) == (INK[ground], PAPER[ground], FAINT[ground])
    assert [shades[f"c{k}"] for k in range(len(COLOURS[ground]))] == list(COLOURS[ground])


# ---- tables, numbers, provenance, citations


def test_cells_sort_by_their_values_and_show_the_places_that_the_interval_bears():
    cells = Table("c", ["name", "v", "empty"], [["a", Interval(1.23456, 1.2, 1.27), None], ["b", 10, ""]])
    html = page("t", [Section("a", "b", [], tables=[cells])], [], "")
    assert 'data-v="1.23456"' in html
    assert '1.235 <span class="interval">[1.200, 1.270]</span>' in html
    assert 'data-v="10.0"' in html
    assert ">empty<" not in html  # a column without a cell is left out
    assert html.count('aria-sort="none"') == 2
    assert interval_texts(0.0071, 0.0064, 0.0079) == ("0.00710", "0.00640", "0.00790")
    assert interval_texts(1.0, float("-inf"), 2.0) == ("1", "-inf", "2")


def test_provenance_and_citations_are_there(tmp_path, undrawn):
    save(tmp_path, {"experiment": samples.experiment(), "proofs": samples.proofs()})
    text = "".join(Outline(page("t", read(tmp_path)[0], [], "")).text)
    for said in ("gradvar 0.1.0", "cpu x 2", "2026-01-02T03:04:05+00:00", "gradvar measure --seed 7"):
        assert said in text
    assert "@misc{shao2024deepseekmath" in text
    assert text.count("shao2024deepseekmath") == 1  # the arms' estimator and the claims' source are one paper
    assert "@software{gradvar" in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", samples.every())
def test_damage_of_any_kind_is_a_section_or_a_line(tmp_path, kind):
    """Values replaced by others at random places: never an exception, never a page that breaks its rules."""
    rng = random.Random(kind)
    junk = [
        None,
        -1,
        1e308,
        "",
        "$",
        "\x00",
        samples.HOSTILE,
        [],
        {},
        [[1]],
        {"value": None},
        True,
        float("nan"),
    ]
    for _ in range(25):
        content = copy.deepcopy(samples.every()[kind])
        for _ in range(rng.randint(1, 4)):
            place = content
            while True:
                keys = list(place) if isinstance(place, dict) else list(range(len(place)))
                key = rng.choice([k for k in keys if k != "kind"])
                if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
                    place = place[key]
                else:
                    place[key] = rng.choice(junk)
                    break
        save(tmp_path, {"x": content})
        sections, lines = read(tmp_path)
        assert len(sections) + len(lines) == 1
        assert all("\n" not in line for line in lines)
        checked(page("t", sections, lines, ""))


def test_a_claim_is_shown_with_its_relation_to_the_source_and_red_only_next_to_a_source_that_states_it(
    tmp_path, undrawn
):
    save(tmp_path, {"proofs": samples.proofs()})
    html = page("t", *read(tmp_path), "")
    assert html.count('class="verdict refuted"') == 2  # X2: in the table, and at its finding
    assert html.count('class="verdict refuted-unnamed"') == 1
    table, misread = html.split("X2: statement")[0], html.split("X4: statement")[1]
    assert "our question" in table
    assert "Shipped estimators, and the claims that ran them" in table
    for text in (
        "Our question.",
        "the same paper says",
        "The statement, which is false",
        "What holds instead",
        "stated by the source",
    ):
        assert text in misread
    for text in ("Proof.", "Add them up.", "goal: sum", "Run on algebra: Sum", "advantage.standardised"):
        assert text in misread
