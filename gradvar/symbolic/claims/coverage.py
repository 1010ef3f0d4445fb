"""Which of the shipped estimators and pieces stand in a claim that ran them, and which stand in none."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gradvar import pieces
from gradvar.symbolic.claims.outcome import estimators_of
from gradvar.symbolic.claims.report import ClaimReport
from gradvar.symbolic.read.usage import piece_name


@dataclass(frozen=True)
class Coverage:
    """The shipped estimators and pieces by name, each with the ids of the claims whose checks ran it."""

    estimators: Mapping[str, tuple[str, ...]]
    pieces: Mapping[str, tuple[str, ...]]

    def sentences(self) -> list[str]:
        """Return what stands in a claim and what does not, one sentence for estimators and one for pieces."""
        return [
            _sentence("shipped estimators", self.estimators),
            _sentence("pieces", self.pieces),
        ]


def coverage(reports: Sequence[ClaimReport], estimators: Iterable[str]) -> Coverage:
    """Return the coverage of estimators with these names, and of all public pieces, by the claims that hold."""
    run_by_claim = {r.claim.id: estimators_of(r.outcomes) for r in reports if r.holds}
    ran = {name: {piece for used in run.values() for piece in used} for name, run in run_by_claim.items()}
    return Coverage(
        {name: tuple(i for i, run in run_by_claim.items() if name in run) for name in estimators},
        {
            public: tuple(i for i, used in ran.items() if inner in used)
            for public, inner in public_pieces().items()
        },
    )


def public_pieces() -> dict[str, str]:
    """Return the public pieces: ``advantages.group_mean``, and the name under which a check notes it."""
    modules = {part: getattr(pieces, part) for part in pieces.__all__}
    noted = {
        f"{part}.{name}": piece_name(vars(module)[name])
        for part, module in modules.items()
        for name in getattr(module, "__all__", None) or vars(module)
        if not name.startswith("_") and inspect.isfunction(vars(module)[name])
    }
    # What a module imports for its functions, such as wrappers, is no piece of it.
    return {public: name for public, name in noted.items() if name and not name.startswith("piece.")}


def _sentence(what: str, claims: Mapping[str, tuple[str, ...]]) -> str:
    """Count what a claim ran; name what none ran, or what was run where that is the shorter list."""
    ran = [name for name, ids in claims.items() if ids]
    missing = [name for name, ids in claims.items() if not ids]
    counted = f"{len(ran)} of {len(claims)} {what} were run by a claim"
    if len(ran) < len(missing):
        return f"{counted}: {', '.join(ran)}." if ran else f"{counted}."
    return f"{counted}; not {', '.join(missing)}." if missing else f"{counted}."
