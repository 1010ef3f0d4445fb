"""Every notebook runs from its text source without an error, and the committed one is that source, executed."""

import base64
import importlib.util
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    build = module("build")
    ours = build.with_colab(jupytext.read(source), source.stem, build.repository())
    kept = jupytext.read(source.with_suffix(".ipynb"))
    assert [c.source for c in ours.cells] == [c.source for c in kept.cells]
    code = [c for c in kept.cells if c.cell_type == "code"]
    assert all(c.execution_count for c in code)
    assert not any(o.output_type == "error" for o in outputs(kept))
    assert any("image/png" in o.get("data", {}) for o in outputs(kept))
    for cell in code:  # a slider's cell shows its picture
        assert "explore(" not in cell.source or any("image/png" in o.get("data", {}) for o in cell.outputs)
        picture = any("image/png" in o.get("data", {}) for o in cell.outputs)
        folded = picture and len(cell.source.splitlines()) > build.LONGEST
        assert cell.metadata.get("tags", []) == folded * [build.FOLDED]
        assert cell.metadata.get("jupyter", {}).get("source_hidden", False) == folded


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_committed_notebook_is_for_a_page(source):
    """Nothing in it that only a running kernel could show, nothing that tells when and where it was built."""
    kept = jupytext.read(source.with_suffix(".ipynb"))
    text = source.with_suffix(".ipynb").read_text()
    assert len(text) < 500_000
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
    picture = new.new_output(
        "display_data", {"image/png": png(np.zeros((2, 2, 3))), "text/plain": "<Figure>"}
    )
    slider = new.new_output("display_data", {build.WIDGET: {"model_id": "1"}, "text/plain": "interactive()"})
    cell = new.new_code_cell("draw()", outputs=[picture, slider], metadata={"execution": {"at": "noon"}})
    notebook = new.new_notebook(cells=[new.new_markdown_cell("words"), cell], metadata={"widgets": {"1": 2}})
    kept = build.still(notebook)
    assert [set(output.data) for output in kept.cells[1].outputs] == [{"image/png", "text/plain"}]
    assert "widgets" not in kept.metadata
    assert kept.cells[1].metadata == {}  # a call is no long code


def png(pixels):
    written = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def test_a_picture_keeps_its_pixels_and_its_frequent_colours_exactly():
    build, draws = module("build"), np.random.default_rng(0)
    ground = np.full((200, 300, 3), 255)
    ground[:, ::50], ground[80:120] = (231, 229, 228), (34, 114, 208)  # a grid, and a wide line
    edges = draws.integers(0, 256, (200, 8, 1)).repeat(3, 2)  # text's greys
    ground[:, 100:108] = edges
    before = png(ground)
    after = build.small(before)
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(after))).convert("RGB")).astype(int)
    assert len(after) < 0.8 * len(before)
    assert seen.shape == ground.shape
    rest = np.ones(300, bool)
    rest[100:108] = False
    assert (seen[:, rest] == ground[:, rest]).all()
    assert np.abs(seen - ground).max() <= 8  # 256 greys in what is left of 48 colours


def test_a_badge_where_the_repository_has_an_address():
    build, new = module("build"), nbformat.v4
    notebook = new.new_notebook(cells=[new.new_markdown_cell("# 1. Title")])
    assert len(build.with_colab(notebook, "01_title", None).cells) == 1
    first, installs = build.with_colab(notebook, "01_title", "https://github.com/someone/gradvar").cells
    assert first.source.startswith("# 1. Title\n\n[![Open in Colab](")
    assert first.source.endswith(
        "(https://colab.research.google.com/github/someone/gradvar/blob/main/notebooks/01_title.ipynb)"
    )
    assert "git+https://github.com/someone/gradvar" in installs.source


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
