"""What ``--json`` writes is as the schema of results says, and the schema refuses what is not."""

import json
from pathlib import Path

import numpy as np
import pytest

import gradvar as gv
from gradvar.audit import audit
from gradvar.cli import cite, listing, report
from gradvar.files.tables import to_plain
from gradvar.studies.config import ListConfig
from gradvar.testing import identify
from gradvar.testing.verdicts import CheckReport, LawResult
from tests.report import samples
from tests.report.schema import SCHEMA, errors
from tests.report.test_widths import advice, study

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parents[2]
LAW = LawResult("finite", "fails", universal=True, why="[1] -> [nan]", example={"group": [1.0]})
RESULTS = {
    "analysis": samples.analysis,
    "advice": lambda: gv.measure.advise(np.tile([0.0, 1.0, 1.0, 0.0], (5, 1))).as_json(),
    "audit": lambda: audit([ROOT / "examples" / "rollouts.jsonl"]).as_json(),
    "bank_advice": lambda: advice().as_json(),
    "check": lambda: CheckReport("trainer.py:f", (LAW,)).as_json(),
    "identify": lambda: identify(lambda r: r - r.mean()).as_json(),
    "measurement": lambda: study().as_json(),
    "mismatch": lambda: samples.mismatch().as_json(),
    "training": lambda: json.loads((ROOT / "benchmarks" / "results" / "train_dpa.json").read_text()),
}


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.fixture(scope="module", params=sorted(RESULTS))
def result(request):
    return request.param, RESULTS[request.param]()


def test_a_result_is_as_its_schema_says(result):
    assert errors(*result) == []


def test_what_is_no_such_result_is_refused(result):
    kind, content = result
    assert content["kind"] == SCHEMA["$defs"][kind]["properties"]["kind"]["const"]
    assert errors(kind, content | {"findings": "one"})
    assert errors(kind, content | {"kind": "other"})
    assert errors(kind, content | {"a_new_key": 1})
    required = SCHEMA["$defs"][kind]["required"]
    for name in required:
        assert errors(kind, {key: value for key, value in content.items() if key != name}), name


def test_a_row_without_its_interval_is_refused():
    content = to_plain(study().as_json())
    del content["rows"][0]["low"]
    (line,) = errors("measurement", content)
    assert "'low' is a required property" in line


def test_what_commands_write_is_as_the_schema_says(tmp_path, capsys):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "check.json").write_text(json.dumps(RESULTS["check"]()))
    file = tmp_path / "written.json"
    listing.run(ListConfig(json=file))
    assert errors("list", json.loads(file.read_text())) == []
    cite.run(cite.Cite(names=("grpo",), json=file))
    assert errors("cite", json.loads(file.read_text())) == []
    report.run(report.ReportPage(folder=tmp_path / "results", out=tmp_path / "page.html", json=file))
    assert errors("report", json.loads(file.read_text())) == []
    capsys.readouterr()
    listing.run(ListConfig(what="schema"))
    assert json.loads(capsys.readouterr().out) == SCHEMA
