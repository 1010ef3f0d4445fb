"""Where a statement comes from, and how it relates to what stands there."""

from dataclasses import dataclass
from typing import Literal

Relation = Literal["states", "implies", "reading", "folklore", "ours", "not read"]
RELATIONS: dict[str, str] = {
    "states": "The source states it",
    "implies": "It follows from what the source states",
    "reading": "One reading of the source, which does not state it",
    "folklore": "Said in the field, with no source that states it",
    "ours": "Our question",
    "not read": "The source was not read: nothing is said about it",
}
_NAMED = ("states", "implies")  # only these put a verdict next to a source's name


@dataclass(frozen=True)
class Source:
    """A source, and how the statement relates to it.

    Args:
        arxiv: the arXiv id, or another citation.
        version: such as "v3".
        place: section, equation, theorem, as printed.
        relation: ``states``: the sentence stands there. ``implies``: it follows from what stands there. ``reading``:
            one way to read it. ``folklore``: said in the field. ``ours``: a question of ours. ``not read``.
        says: what stands at that place, in our own words.
        caveat: what the same source says against this reading: hypotheses, limits, disclosures.
    """

    arxiv: str
    version: str = ""
    place: str = ""
    relation: Relation = "states"
    says: str = ""
    caveat: str = ""

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise ValueError(f"relation: {self.relation!r}; give one of {', '.join(RELATIONS)}")

    @property
    def named(self) -> bool:
        """True if a verdict may stand next to this source's name: it states or implies the statement."""
        return self.relation in _NAMED

    def __str__(self) -> str:
        return ", ".join(part for part in (f"{self.arxiv}{self.version}", self.place) if part)

    @property
    def attribution(self) -> str:
        """What stands next to the verdict: the place, or for what no source claims only how it relates to one."""
        return str(self) if self.named else RELATIONS[self.relation].split(",")[0].split(":")[0].lower()
