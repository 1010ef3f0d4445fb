"""gradvar cite and list: entries that a reader of BibTeX accepts, the catalogue's papers, and no JAX for either."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gradvar import catalogue
from gradvar.cli import main as cli
from gradvar.report.citations import bibliography, estimators, of_estimator, of_gradvar, of_source, references


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
    assert re.sub(r"[{}]", "", fields["title"]) == paper.title
    document = " ".join((sys.modules[catalogue.ENTRIES[name].__module__].__doc__ or "").split())
    document += " ".join((inspect.getdoc(catalogue.ENTRIES[name]) or "").split())
    for author in fields["author"].split(" and "):
        assert author == "others" or author in document
    if kind == "misc":
        assert fields["eprint"] == paper.arxiv
        assert fields["year"] == f"20{paper.arxiv[:2]}"
    else:
        assert kind == "article"
        assert f"{fields['journal']} {fields['volume']}, {fields['year']}" == paper.arxiv


def test_the_table_is_the_catalogues():
    assert list(estimators().values()) == json.loads(json.dumps(catalogue.rows())), (
        "python -m gradvar.catalogue"
    )


def test_every_reference_is_of_an_estimator():
    assert set(references()) == {row["arxiv"] for row in estimators().values()} | {"gradvar"}
    assert len(parse("\n\n".join(references().values()))) == len(references())


@pytest.mark.parametrize("command", [["list"], ["cite", "grpo"]])
def test_a_list_and_a_citation_load_no_jax(command):
    program = f"import sys; from gradvar.cli import main; main.run({command}); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def test_claims_sources_take_the_catalogues_paper_or_only_the_number():
    assert parse(of_source("2402.03300v3, Section 4"))[0][2]["author"] == "Z. Shao and others"
    ((_, _, fields),) = parse(of_source("2601.08521v1, Theorem 1"))
    assert fields == {"year": "2026", "eprint": "2601.08521", "archiveprefix": "arXiv"}
    assert of_source("folklore") is None


def test_each_work_stands_once_and_unknown_names_are_left_out():
    entries = parse(bibliography(["grpo", "grpo_sample_std", "<b>"], ["2402.03300", "folklore"]))
    assert [key for _, key, _ in entries] == ["gradvar", "shao2024deepseekmath"]


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
    assert cli.run(["cite", "A1,b13a"]) == 0
    keys = [key for _, key, _ in parse(capsys.readouterr().out)]
    assert keys == ["gradvar", "wu2025takes", "arxiv2026260108521"]
    assert cli.run(["cite", "Z99"]) == 2
    assert "names: no claim Z99" in capsys.readouterr().err
