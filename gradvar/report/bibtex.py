"""BibTeX of what was used: estimators by their papers, claims by their sources, and gradvar itself.

Nothing is looked up and nothing is guessed. The title, the number and the equation are the catalogue's; authors are
those that the estimator's own file names before the title; the year is that of the arXiv number (its first two digits)
or of the journal's volume. What is not stated is left out.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable

from gradvar import catalogue
from gradvar.core.estimator import Paper
from gradvar.files.provenance import version

_ARXIV = re.compile(r"\b(\d{2})(\d{2})\.(\d{4,5})(v\d+)?\b")
_NAME = r"(?:(?:[A-Z]\.(?:-[A-Z]\.)*\s)+(?:van\s|von\s|de\s)?[A-Z][\w'-]+|[A-Z][a-z]+[A-Z]\w*)"
_AUTHORS = re.compile(rf"({_NAME}(?:,\s{_NAME})*(?:\set\sal\.)?),\s*$")
_GRADVAR = (
    "The gradvar authors",
    "what group-relative policy-gradient estimators estimate, how noisy they are, and whether claims about them hold",
)
_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\^{}",
}


def of_estimator(name: str) -> str:
    """The entry of a named estimator's paper. Raises ``ValueError`` for an unknown name."""
    return entry(catalogue.describe(name).paper, _document(name))


def of_source(source: str) -> str | None:
    """The entry of a claim's source, such as ``2510.00977v3, Section 3``; None where it names no arXiv number.

    Title and authors are there where an estimator of the catalogue has the same paper.
    """
    found = _ARXIV.search(source)
    if found is None:
        return None
    number = f"{found[1]}{found[2]}.{found[3]}"
    for name in catalogue.names():
        paper = catalogue.describe(name).paper
        if paper.arxiv == number:
            return entry(paper, _document(name))
    return entry(Paper("", number))


def of_gradvar() -> str:
    """The entry of gradvar itself, at the version that is running: what ``CITATION.cff`` says."""
    fields = {
        "author": f"{{{_GRADVAR[0]}}}",
        "title": f"{{gradvar}}: {_GRADVAR[1]}",
        "version": version("gradvar"),
    }
    return _written("software", "gradvar", fields)


def bibliography(names: Iterable[str], sources: Iterable[str] = ()) -> str:
    """Entries for estimators and claims' sources, each once, gradvar's first; names that are unknown are left out."""
    known = set(catalogue.names())
    entries = [of_gradvar(), *(of_estimator(n) for n in names if n in known)]
    entries += [found for s in sources if (found := of_source(s)) is not None]
    return "\n\n".join(dict.fromkeys(entries))


def entry(paper: Paper, document: str = "") -> str:
    """One paper's entry; ``document`` is the text in which its authors stand before its title."""
    names = authors(paper.title, document)
    fields = {"author": names, "title": _title(paper.title)}
    number = _ARXIV.fullmatch(paper.arxiv)
    journal = re.fullmatch(r"(.+?) (\d+), (\d{4})", paper.arxiv)
    year = f"20{number[1]}" if number else journal[3] if journal else ""
    if number:
        fields |= {"year": year, "eprint": paper.arxiv, "archiveprefix": "arXiv"}
    elif journal:
        fields |= {"journal": escape(journal[1]), "volume": journal[2], "year": year}
    elif paper.arxiv:
        fields |= {"note": escape(paper.arxiv)}
    key = _key(names, year, paper)
    return _written("article" if journal else "misc", key, fields)


def authors(title: str, document: str) -> str:
    """The authors named before the quoted title, as BibTeX wants them; empty where none are."""
    text = " ".join(document.split())
    at = text.find(f'"{" ".join(title.split())}') if title else -1
    found = _AUTHORS.search(text[:at]) if at > 0 else None
    if found is None:
        return ""
    names, others = found[1].removesuffix(" et al."), found[1].endswith("et al.")
    return " and ".join([*map(escape, names.split(", ")), *(["others"] if others else [])])


def escape(text: str) -> str:
    """Text that TeX sets as it is."""
    return "".join(_SPECIAL.get(c, c) for c in text)


def _title(title: str) -> str:
    """The title, with braces around words whose capitals are meant: names of methods, not sentence case."""
    words = escape(title).split(" ")
    kept = [f"{{{w}}}" if sum(c.isupper() for c in w) > 1 else w for w in words]
    return " ".join(kept)


def _key(names: str, year: str, paper: Paper) -> str:
    first = names.split(" and ")[0].split(" ")[-1] if names else "arxiv"
    word = next((w for w in re.findall(r"[A-Za-z0-9]+", paper.title) if len(w) > 3), "")
    tail = word or re.sub(r"\W", "", paper.arxiv)
    return re.sub(r"[^a-z0-9]", "", f"{first}{year}{tail}".lower())


def _written(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _document(name: str) -> str:
    """The docstring of the file that an estimator is made in."""
    factory = dict(catalogue.ENTRIES)[name]
    module = sys.modules[factory.__module__]
    return f"{inspect.getdoc(module) or ''}\n\n{inspect.getdoc(factory) or ''}"
