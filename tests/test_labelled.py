"""Results in notebooks: tables, data frames and short names."""

import re
import sys
from types import SimpleNamespace

import pytest

from gradvar.core.labelled import html_table
from tests.report import samples
from tests.report.test_widths import moments, study

CELL = re.compile(r"<t[dh]>(.*?)</t[dh]>")


def test_a_study_is_a_table_with_a_row_for_each_setting():
    shown = study()
    table = shown._repr_html_()
    head, *body = table.replace("</thead>", "</tr>").split("<tr>")[1:]
    names = CELL.findall(head)
    assert {"estimator", "clip", "group size", "trace cov", "cosine"} <= set(names)
    assert "policy" not in names  # it never varies
    assert len(body) == len(shown.results)
    cells = dict(zip(names, CELL.findall(body[0]), strict=True))
    assert cells["estimator"] == shown.results[0].moments.estimator
    assert cells["trace cov"].startswith("0.0061 ±")
    assert cells["cosine"].endswith(", 1]*") or cells["cosine"].endswith(", 1]")


def test_text_of_others_is_escaped():
    table = html_table([{"estimator": samples.HOSTILE, "value": 1.0}, {"estimator": "b", "value": 2.0}])
    assert "<script>" not in table
    assert "&lt;script&gt;" in table


def test_a_data_frame_has_the_rows(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda rows: ("frame", rows)))
    shown = samples.mismatch()
    assert shown.to_dataframe() == ("frame", shown.rows())
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"^to_dataframe: pandas is not installed; pip install pandas$"):
        shown.to_dataframe()


@pytest.mark.parametrize(
    "shown", [study(), samples.mismatch(), moments("grpo", 2, 1.0)], ids=lambda x: type(x).__name__
)
def test_a_repr_is_one_short_line(shown):
    assert repr(shown).startswith(f"{type(shown).__name__}(")
    assert len(repr(shown)) < 160
    assert "\n" not in repr(shown)
