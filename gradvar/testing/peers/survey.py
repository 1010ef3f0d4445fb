"""Each function of the loaded trainers: what it is, where it differs, which laws it breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.identification.function import identify
from gradvar.testing.identification.report import Identification
from gradvar.testing.losses import LossTarget
from gradvar.testing.peers.confirm import Confirmation, confirm
from gradvar.testing.peers.loading import Loaded
from gradvar.testing.peers.peer import PeerFunction
from gradvar.testing.peers.reading import READING
from gradvar.testing.recognise import advantage_target, loss_target
from gradvar.testing.runner import check_advantage, check_loss
from gradvar.testing.targets import AdvantageTarget

EXAMPLES = 20
DTYPES = ("float64", "float32")
"""Identities are compared in double precision. The rewards that trainers make are in single, never in half."""


@dataclass(frozen=True)
class PeerRow:
    """One line of the Rosetta table.

    ``identity`` says in words which estimator the function is, "" where the oracle knows none; ``differs`` where it
    departs from it; ``laws`` are the universal laws that fail, with the findings, and ``traits`` the other laws that
    do, by which estimators are told apart.
    """

    trainer: str
    version: str
    kind: str
    name: str
    settings: str
    place: str
    identity: str = ""
    differs: tuple[str, ...] = ()
    laws: Mapping[str, str] = field(default_factory=dict)
    traits: tuple[str, ...] = ()
    note: str = ""
    confirmation: Confirmation | None = None


def survey(
    loaded: Loaded,
    *,
    examples: int = EXAMPLES,
    kinds: Iterable[str] = ("advantage", "loss"),
    progress: Callable[[str], None] = lambda text: None,
) -> list[PeerRow]:
    """Return the rows of one trainer.

    Args:
        loaded: The trainer, with its functions.
        examples: Examples per law; 0: no laws.
        kinds: The kinds of functions that are looked at.
        progress: Called with the name of each function before it is looked at.
    """
    rows = []
    for function in loaded.functions:
        if function.kind in kinds:
            progress(f"{loaded.peer.name} {function.name}")
            rows.append(_row(loaded, function, examples))
    return rows


def target_of(loaded: Loaded, function: PeerFunction) -> AdvantageTarget | LossTarget:
    """The kit's target for a trainer's function."""
    library = loaded.peer.library
    if function.kind == "loss":
        return loss_target(function.function, library_name=library, name=function.name)
    dtypes = DTYPES if library == "torch" else ("float32",)
    target = advantage_target(function.function, library_name=library, dtypes=dtypes, name=function.name)
    target.library = replace(target.library, floats=("float32",))
    return target


def _row(loaded: Loaded, function: PeerFunction, examples: int) -> PeerRow:
    about: dict[str, Any] = {
        "trainer": loaded.peer.name,
        "version": loaded.version,
        "kind": function.kind,
        "name": function.name,
        "settings": ", ".join(f"{k}={v}" for k, v in _flat(function.settings)),
        "place": function.place,
    }
    if function.needs and function.needs != "values":
        return PeerRow(**about, note=f"not called: it needs {function.needs}")
    if function.needs:
        return _row_of_kind(loaded, function, about)
    try:
        target = target_of(loaded, function)
        identification = identify(target)
        confirmation = confirm(target, identification.oracle if identification.ok else None)
        findings = _findings(target, examples) if examples else {}
    except (Raised, BadOutput, TypeError, ValueError, RuntimeError) as error:
        return PeerRow(**about, note=f"not called: {' '.join(str(error).split())[:200]}")
    read = READING.get(f"{loaded.peer.name} {function.kind} {function.name}", "")
    unknown = ("", "") if identification.ok else (_nearest(identification), read)
    notes = (*unknown, function.note, target.signature.note)
    return PeerRow(
        **about,
        identity=_identity(identification),
        differs=tuple(identification.differs),
        laws={law: why for law, (always, why) in findings.items() if always},
        traits=tuple(law for law, (always, _) in findings.items() if not always),
        note="; ".join(note for note in notes if note),
        confirmation=confirmation,
    )


def _row_of_kind(loaded: Loaded, function: PeerFunction, about: Mapping[str, Any]) -> PeerRow:
    """The row of a function of a further kind, such as GAE, which the kit knows by its own scenes."""
    try:
        identification = identify(function.function, library_name=loaded.peer.library)
    except (Raised, BadOutput, TypeError, ValueError, RuntimeError) as error:
        return PeerRow(**about, note=f"not called: {' '.join(str(error).split())[:200]}")
    note = "" if identification.ok else _nearest(identification)
    return PeerRow(
        **about, identity=_identity(identification), differs=tuple(identification.differs), note=note
    )


def _findings(target: AdvantageTarget | LossTarget, examples: int) -> dict[str, tuple[bool, str]]:
    """The laws that fail, each with True where breaking it is an error, and the finding."""
    check: Any = check_loss if isinstance(target, LossTarget) else check_advantage
    report = check(target, examples=examples)
    return {
        result.name: (result.universal, result.why) for result in report.results if result.status == "fails"
    }


def _identity(identification: Identification) -> str:
    if not identification.ok:
        return ""
    return identification.sentence.partition("; differs: ")[0]


def _nearest(identification: Identification) -> str:
    if identification.name and not identification.candidates:
        close = identification.sentence.partition(", but not everywhere")[0]
        why = f": {identification.why[:240]}" if identification.why else ""
        return f"close to {close}, but not everywhere{why}"
    return "none of the oracle's estimators"


def _flat(settings: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in dict(settings).items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
