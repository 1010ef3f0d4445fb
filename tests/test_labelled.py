"""Results in notebooks: tables, data frames and short names."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from gradvar.core.labelled import cube, html_table
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


def test_a_dataset_has_a_dimension_for_each_setting_that_varies():
    shown = study()
    arguments = cube(shown.rows())
    dimensions, values = arguments["data_vars"]["trace_cov"]
    assert {"estimator", "group_size"} & set(dimensions)
    assert values.ndim == len(dimensions)
    for row in shown.rows():
        place = tuple(arguments["coords"][name].index(row[name]) for name in dimensions)
        assert arguments["data_vars"][row["figure"]][1][place] == row["value"]
        assert arguments["data_vars"][f"{row['figure']}_high"][1][place] == pytest.approx(
            row["high"], nan_ok=True
        )
    assert {row["policy"] for row in shown.rows()} == {arguments["attrs"]["policy"]}


def test_settings_that_were_not_measured_are_missing_and_rows_without_figures_are_variables():
    rows = [{"a": 1, "b": 1, "figure": "x", "value": 5.0}, {"a": 2, "b": 2, "figure": "x", "value": 6.0}]
    rows += [{"a": 1, "b": 2, "figure": "x", "value": 7.0}]
    dimensions, values = cube(rows)["data_vars"]["x"]
    assert dimensions == ("a", "b")
    assert np.isnan(values[1, 0])
    assert values[0, 1] == 7.0
    plain = cube([{"arm": "u", "reward": 1.0, "seeds": 8}, {"arm": "v", "reward": 1.0, "seeds": 8}])
    assert plain["attrs"] == {"reward": 1.0, "seeds": 8}
    plain = cube([{"arm": "u", "reward": 1.0}, {"arm": "v", "reward": 2.0}])
    assert plain["data_vars"]["reward"][1].tolist() == [1.0, 2.0]


def test_a_dataset_is_xarrays(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"^to_xarray: xarray is not installed; pip install xarray$"):
        study().to_xarray()
    monkeypatch.undo()
    pytest.importorskip("xarray")
    shown = study()
    dataset, row = shown.to_xarray(), shown.rows()[0]
    settings = {name: row[name] for name in dataset["trace_cov"].dims}
    assert float(dataset[row["figure"]].sel(**settings)) == row["value"]


@pytest.mark.parametrize(
    "shown", [study(), samples.mismatch(), moments("grpo", 2, 1.0)], ids=lambda x: type(x).__name__
)
def test_a_repr_is_one_short_line(shown):
    assert repr(shown).startswith(f"{type(shown).__name__}(")
    assert len(repr(shown)) < 160
    assert "\n" not in repr(shown)
