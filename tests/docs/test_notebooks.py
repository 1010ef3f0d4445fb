"""Every notebook runs from its text source without an error, and the committed one is that source, executed."""

from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext")
nbclient = pytest.importorskip("nbclient")

HERE = Path(__file__).parent.parent.parent / "notebooks"
SOURCES = sorted(HERE.glob("[0-9][0-9]_*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_committed_notebook_is_the_source_with_outputs(source):
    ours, kept = jupytext.read(source), jupytext.read(source.with_suffix(".ipynb"))
    assert [c.source for c in ours.cells] == [c.source for c in kept.cells]
    code = [c for c in kept.cells if c.cell_type == "code"]
    assert all(c.execution_count for c in code)
    assert not any(o.output_type == "error" for c in code for o in c.outputs)
    assert any("image/png" in o.get("data", {}) for c in code for o in c.outputs)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
@pytest.mark.filterwarnings("ignore")  # the kernel's own machinery
def test_it_runs(source):
    notebook = jupytext.read(source)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(HERE)}})
    client.execute()


def test_seven_notebooks():
    assert [source.name[:2] for source in SOURCES] == [f"0{n}" for n in range(1, 8)]
