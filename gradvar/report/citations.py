"""BibTeX of what was used: estimators by their papers, claims by their sources, and gradvar itself.

The entries lie in ``references.bib``. A paper is looked up by its arXiv number or, where it has none, by its journal,
volume and year as the catalogue writes them. Nothing is looked up elsewhere: of a claim's source that is not in the
file only the number and the year are known. Loads no JAX.
"""

import functools
import json
import re
from collections.abc import Iterable
from importlib import resources
from typing import Any

from gradvar import __version__

_ARXIV = re.compile(r"\b(\d{2})(\d{2})\.(\d{4,5})(v\d+)?\b")


@functools.cache
def estimators() -> dict[str, dict[str, Any]]:
    """The catalogue's table by name: what ``gradvar list`` shows of every estimator."""
    text = resources.files("gradvar").joinpath("catalogue.json").read_text(encoding="utf-8")
    return {row["name"]: row for row in json.loads(text)}


@functools.cache
def references() -> dict[str, str]:
    """The entries of ``references.bib`` by what they are looked up by; gradvar's under ``gradvar``."""
    text = resources.files("gradvar.report").joinpath("references.bib").read_text(encoding="utf-8")
    return {_place(entry): entry for entry in text.strip().split("\n\n")}


def of_estimator(name: str) -> str:
    """Return the entry of a named estimator's paper. Raises ``KeyError`` for an unknown name."""
    return references()[estimators()[name]["arxiv"]]


def of_source(source: str) -> str | None:
    """Return the entry of a claim's source, such as ``2510.00977v3, Section 3``; None if it names no arXiv number."""
    number = _ARXIV.search(source)
    if number is None:
        return None
    identifier, year = f"{number[1]}{number[2]}.{number[3]}", f"20{number[1]}"
    fields = {"year": year, "eprint": identifier, "archiveprefix": "arXiv"}
    lines = [
        f"@misc{{arxiv{year}{identifier.replace('.', '')},",
        *(f"  {k} = {{{v}}}," for k, v in fields.items()),
    ]
    return references().get(identifier, "\n".join([*lines, "}"]))


def of_gradvar() -> str:
    """Return the entry of gradvar at the version that is running."""
    return references()["gradvar"].removesuffix("}") + f"  version = {{{__version__}}},\n}}"


def bibliography(names: Iterable[str], sources: Iterable[str] = ()) -> str:
    """Entries for estimators and claims' sources, each once, gradvar's first; unknown names are left out."""
    entries = [of_gradvar(), *(of_estimator(name) for name in names if name in estimators())]
    entries += [entry for source in sources if (entry := of_source(source)) is not None]
    return "\n\n".join(dict.fromkeys(entries))


def _place(entry: str) -> str:
    """An entry's arXiv number, its journal with volume and year, or its key."""
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", entry, re.MULTILINE))
    if "eprint" in fields:
        return fields["eprint"]
    if "journal" in fields:
        return "{journal} {volume}, {year}".format(**fields)
    return re.findall(r"\{(.*),", entry)[0]
