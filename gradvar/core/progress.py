"""Progress of long work: engines report it to a monitor, and the command line shows it."""

from typing import Protocol


class ProgressMonitor(Protocol):
    """Receives the progress of some work."""

    def stage(self, name: str, total: int) -> None:
        """A stage of ``total`` steps begins."""
        ...

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Steps of the current stage are done."""
        ...


class Silent:
    """A monitor that shows nothing."""

    def stage(self, name: str, total: int) -> None:
        """Ignore the beginning of a stage."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Ignore the steps that are done."""
