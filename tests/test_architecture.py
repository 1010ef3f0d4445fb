"""Imports go downward only, and what must stay light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gradvar"

# What each room may import from the house, besides itself. Names that have no entry here fail the test.
ALLOWED = {
    "config": set(),
    "precision": set(),
    "disk": set(),
    "types": set(),
    "testing": set(),
    "composition": {"types"},
    "pieces": {"types", "composition"},
    "policies": {"types"},
    "tasks": {"types"},
    "measure": {"types", "precision", "disk"},
    # Reads dumps with NumPy and Arrow; its formulas are its own, compared with the catalogue by its tests.
    "audit": set(),
    # Rollouts of PyTorch models: what ``measure`` makes banks of, and nothing else.
    "torch": {"types", "measure"},
    # Proofs set their scenes with pieces, finite policies and the exact engine; never with an estimator.
    "symbolic": {"types", "composition", "pieces", "measure", "policies", "tasks"},
    "estimators": {"types", "composition", "pieces", "testing"},
    "catalogue": {"types", "estimators"},
    # Arms take one step further what no paper named: compositions of pieces, and sums of catalogued objectives.
    "train": {"types", "composition", "pieces", "policies", "tasks", "catalogue", "measure", "config", "disk"},
    "studies": {"types", "config", "disk", "catalogue", "measure", "policies", "tasks", "train", "report"},
    # Plots may ask the catalogue for an estimator by name, and a study for its exact bias curve.
    "plot": {"types", "catalogue", "studies"},
    # A proof run is shown with its formulas.
    "report": {"types", "config", "studies", "measure", "catalogue", "plot", "symbolic", "testing"},
    "commands": {
        "types", "config", "catalogue", "composition", "measure", "policies", "tasks", "train", "report", "studies",
        "symbolic", "testing", "precision", "audit",
    },
    "cli": {"config", "commands", "train"},
    "__init__": None,
    "__main__": {"cli"},
}  # fmt: skip


def room(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(source: str) -> set[str]:
    """The rooms of the house that a module's source imports, at any depth of the code."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("gradvar.")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "gradvar":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {a.name for a in node.names}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downward(path):
    allowed = ALLOWED[room(path)]
    if allowed is not None:
        upward = imports_of(path.read_text()) - allowed - {room(path)}
        assert not upward, f"{path.name} imports {sorted(upward)}"


def test_an_upward_import_is_seen():
    assert imports_of("def f():\n    from gradvar.catalogue import get\n") == {"catalogue"}
    assert imports_of("from gradvar import catalogue\nimport gradvar.measure.exact") == {
        "catalogue",
        "measure",
    }
    assert "catalogue" not in ALLOWED["measure"]


def loaded_by(code: str) -> set[str]:
    """Top-level modules loaded after running ``code`` in a fresh interpreter."""
    script = f"import sys\n{code}\nprint(' '.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import gradvar", {"jax", "sympy", "hypothesis", "matplotlib", "numpy"}),
        ("import gradvar.testing", {"jax", "sympy", "torch", "equinox"}),
        ("import gradvar.testing.plugin", {"jax", "sympy", "torch", "numpy", "hypothesis"}),
        (
            "from gradvar.cli import main; list(map(main.configuration, main.COMMANDS))",
            {"jax", "sympy", "matplotlib", "scipy"},
        ),
        ("from gradvar.cli import main; main.run(['--help'])", {"jax", "numpy", "tyro", "rich"}),
        ("from gradvar import catalogue", {"sympy", "hypothesis", "matplotlib"}),
    ],
)
def test_light_things_stay_light(code, heavy):
    assert not loaded_by(code) & heavy


def test_no_file_is_longer_than_500_lines():
    long = {str(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 500}
    assert not long


def test_every_public_name_can_be_had():
    import gradvar as gv

    for name in gv.__all__:
        assert getattr(gv, name) is not None
    with pytest.raises(AttributeError, match="No gradvar attribute absent"):
        _ = gv.absent
