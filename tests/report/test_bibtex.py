"""gradvar cite: entries that a reader of BibTeX accepts, with what the house's own files state, and nothing more."""

import inspect
import json
import re
import sys
from pathlib import Path

import pytest

from gradvar import catalogue
from gradvar.cli import main as cli
from gradvar.core.estimator import Paper
from gradvar.report.bibtex import authors, bibliography, entry, escape, of_estimator, of_gradvar, of_source


def parse(text):
    """The entries of a BibTeX text: [(kind, key, fields)]. Braces must balance; an independent reading."""
    found = []
    for kind, key, body in re.findall(r"@(\w+)\{([^,\s]+),\n(.*?)\n\}", text, re.S):
        fields = {}
        for line in body.splitlines():
            name, value = re.fullmatch(r"  (\w+) = \{(.*)\},", line).groups()
            bare = re.sub(r"\\[{}]", "", value)
            assert bare.count("{") == bare.count("}")
            fields[name] = value
        found.append((kind, key, fields))
    return found


@pytest.mark.parametrize("name", catalogue.names())
def test_every_estimator_has_an_entry_with_stated_authors(name):
    ((kind, key, fields),) = parse(of_estimator(name))
    paper = catalogue.describe(name).paper
    assert re.fullmatch(r"[a-z0-9]+", key)
    assert re.sub(r"[{}]", "", fields["title"]) == escape(paper.title)
    document = " ".join((sys.modules[dict(catalogue.ENTRIES)[name].__module__].__doc__ or "").split())
    document += " ".join((inspect.getdoc(dict(catalogue.ENTRIES)[name]) or "").split())
    for author in fields["author"].split(" and "):
        assert author == "others" or author in document
    if kind == "misc":
        assert fields["eprint"] == paper.arxiv
        assert fields["year"] == f"20{paper.arxiv[:2]}"
    else:
        assert kind == "article"
        assert f"{fields['journal']} {fields['volume']}, {fields['year']}" == paper.arxiv


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ('A. B. See, "T", 2020', "A. B. See"),
        ('J. van Wijk, M. Zhang et al., "T", 2020', "J. van Wijk and M. Zhang and others"),
        ('S.-Y. Liu et al., "T"', "S.-Y. Liu and others"),
        ('after C. D. Other (1999): A. See,\n  "T"', "A. See"),
        ('MiniMax, "T"', "MiniMax"),
        ('as stated in "T"', ""),
        ('A. See, "Another"', ""),
        ("", ""),
    ],
)
def test_authors_are_those_before_the_title_or_none(document, found):
    assert authors("T", document) == found


def test_claims_sources_take_the_catalogues_paper_or_only_the_number():
    assert parse(of_source("2402.03300v3, Section 4"))[0][2]["author"] == "Z. Shao and others"
    ((_, _, fields),) = parse(of_source("2601.08521v1, Theorem 1"))
    assert fields == {"year": "2026", "eprint": "2601.08521", "archiveprefix": "arXiv"}
    assert of_source("folklore") is None


def test_each_work_stands_once_and_unknown_names_are_left_out():
    entries = parse(bibliography(["grpo", "grpo_sample_std", "<b>"], ["2402.03300", "folklore"]))
    assert [key for _, key, _ in entries] == ["gradvar", "shao2024deepseekmath"]


def test_what_tex_would_take_for_commands_is_escaped():
    ((_, _, fields),) = parse(entry(Paper("100 % of {GRPO} & $x_1$", "somewhere, 50 #3")))
    assert re.sub(r"\\([%&$_#{}])", r"\1", fields["note"]) == "somewhere, 50 #3"
    assert r"\%" in fields["title"]
    assert r"\$x\_1\$" in fields["title"]


def test_cite_prints_and_writes(tmp_path, capsys):
    out = tmp_path / "cite.json"
    assert cli.run(["cite", "rloo", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert [key for _, key, _ in parse(printed)] == ["gradvar", "ahmadian2024back"]
    assert json.loads(out.read_text())["bibtex"] == printed.rstrip("\n")


def test_gradvars_own_entry_is_its_citation_file():
    ((kind, _, fields),) = parse(of_gradvar())
    stated = (Path(__file__).parent.parent.parent / "CITATION.cff").read_text()
    assert kind == "software"
    assert f'title: "{fields["title"].replace("{gradvar}", "gradvar")}"' in stated
    assert f'name: "{fields["author"].strip("{}")}"' in stated
    assert f"version: {fields['version']}" in stated


def test_an_unknown_name_is_one_line(capsys):
    assert cli.run(["cite", "grop"]) == 2
    assert "nearest: grpo" in capsys.readouterr().err


@pytest.mark.slow
def test_claims_are_cited_by_their_ids(capsys):
    assert cli.run(["cite", "A1", "b13a"]) == 0
    keys = [key for _, key, _ in parse(capsys.readouterr().out)]
    assert keys == ["gradvar", "wu2025takes", "arxiv2026260108521"]
    assert cli.run(["cite", "Z99"]) == 2
    assert "names: no claim Z99" in capsys.readouterr().err
