"""The rules of the house: floors without circles, light imports, and how the code is written.

A rule is a function from sources to the places that break it. Places that broke a rule when it was made are listed in
``frozen_exceptions.json``; the list is exact, so it can only shrink. Each rule is shown a planted violator.
"""

import ast
import doctest
import functools
import importlib
import json
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gradvar"
EXCEPTIONS = json.loads((Path(__file__).parent / "frozen_exceptions.json").read_text())

MAX_LINES = 400
MAX_PARAMETERS = 8
ARGS_FROM = 4  # parameters from which on a docstring explains each of them
VAGUE_CEILING = 1.0  # per cent of all names that are assigned to
VAGUE_WORDS = """
found own at kept whole few given said most here there beside told who each says one two own_ both made has had thing
it them
"""
FOREIGN_TEXT = ("<style", "<!doctype", "<html", "@article{", "@misc{", "create table", "\\begin{tabular")

SOURCES = {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def tree(source: str) -> ast.Module:
    return ast.parse(source)


@functools.cache
def definitions(source: str, *kinds: type) -> list[tuple[str, ast.AST]]:
    """(qualified name, node) of public functions, methods and classes that are no part of a function.

    Overloads are left out: the function that they are signatures of is there.
    """

    def inside(body, prefix):
        for node in body:
            public = isinstance(node, (*DEFINITIONS, ast.ClassDef)) and not node.name.startswith("_")
            if public and not any(ast.unparse(d) == "overload" for d in node.decorator_list):
                yield prefix + node.name, node
                if isinstance(node, ast.ClassDef):
                    yield from inside(node.body, f"{prefix}{node.name}.")

    return [pair for pair in inside(tree(source).body, "") if isinstance(pair[1], kinds)]


def parameters(node: ast.FunctionDef) -> int:
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def long_files(sources):
    return [f"{file}: {n} lines" for file, text in sources.items() if (n := text.count("\n")) > MAX_LINES]


def many_parameters(sources):
    return [
        f"{file}: {name} takes {parameters(node)}"
        for file, text in sources.items()
        for name, node in definitions(text, *DEFINITIONS)
        if parameters(node) > MAX_PARAMETERS
    ]


def shared_class_names(sources):
    places = defaultdict(list)
    for file, text in sources.items():
        for name, _ in definitions(text, ast.ClassDef):
            places[name.rpartition(".")[2]].append(file)
    return [f"{name}: {', '.join(files)}" for name, files in places.items() if len(files) > 1]


def private_imports(sources):
    """Names, modules and attributes with a leading underscore that another file of the house uses."""
    places = []
    for file, text in sources.items():
        modules = set()
        for node in ast.walk(tree(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gradvar":
                names = [*node.module.split("."), *(alias.name for alias in node.names)]
                modules |= {alias.asname or alias.name for alias in node.names}
                places += [f"{file}: {name}" for name in names if name.startswith("_") and name[1] != "_"]
        places += [
            f"{file}: {node.value.id}.{node.attr}"
            for node in ast.walk(tree(text))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
        ]
    return places


def unexplained_parameters(sources):
    return [
        f"{file}: {name}"
        for file, text in sources.items()
        for name, node in definitions(text, *DEFINITIONS)
        if parameters(node) >= ARGS_FROM and "Args:" not in (ast.get_docstring(node) or "")
    ]


def short_docstrings(sources):
    return [
        f"{file}: {name}"
        for file, text in sources.items()
        for name, node in definitions(text, *DEFINITIONS, ast.ClassDef)
        if len((ast.get_docstring(node) or "long enough for this").split()) <= 3
    ]


def foreign_text(sources):
    """Pages, styles, bibliographies and tables of another language in strings of more than five lines."""
    return [
        f"{file}: {mark}"
        for file, text in sources.items()
        for node in ast.walk(tree(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count("\n") > 5
        for mark in FOREIGN_TEXT
        if mark in node.value.lower()
    ]


def renamed_exports(sources):
    """Names that a package gives out under another name than the one they have inside."""
    return [
        f"{file}: {alias.name} as {alias.asname}"
        for file, text in sources.items()
        if file.endswith("__init__.py")
        for node in ast.walk(tree(text))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname and alias.asname != alias.name and not alias.asname.startswith("_")
    ]


RULES = (
    long_files, many_parameters, shared_class_names, private_imports, unexplained_parameters, short_docstrings,
    foreign_text, renamed_exports,
)  # fmt: skip
PLANTED = {
    "long_files": "x = 1\n" * 401,
    "many_parameters": "def f(a, b, c, d, e, f, g, *, h, i): ...",
    "shared_class_names": "class Batch: ...",
    "private_imports": "def f():\n    from gradvar.core.devices import _placed\n",
    "unexplained_parameters": 'def f(a, b, c, d):\n    """Add four numbers to each other."""',
    "short_docstrings": 'class Thing:\n    """A thing itself."""',
    "foreign_text": f"page = '''<!DOCTYPE html>{chr(10) * 6}'''",
    "renamed_exports": "from gradvar.core.batch import Batch as Rollouts",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_holds(rule):
    broken, frozen = set(rule(SOURCES)), set(EXCEPTIONS.get(rule.__name__, []))
    assert not broken - frozen, "fix these"
    assert not frozen - broken, "these exceptions are not needed any more: take them off the list"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_sees_a_planted_violator(rule):
    planted = {**SOURCES, "planted/__init__.py": PLANTED[rule.__name__]}
    assert len(set(rule(planted)) - set(rule(SOURCES))) == 1


def vague_share(sources):
    """Per cent of the assigned names that say nothing of what they hold."""
    names = [
        node.id
        for text in sources.values()
        for node in ast.walk(tree(text))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    return 100 * sum(name in VAGUE_WORDS.split() for name in names) / len(names)


def test_names_are_nouns():
    assert vague_share(SOURCES) <= EXCEPTIONS.get("vague_share", VAGUE_CEILING)
    assert vague_share({"planted.py": "found = own = 1\n" + "row = 1\n" * 98}) == 2.0


COMPILING = ("gradients", "policies", "tasks", "train")  # rooms whose examples take JAX seconds
EXAMPLES = [
    pytest.param(
        file.removesuffix(".py").removesuffix("/__init__").replace("/", "."),
        marks=pytest.mark.slow if file.split("/")[0] in COMPILING else (),
    )
    for file, text in SOURCES.items()
    if ">>> " in text
    and not file.startswith(("torch/", "pieces/"))  # tests/pieces/test_examples.py has these
]


@pytest.mark.parametrize("module", EXAMPLES)
def test_the_examples_of_docstrings_are_right(module):
    results = doctest.testmod(importlib.import_module(f"gradvar.{module}"))
    assert results.attempted
    assert not results.failed


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("importlinter", reason="the dev extra is not installed")
    command = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as c; c()"
    )
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache", "--no-logo"],
        capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip


def test_imports_go_downward_and_in_no_circle():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


def test_planted_circles_and_upward_imports_are_seen(tmp_path):
    """Hidden in a function or among the imports for type checkers, too."""
    shutil.copytree(PACKAGE, tmp_path / "gradvar")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = {
        "core/planted.py": "def f():\n    from gradvar.core import planted_too",
        "core/planted_too.py": "from gradvar.core import planted",
        "pieces/planted.py": "import typing\nif typing.TYPE_CHECKING:\n    from gradvar.measure import direct",
        "audit/planted.py": "def f():\n    import jax",
        "unknown/__init__.py": "",
    }
    for file, text in planted.items():
        (tmp_path / "gradvar" / file).parent.mkdir(exist_ok=True)
        (tmp_path / "gradvar" / file).write_text(text + "\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    for part in (
        "gradvar.pieces.planted -> gradvar.measure",
        "gradvar.audit.planted -> jax",
        "No cycles are allowed in gradvar.core.",
        "gradvar.unknown",
    ):
        assert part in done.stdout, part


def test_exceptions_to_the_floors_are_taken_off_when_not_needed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for contract in settings["contracts"]:
        assert contract.get("unmatched_ignore_imports_alerting", "error") == "error"


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


def test_every_public_name_can_be_had():
    import gradvar as gv

    for name in gv.__all__:
        assert getattr(gv, name) is not None
    with pytest.raises(AttributeError, match="No gradvar attribute absent"):
        _ = gv.absent


@pytest.mark.slow
@pytest.mark.parametrize("package", ["gradvar", "gradvar.testing"])
def test_every_public_name_can_be_had_first(package):
    """Whatever else of ours has been imported: each in a process that has only imported what others wrote."""
    names = importlib.import_module(package).__all__
    asked = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_A_FORK_EACH, package, *names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.split() == list(names)


# The libraries that take seconds are imported before the forks, so that a name costs what gradvar's own files do.
IN_A_FORK_EACH = """
import importlib, os, sys
import hypothesis, jax, numpy, scipy.stats, sympy
package, *names = sys.argv[1:]
assert not any(name.split(".")[0] == "gradvar" for name in sys.modules)
for name in names:
    child = os.fork()
    if child == 0:
        getattr(importlib.import_module(package), name)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
    print(name, flush=True)
"""
