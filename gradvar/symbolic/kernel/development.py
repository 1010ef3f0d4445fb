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
_SENTENCE = re.compile(
    r"^(?:Local )?(Section|End|Variables?|Hypothes[ie]s|Notation|Definition|Fixpoint|Let)\s+\(*(\w+).*?\.(?=\s)",
    re.MULTILINE | re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_REQUIRE = re.compile(rf"^From {PREFIX} Require Import ([\w\s]+)\.", re.MULTILINE)


@dataclass(frozen=True)
class Theorem:
    """A theorem: the claim of the ledger that it is of, its name, what its comment says, its statement in Coq.

    ``context`` are the variables, hypotheses and notations of its sections, and the definitions that it is stated with.
    """

    claim: str
    name: str
    comment: str
    statement: str
    context: tuple[str, ...] = ()


@dataclass(frozen=True)
class CoqFile:
    """One file: its name without ``.v``, its text, its theorems, and the files that it imports."""

    name: str
    text: str
    theorems: tuple[Theorem, ...]
    imports: tuple[str, ...]


def read_source(name: str, text: str, imported: str = "") -> CoqFile:
    """Read one file; ``imported`` is the text of what it imports, whose definitions its theorems may be stated with.

    Raises ``ValueError`` where a theorem has no comment with the id of a claim in front of it.

    >>> read_source("sums", "(* B1, factor *)\\nTheorem one : 1 = 1.\\nProof. by []. Qed.\\n").theorems[0].claim
    'B1'
    """
    theorems = tuple(_theorem(name, text, match, imported) for match in _THEOREM.finditer(text))
    imports = tuple(word for match in _REQUIRE.finditer(text) for word in match[1].split())
    return CoqFile(name, text, theorems, imports)


def _theorem(file: str, text: str, match: re.Match[str], imported: str) -> Theorem:
    comment = _COMMENT_BEFORE.search(text, 0, match.start())
    claim = _CLAIM.match(comment[1]) if comment else None
    if comment is None or claim is None:
        raise ValueError(
            f"{file}.v: the theorem {match[1]} has no claim; write its id in a comment before it, as in (* B1 *)"
        )
    statement = text[match.start() : text.index("Proof.", match.start())].strip()
    context = _context(f"{imported}\n{text[: match.start()]}", statement)
    return Theorem(claim[1], match[1], " ".join(comment[1].split()), statement, context)


def _context(text: str, statement: str) -> tuple[str, ...]:
    """The sentences before a theorem that its statement rests on, in their order."""
    places: dict[str, int] = {}  # of each sentence
    sections: list[list[str]] = [[]]
    definitions: dict[str, str] = {}
    for match in _SENTENCE.finditer(text):
        word, name, sentence = match[1], match[2], match[0]
        places[sentence] = match.start()
        if word == "Section":
            sections.append([])
        elif word == "End":
            sections.pop()
        elif word in ("Definition", "Fixpoint", "Let"):
            if ":=" in sentence:  # a Let without it is a lemma
                definitions[name] = sentence
        else:
            sections[-1].append(sentence)
    stated = [sentence for section in sections for sentence in section]
    pending = [statement, *stated]
    while pending:
        words = set(_WORD.findall(pending.pop()))
        further = [definitions.pop(name) for name in words & definitions.keys()]
        stated += further
        pending += further
    return tuple(sorted(stated, key=places.__getitem__))


def read_development(folder: Path) -> tuple[CoqFile, ...]:
    """Read all files of a folder, each after those that it imports.

    Raises ``ValueError`` where there is none, where one imports a file that is not there, or they do in a circle.
    """
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.v"))}
    if not texts:
        raise ValueError(f"{folder}: no .v files there; the theorems of the kernel are missing")
    sources = in_order(read_source(name, text) for name, text in texts.items())
    imported = {
        source.name: "\n".join(below.text for below in needed(sources, source.imports)) for source in sources
    }
    return tuple(read_source(source.name, source.text, imported[source.name]) for source in sources)


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
