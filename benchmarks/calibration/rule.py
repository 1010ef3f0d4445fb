"""By which rule rows were made: a hash of the code that makes intervals, so that rows of another rule are run again."""

from __future__ import annotations

import ast
import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradvar

_SOURCE = Path(gradvar.__file__).parent
INTERVALS = tuple(
    f"stats/{name}.py" for name in ("effective", "figures", "intervals", "meetings", "products", "tails")
)
"""What an interval of ``direct`` or of a bank is made by."""
ADVICE = (
    *INTERVALS, "measure/advise/costs.py", "measure/advise/group_size.py", "measure/advise/optimum.py",
    "measure/bank/pair_kernel.py", "measure/bank/summary.py",
)  # fmt: skip
"""The same of ``advise``."""
ROUNDS = (*INTERVALS, "stats/sequential.py", "core/until.py")
"""The same of a measurement in rounds."""


def rule_of(files: Sequence[str], folder: Path = _SOURCE) -> str:
    """A short hash of what files of the package say, without their comments and docstrings."""
    digest = hashlib.sha256()
    for name in files:
        tree = ast.parse((folder / name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                kept = [line for line in node.body if not _is_text(line)]
                node.body = kept or [ast.Pass()]
        digest.update(ast.unparse(tree).encode() + b"\0")
    return digest.hexdigest()[:12]


def _is_text(line: ast.stmt) -> bool:
    """A docstring, of a definition or below a constant."""
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def rows(path: Path) -> list[dict[str, str]]:
    """The rows that were written; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rows_of(path: Path, rule: str) -> list[dict[str, str]]:
    """The rows that were made by this rule; the others are taken out of the file, so that they are run again."""
    written = rows(path)
    kept = [row for row in written if row.get("rule") == rule]
    if len(kept) < len(written):
        print(f"{path.name}: {len(written) - len(kept)} rows were made by another rule; they are run again")
        path.unlink()
        append(path, kept)
    return kept


def json_rows_of(path: Path, rule: str, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a result in JSON, where it was made by this rule and with these settings; none elsewhere."""
    content = json.loads(path.read_text()) if path.exists() else {}
    is_same = (content.get("rule"), content.get("config")) == (rule, dict(config))
    if content and not is_same:
        print(f"{path.name}: made by another rule or with other settings; it is run again")
    return content["rows"] if is_same else []


def append(path: Path, table: Sequence[dict[str, str]]) -> None:
    """Write rows below those of a file; with their names above them where there is no file."""
    if not table:
        return
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(table)
