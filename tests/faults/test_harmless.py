"""Text of others on every way out: no terminal obeys it, no reader is misled by it, no spreadsheet computes it."""

import csv
import gzip
import itertools
import json
import os
import re
import sys
import unicodedata

import pytest

from gradvar.audit import Columns, audit, write_prompts
from gradvar.cli import main as cli
from gradvar.files import harmless as texts
from gradvar.files import tables
from tests.policies import folders

TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
MARKS = {"\u200e", "\u200f", "\u061c"}
KEPT = {"\n", "\t"}
HOSTILE = {
    "clears the screen": "\x1b[2J\x1b[1;1Hall is well",
    "sets the title": "\x1b]0;root\x07",
    "colour of one byte": "\x9b31mred",
    "backwards": "\u202egnp.exe",
    "isolated": "\u2066a\u2069\u2067b",
    "carriage return": "bad\rgood",
    "lines": "a\nNothing suspicious\u2028here",
    "backspaces": "bad\b\b\bgood\x7f",
    "half a character": "a\udcffb",
    "markup": "[bold red]x[/][link=http://a]y[/link]",
    "HTML": "<script>alert(1)</script><!--",
    "long": "x" * 300,
    "longer": "/".join(["y" * 200] * 25),
}
FORMULAS = [
    f"{sign}{rest}"
    for sign, rest in itertools.product("=+-@\t\r＝＋－＠", ["cmd|' /C calc'!A0", "1+1", "A1", ""])
]


def is_hostile(character):
    """By the tables of Unicode, not by the list that the code has."""
    if character in KEPT:
        return False
    kind = unicodedata.category(character)
    return (
        kind in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in TURNING
        or character in MARKS
    )


def is_harmless(text):
    return not any(map(is_hostile, set(text)))


def test_of_all_characters_the_hostile_ones_are_escaped():
    planes = itertools.chain(range(1 << 16), range(1 << 16, sys.maxunicode + 1, 61))
    for character in map(chr, planes):
        shown = texts.harmless(character)
        assert (shown != character) == is_hostile(character)
        if shown != character:
            assert shown.isascii()
            assert shown.encode().decode("unicode_escape") == character


def test_one_line_of_bounded_length_keeps_both_ends():
    assert texts.one_line("a\r\nb") == r"a\x0d\nb"
    for longest in (10, 11, 300):
        line = texts.one_line("begin" + "\n" * 5000 + "end", longest)
        assert len(line) == longest
        assert line.startswith("beg")
        assert line.endswith("end")


def spreadsheet_computes(cell):
    """A cell that begins like this is a formula to Excel, LibreOffice or Sheets, unless it is a number."""
    text = unicodedata.normalize("NFKC", cell)
    return (
        text[:1] in tuple("=+-@\t\r")
        and text != ""
        and not re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", text, re.I)
    )


def test_no_cell_is_a_formula(tmp_path):
    assert all(map(spreadsheet_computes, FORMULAS))  # the planted violators
    tables.write_csv(tmp_path / "a.csv", [{**{formula: formula for formula in FORMULAS}, "b": -1.5}])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        head, row = csv.reader(file)
    assert not any(map(spreadsheet_computes, [*head, *row]))
    assert row[-1] == "-1.5"
    assert len(set(row)) == len(set(head)) == len(FORMULAS) + 1


@pytest.mark.parametrize("number", ["-1", "+2.5", "-1e-3", "-.5", "5"])
def test_numbers_stay_numbers(number):
    assert texts.harmless_cell(number) == number


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    rows = [{"prompt": "a", "reward": i % 2, "step": 1} for i in range(8)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "target.py").write_text("def f(rewards): return rewards\n")
    assert cli.run(["audit", str(folder / "a.jsonl"), "--quiet", "--json", str(folder / "audit.json")]) == 0
    return folder


def commands(place, text):
    """Every command, with the text in a place where it has not been heard of."""
    dump, result = str(place / "a.jsonl"), str(place / "audit.json")
    return [
        [text],
        ["audit", text], ["audit", dump, "--prompt", text], ["audit", dump, "--reward", text],
        ["audit", dump, "--estimator", text], ["audit", dump, "--format", text], ["audit", dump, "--steps", text],
        ["report", f"{text}/none"], ["report", result, "--out", f"{result}/{text}"], ["report", result, text],
        ["advise", "--rewards", f"{text}.csv"], ["advise", "--bank", text], ["advise", "--summary", text],
        ["record", text, dump], ["record", str(place), text], ["record", str(place), dump, "--scores", text],
        ["check", f"{text}.py:f"], ["check", f"{place}/target.py:{text}"], ["identify", f"{text}.py:f"],
        ["prove", f"{text}.py:f"], ["prove", str(place / text / "none")],
        ["cite", text], ["list", "--json", f"{dump}/{text}"], ["peers", text],
        ["mismatch", "--samplers", text], ["demo", "--out", text],
        ["measure", "--estimators", text], ["measure", "--policies", text], ["train", "--arms", text],
    ]  # fmt: skip


SHORT = "".join(text for kind, text in HOSTILE.items() if not kind.startswith("long"))


@pytest.mark.parametrize("text", [SHORT, HOSTILE["long"], HOSTILE["longer"]], ids=["all", "long", "longer"])
def test_every_command_says_what_is_wrong_in_one_harmless_line(place, text, capsys):
    lines = commands(place, text)
    assert {line[0] for line in lines} >= set(cli.COMMANDS)
    for arguments in lines:
        try:
            code = cli.run(arguments)
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        assert code == 2, arguments
        assert printed.err.startswith("gradvar"), arguments
        assert printed.err.count("\n") == 1, arguments
        assert is_harmless(printed.err + printed.out), arguments
        assert len(printed.err) < 2100


def test_what_a_dump_says_is_harmless_on_every_way_out(tmp_path, capsys):
    labels = [text[:20] for kind, text in HOSTILE.items() if "half" not in kind] + FORMULAS
    column = "reward\x1b[2J\u202e\nNothing suspicious"
    name = "dump\x1b]0;x\x07\u202e.jsonl"
    rows = [{"prompt": label, column: i % 2, "x": "\x9b"} for label in labels for i in range(4)]
    (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows) + '"\x1b[2J"\n')
    audit_json, prompts = tmp_path / "audit.json", tmp_path / "prompts.csv"
    arguments = [
        "audit",
        str(tmp_path / name),
        "--reward",
        column,
        "--json",
        str(audit_json),
        "--prompts",
        str(prompts),
    ]
    assert cli.run(arguments) == 1
    printed = capsys.readouterr()
    assert is_harmless(printed.out + printed.err)
    assert not any(line.startswith("Nothing suspicious") for line in printed.out.splitlines())
    found = audit([tmp_path / name], columns=Columns(reward=(column,)))
    assert is_harmless(str(found))
    assert set(found.labels) == set(labels)  # inside, they are what they were
    with prompts.open(newline="", encoding="utf-8") as file:
        cells = [row[0] for row in csv.reader(file)][1:]
    assert len(set(cells)) == len(set(labels))
    assert not any(map(spreadsheet_computes, cells))
    assert is_harmless(prompts.read_text(encoding="utf-8").replace("\r\n", "\n"))
    content = json.loads(audit_json.read_text())  # exact: escapes of JSON's own
    assert column in next(iter(content["layouts"]))
    assert audit_json.read_text().isascii()
    assert (
        cli.run(
            ["report", str(audit_json), "--out", str(tmp_path / "r.html"), "--title", HOSTILE["backwards"]]
        )
        == 0
    )
    printed = capsys.readouterr()
    assert is_harmless(printed.out + printed.err)
    assert is_harmless((tmp_path / "r.html").read_text(encoding="utf-8"))


def test_prompts_of_a_dump_are_written_through_the_same_function(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "=1+1", "reward": 1}\n{"prompt": "-1", "reward": 0}\n')
    write_prompts(audit([tmp_path / "a.jsonl"]), tmp_path / "p.csv")
    assert [line.split(",")[0] for line in (tmp_path / "p.csv").read_text().splitlines()[1:]] == [
        "'=1+1",
        "-1",
    ]


@pytest.mark.parametrize("kind", ["clears the screen", "backwards", "lines", "long"])
def test_settings_of_a_model_are_shown_harmless(tmp_path, kind, capsys):
    for key in ("model_type", "hidden_act", "rope_scaling", "eos_token_id", "layer_types", "torch_dtype"):
        folders.write(tmp_path / "model", "llama", **{key: HOSTILE[kind]})
        (tmp_path / "p.jsonl").write_text('{"prompt": "a", "answer": "b"}\n')
        assert (
            cli.run(
                ["record", str(tmp_path / "model"), str(tmp_path / "p.jsonl"), "--out", str(tmp_path / "o")]
            )
            == 2
        )
        error = capsys.readouterr().err
        assert is_harmless(error)
        assert error.count("\n") == 1


def test_a_folder_that_may_not_be_listed_is_named(tmp_path, monkeypatch, capsys):
    def refuse(self):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)
    for name in ("audit", "report"):
        assert cli.run([name, str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert f"{tmp_path} cannot be listed (Permission denied)" in error


def test_names_of_bad_rows_in_a_gz_are_harmless(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(
        gzip.compress(b'{"prompt": "a", "reward": "\x1b[2J"}\n{"prompt": "a", "reward": 1}\n\x1b[2J\n')
    )
    found = audit([path])
    assert found.faults.count == 2
    assert is_harmless(str(found))
