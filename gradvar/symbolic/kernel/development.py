"""The files of a development: their theorems with the ids of the ledger, and which file needs which."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PREFIX = "Gradvar"  # the logical path of every file
_THEOREM = re.compile(r"^Theorem\s+(\w+)", re.MULTILINE)
_COMMENT_BEFORE = re.compile(r"\(\*((?:(?!\*\)).)*)\*\)\s*\Z", re.DOTALL)
_CLAIM = re.compile(r"\s*([A-Z]\d+[a-z]?)\b")
_REQUIRE = re.compile(rf"^From {PREFIX} Require Import ([\w\s]+)\.", re.MULTILINE)


@dataclass(frozen=True)
class Theorem:
    """A theorem: the claim of the ledger that it is of, its name, what its comment says, its statement in Coq."""

    claim: str
    name: str
    comment: str
    statement: str


@dataclass(frozen=True)
class CoqFile:
    """One file: its name without ``.v``, its text, its theorems, and the files that it imports."""

    name: str
    text: str
    theorems: tuple[Theorem, ...]
    imports: tuple[str, ...]


def read_source(name: str, text: str) -> CoqFile:
    """Read one file. Raises ``ValueError`` where a theorem has no comment with the id of a claim in front of it.

    >>> read_source("sums", "(* B1, factor *)\\nTheorem one : 1 = 1.\\nProof. by []. Qed.\\n").theorems[0].claim
    'B1'
    """
    theorems = tuple(_theorem(name, text, match) for match in _THEOREM.finditer(text))
    imports = tuple(word for match in _REQUIRE.finditer(text) for word in match[1].split())
    return CoqFile(name, text, theorems, imports)


def _theorem(file: str, text: str, match: re.Match[str]) -> Theorem:
    comment = _COMMENT_BEFORE.search(text, 0, match.start())
    claim = _CLAIM.match(comment[1]) if comment else None
    if comment is None or claim is None:
        raise ValueError(
            f"{file}.v: the theorem {match[1]} has no claim; write its id in a comment before it, as in (* B1 *)"
        )
    statement = text[match.start() : text.index("Proof.", match.start())].strip()
    return Theorem(claim[1], match[1], " ".join(comment[1].split()), statement)


def read_development(folder: Path) -> tuple[CoqFile, ...]:
    """Read all files of a folder, each after those that it imports.

    Raises ``ValueError`` where there is none, where one imports a file that is not there, or they do in a circle.
    """
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.v"))}
    if not texts:
        raise ValueError(f"{folder}: no .v files there; the theorems of the kernel are missing")
    return in_order(read_source(name, text) for name, text in texts.items())


def in_order(sources: Iterable[CoqFile]) -> tuple[CoqFile, ...]:
    """Return the files, each after those that it imports."""
    by_name = {source.name: source for source in sources}
    for source in by_name.values():
        missing = [name for name in source.imports if name not in by_name]
        if missing:
            raise ValueError(f"{source.name}.v: it imports {missing[0]}, and there is no {missing[0]}.v")
    sorter = TopologicalSorter({name: source.imports for name, source in by_name.items()})
    try:
        return tuple(by_name[name] for name in sorter.static_order())
    except CycleError as error:
        raise ValueError(f"files import each other: {' -> '.join(error.args[1])}") from error


def needed(sources: Sequence[CoqFile], names: Iterable[str]) -> tuple[CoqFile, ...]:
    """Return the files of these names and all that they import, in order."""
    by_name = {source.name: source for source in sources}
    wanted: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in wanted:
            wanted.add(name)
            pending.extend(by_name[name].imports)
    return tuple(source for source in sources if source.name in wanted)


def theorems_by_claim(sources: Iterable[CoqFile]) -> Mapping[str, tuple[Theorem, ...]]:
    """Return the theorems of each claim."""
    table: dict[str, tuple[Theorem, ...]] = {}
    for source in sources:
        for theorem in source.theorems:
            table[theorem.claim] = (*table.get(theorem.claim, ()), theorem)
    return table
