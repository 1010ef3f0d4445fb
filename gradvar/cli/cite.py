"""``gradvar cite``: BibTeX of estimators, of claims' sources, and of gradvar itself."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gradvar.core.extras import is_optional, missing
from gradvar.core.naming import resolve_name
from gradvar.files.paths import check_file


@dataclass(frozen=True)
class Cite:
    """Print BibTeX of what you used: estimators and claims by name, and always gradvar itself.

    The entries are those of a file that comes with gradvar; nothing is looked up elsewhere.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Estimators of `gradvar list`, and claims of `gradvar prove`, such as A1 or B13a."""
    json: Path | None = None
    """Write the entries to this file too, as {"bibtex": ...}."""


def run(config: Cite) -> int:
    """Print the entries; the exit code."""
    from gradvar.report.citations import bibliography, estimators

    if config.json is not None:
        check_file(config.json, "json")
    claims = [n for n in config.names if re.fullmatch(r"[A-Za-z]\d+[a-h]?", n)]
    try:
        named = [resolve_name(n, estimators()) for n in config.names if n not in claims]
    except ValueError as error:
        raise ValueError(f"names: {error}") from None
    entries = bibliography(named, _sources(claims))
    print(entries)
    if config.json is not None:
        from gradvar.files.tables import write_json  # it loads NumPy

        write_json(config.json, {"bibtex": entries})
    return 0


def _sources(wanted: list[str]) -> list[str]:
    if not wanted:
        return []
    try:
        from gradvar.cli.prove import select
        from gradvar.symbolic.claims.ledger import load, proofs_folder
    except ImportError as error:
        if not is_optional(error):
            raise
        raise ValueError(f"names: {wanted[0]} is a claim, and {missing(error.name or '')}") from None
    try:
        return [str(claim.source) for claim in select(load(proofs_folder()), tuple(wanted))]
    except ValueError as error:
        raise ValueError(str(error).replace("only: no claim", "names: no claim", 1)) from None
