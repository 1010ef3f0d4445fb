"""The page on bringing a model of one's own is true: its Python runs as a reader has it."""

import re
from pathlib import Path

import jax
import pytest

pytestmark = pytest.mark.slow

TEXT = (Path(__file__).parents[3] / "docs" / "bring_your_own.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)
SHOWN = ("prompts x 8 rollouts", "[[[", "[[[", "(only=layers")


@pytest.mark.parametrize("number", range(4), ids=["function", "equinox", "nnx", "torch"])
def test_the_python_runs(number, capsys):
    code = PYTHON[number]
    assert len(PYTHON) == 4
    for peer in ("flax", "torch", "transformers"):
        if re.search(rf"^(import|from) .*\b{peer}\b", code, re.M):
            pytest.importorskip(peer)
    with jax.enable_x64(False):
        exec(compile(code, "bring_your_own.md", "exec"), {"__name__": "page"})
    assert SHOWN[number] in capsys.readouterr().out


def test_the_page_is_one_page():
    assert len(TEXT.splitlines()) < 170
    assert max(len(line) for line in TEXT.splitlines()) <= 130
