"""The gallery is what its script makes, shows every plot, and its code runs."""

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import jax
import pytest

import gradvar as gv

DOCS = Path(__file__).parent.parent.parent / "docs"


def script():
    spec = importlib.util.spec_from_file_location("make_gallery", DOCS / "make_gallery.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["make_gallery"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_page_is_the_scripts_and_its_pictures_are_there():
    made = script()
    assert (DOCS / "gallery.md").read_text() == made.text()
    wanted = {f"{e.name}-{ground}.svg" for e in made.ENTRIES for ground in ("light", "dark")}
    assert {p.name for p in (DOCS / "gallery").iterdir()} == wanted
    for path in (DOCS / "gallery").iterdir():
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_every_plot_is_shown():
    functions = {n for n in vars(gv.plot) if not n.startswith("_") and callable(getattr(gv.plot, n))} - {
        "theme"
    }
    assert {e.name for e in script().ENTRIES} == functions | {"front", "front_narrow"}


@pytest.mark.slow
def test_the_gallery_can_be_made_again(tmp_path, monkeypatch):
    monkeypatch.chdir(DOCS.parent)
    with jax.enable_x64(False):  # as a reader has it
        written = script().build(tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in written} == {
        "gallery.md", *(f"gallery/{p.name}" for p in (DOCS / "gallery").iterdir())
    }  # fmt: skip
    for path in written[1:]:
        marks = path.read_text()
        shown = (DOCS / "gallery" / path.name).read_text()
        assert 0.7 < len(marks) / len(shown) < 1.4, path.name
