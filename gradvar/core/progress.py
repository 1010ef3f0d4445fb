"""Who hears how far long work is; said by whoever works, shown by the command line."""

from __future__ import annotations

from typing import Protocol


class Monitor(Protocol):
    """Who wants to know how far the work is."""

    def stage(self, name: str, total: int) -> None:
        """A stage of ``total`` steps begins."""
        ...

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Steps of the current stage are done."""
        ...


class Silent:
    """A monitor that tells nobody."""

    def stage(self, name: str, total: int) -> None:
        """Nothing."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nothing."""
