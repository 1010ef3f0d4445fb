"""Every notebook runs from its text source without an error, and the committed one is that source, executed."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")

HERE = Path(__file__).parent.parent.parent / "notebooks"
SOURCES = sorted(HERE.glob("[0-9][0-9]_*.py"))


def module(name):
    """A helper that lies beside the notebooks and in no package."""
    spec = importlib.util.spec_from_file_location(f"notebooks_{name}", HERE / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def outputs(notebook):
    return [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_committed_notebook_is_the_source_with_outputs(source):
    ours, kept = jupytext.read(source), jupytext.read(source.with_suffix(".ipynb"))
    assert [c.source for c in ours.cells] == [c.source for c in kept.cells]
    code = [c for c in kept.cells if c.cell_type == "code"]
    assert all(c.execution_count for c in code)
    assert not any(o.output_type == "error" for o in outputs(kept))
    assert any("image/png" in o.get("data", {}) for o in outputs(kept))
    for cell in code:  # a slider's cell shows its picture
        assert "explore(" not in cell.source or any("image/png" in o.get("data", {}) for o in cell.outputs)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_committed_notebook_is_for_a_page(source):
    """Nothing in it that only a running kernel could show, nothing that tells when and where it was built."""
    kept = jupytext.read(source.with_suffix(".ipynb"))
    text = source.with_suffix(".ipynb").read_text()
    assert "widgets" not in kept.metadata
    assert "vnd.jupyter.widget" not in text
    assert "interactive(children" not in text
    assert not any("execution" in c.metadata for c in kept.cells)
    assert not any(o.get("name") == "stderr" for o in outputs(kept))
    words = "\n".join(str(o.get("text", "")) + o.get("data", {}).get("text/plain", "") for o in outputs(kept))
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work|usr|Users)/", words)
    assert not re.search(r" at 0x[0-9a-f]{6,}", words)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_it_can_be_set_as_a_page(source):
    """Each opens with its numbered title, and its formulas are such as the site's converter knows."""
    from gradvar.symbolic.claims.formula import to_mathml

    cells = [c for c in jupytext.read(source).cells if c.cell_type == "markdown"]
    assert re.match(rf"# {int(source.name[:2])}\. \S", cells[0].source)
    for cell in cells:
        assert cell.source.count("$") % 2 == 0
        for formula in re.findall(r"\$([^$]+)\$", cell.source):
            assert "\n" not in formula, formula
            assert to_mathml(formula)  # an unknown command is an error


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
@pytest.mark.filterwarnings("ignore")  # the kernel's own machinery
def test_it_runs(source):
    module("build").executed(source)


def test_seven_notebooks():
    assert [source.name[:2] for source in SOURCES] == [f"0{n}" for n in range(1, 8)]


def test_build_leaves_sliders_out_and_pictures_in():
    build = module("build")
    new = nbformat.v4
    picture = new.new_output("display_data", {"image/png": "aaaa", "text/plain": "<Figure>"})
    slider = new.new_output("display_data", {build.WIDGET: {"model_id": "1"}, "text/plain": "interactive()"})
    cell = new.new_code_cell("draw()", outputs=[picture, slider], metadata={"execution": {"at": "noon"}})
    notebook = new.new_notebook(cells=[new.new_markdown_cell("words"), cell], metadata={"widgets": {"1": 2}})
    kept = build.still(notebook)
    assert kept.cells[1].outputs == [picture]
    assert "widgets" not in kept.metadata
    assert "execution" not in kept.cells[1].metadata


@pytest.fixture
def drawn(monkeypatch):
    """Calls of a drawing function, and the helper that makes them."""
    pytest.importorskip("matplotlib_inline")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    monkeypatch.delenv("GRADVAR_NOTEBOOKS_STILL", raising=False)
    calls = []
    return calls, lambda ax, value: calls.append((len(ax.figure.axes), value)), module("kit")


def test_explore_draws_the_picture_and_then_what_the_slider_asks_for(drawn, monkeypatch):
    widgets = pytest.importorskip("ipywidgets")
    calls, draw, kit = drawn
    made = []
    monkeypatch.setattr(widgets, "interact", lambda f, value: made.append((f, value)))
    kit.explore(draw, "G", [2, 4, 8], [2, 8])
    assert calls == [(2, 2), (2, 8)]
    ((one, slider),) = made
    assert (slider.options, slider.value, slider.description) == ((2, 4, 8), 2, "G")
    for value in slider.options:
        one(value)
    assert calls[2:] == [(1, 2), (1, 4), (1, 8)]


def test_explore_shows_no_slider_where_a_page_is_built(drawn, monkeypatch):
    widgets = pytest.importorskip("ipywidgets")
    calls, draw, kit = drawn
    monkeypatch.setenv(module("build").STILL, "1")
    monkeypatch.setattr(widgets, "interact", lambda *_, **__: pytest.fail("a slider"))
    kit.explore(draw, "G", [2, 4], [2, 4])
    assert calls == [(2, 2), (2, 4)]


def test_explore_without_sliders_draws_the_picture(drawn, monkeypatch, capsys):
    calls, draw, kit = drawn
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    kit.explore(draw, "G", [2, 4], [2, 4])
    assert calls == [(2, 2), (2, 4)]
    assert capsys.readouterr() == ("", "")
