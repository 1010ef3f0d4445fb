"""Mutants: one change to one place of a module, and a seeded sample of a room's places.

cosmic-ray makes them. Left out are those that no test could tell (annotations are never evaluated) or that any
would (bits of floats, ``**`` of dictionaries, what is no Python). A sample counts each place once, however many
operators could stand there.
"""

from __future__ import annotations

import ast
import hashlib
import json
import random
import re
import warnings
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

# Bits of floats are an error whatever the tests: such mutants would only flatter the score.
BITWISE = ("BitOr", "BitAnd", "BitXor", "LShift", "RShift")
Span = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Mutant:
    """One change to one module: the ``occurrence``-th place where the operator applies."""

    module: str
    operator: str
    occurrence: int
    line: int
    column: int


def sample(root: Path, files: list[str], seed: int, kept: Path) -> list[Mutant]:
    """One mutant for each place of the files, in a random order of its own for each seed; kept, for it takes long."""
    content = hashlib.sha256(
        repr([seed, *((f, (root / f).read_text(encoding="utf-8")) for f in files)]).encode()
    )
    path = kept / f"sample-{content.hexdigest()[:16]}.json"
    if not path.exists():
        path.write_text(json.dumps([astuple(m) for m in draw(root, files, seed)]), encoding="utf-8")
    return [Mutant(*row) for row in json.loads(path.read_text(encoding="utf-8"))]


def draw(root: Path, files: list[str], seed: int) -> list[Mutant]:
    """The sample, made."""
    shuffled = [mutant for file in files for mutant in mutants_of(root, file)]
    random.Random(seed).shuffle(shuffled)
    places = {(m.module, m.line, m.column, m.operator.rsplit("_", 1)[0]): m for m in reversed(shuffled)}
    chosen = set(places.values())
    return [m for m in shuffled if m in chosen]


def mutants_of(root: Path, file: str) -> Iterator[Mutant]:
    """Every mutant of the file, but for those inside annotations."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    text = (root / file).read_text(encoding="utf-8")
    never = list(unevaluated(text))
    nodes = list(ast_nodes(get_ast(text)))
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments() or ("BinaryOperator" in name and name.endswith(BITWISE)):
            continue
        places = (place for node in nodes for place in operator().mutation_positions(node))
        for occurrence, (begin, _) in enumerate(places):
            if not any(first <= begin < last for first, last in never):
                yield Mutant(file, name.removeprefix("core/"), occurrence, *begin)


def unevaluated(text: str) -> Iterator[Span]:
    """Where the annotations of a module stand, which are not evaluated (PEP 563), and the ``**`` of a
    dictionary, which no operator can replace."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Dict) and None in node.keys:
            yield (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
        for field in ("annotation", "returns"):
            found = getattr(node, field, None)
            if found is not None:
                yield (found.lineno, found.col_offset), (found.end_lineno, found.end_col_offset)


def changed_text(text: str, mutant: Mutant) -> str:
    """The module with the mutant's change; "" if that is no Python, or the same.

    No Python are what does not compile, what compiles with a warning (``is`` with a number), and another sign in place
    of the ``*`` in a list of parameters, which is no product.
    """
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    changed = mutate_code(text, get_operator(f"core/{mutant.operator}")(), mutant.occurrence)
    with warnings.catch_warnings(action="error", category=SyntaxWarning):
        try:
            compile(changed, mutant.module, "exec")
        except (SyntaxError, SyntaxWarning):
            return ""
    before, after = ast.parse(text), ast.parse(changed)
    return "" if ast.dump(before) == ast.dump(after) or _positional(before) != _positional(after) else changed


def _positional(module: ast.Module) -> int:
    """How many parameters are positional only."""
    return sum(len(node.posonlyargs) for node in ast.walk(module) if isinstance(node, ast.arguments))


def function_lines(text: str, line: int) -> range | None:
    """The lines of the innermost function around the line that run when it is called; None outside of all."""
    inner = None
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = range(node.body[0].lineno, (node.end_lineno or 0) + 1)
            if line in body and (inner is None or len(body) <= len(inner)):
                inner = body
    return inner


def names_in(text: str, mutant: Mutant) -> frozenset[str]:
    """What tests may call the place: the file, its functions, each ``name`` in it, and what the line has in quotes,
    for a table's row is tried by the test of that row."""
    defined = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    quoted = re.findall(r'"([^"]+)"', text.splitlines()[mutant.line - 1])
    return frozenset({Path(mutant.module).stem, *defined, *re.findall(r'\bname="([\w.]+)"', text), *quoted})
