"""A check of the theorems by the kernel, and of the bridges to the shipped code."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradvar.files.target import import_file
from gradvar.symbolic.kernel.assumptions import unexpected
from gradvar.symbolic.kernel.compiler import Compiled, Compiler
from gradvar.symbolic.kernel.development import CoqFile, Theorem, in_order, needed, read_development

_BRIDGES = "_bridges.py"  # beside the theorems: which shipped code is traced, and what it is compared with


@dataclass(frozen=True)
class Checked:
    """A theorem after its file was compiled."""

    theorem: Theorem
    compiled: Compiled

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What it rests on, besides the kernel."""
        return self.compiled.assumptions.get(self.theorem.name, ())

    @property
    def holds(self) -> bool:
        """Whether the kernel took it, and it rests on nothing but the axioms of the reals."""
        return not self.complaint

    @property
    def complaint(self) -> str:
        """Why it does not hold; empty where it does."""
        if self.compiled.error:
            return f"{self.compiled.name}.v is refused: {self.compiled.error}"
        names = unexpected(self.assumptions)
        return f"it rests on {', '.join(names)}, which is no axiom of the reals" if names else ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return {
            "claim": self.theorem.claim,
            "theorem": self.theorem.name,
            "file": f"{self.compiled.name}.v",
            "says": self.theorem.comment,
            "statement": self.theorem.statement,
            "assumptions": list(self.assumptions),
            "seconds": self.compiled.seconds,
            "holds": self.holds,
            "complaint": self.complaint,
        }


def read_kernel(folder: Path, wanted: Callable[[str], bool]) -> tuple[CoqFile, ...]:
    """Return the files with theorems of the wanted claims, the bridges of these, and all that they import.

    Args:
        folder: of the claims; the theorems are in ``kernel`` in it.
        wanted: whether a claim, by its id, is asked for.
    """
    sources = read_development(folder / "kernel")
    names = [source.name for source in sources if any(wanted(t.claim) for t in source.theorems)]
    bridges = _bridges(folder / "kernel" / _BRIDGES, wanted)
    return needed(in_order([*sources, *bridges]), [*names, *(bridge.name for bridge in bridges)])


def _bridges(file: Path, wanted: Callable[[str], bool]) -> list[CoqFile]:
    return import_file(file).bridge_files(wanted) if file.is_file() else []


def check_sources(
    sources: Sequence[CoqFile],
    compiler: Compiler,
    wanted: Callable[[str], bool] = lambda _: True,
    done: Callable[[Compiled], None] = lambda _: None,
    jobs: int = 1,
) -> list[Checked]:
    """Compile the files, and return their wanted theorems in the order of the claims.

    Args:
        sources: in order, as ``read_kernel`` returns them.
        compiler: the program.
        wanted: whether a claim, by its id, is asked for.
        done: called with each file that was compiled.
        jobs: files at a time.
    """
    compiled = {result.name: result for result in compiler.compile_all(sources, done, jobs)}
    pairs: Iterable[tuple[CoqFile, Theorem]] = ((s, t) for s in sources for t in s.theorems)
    return [Checked(theorem, compiled[source.name]) for source, theorem in pairs if wanted(theorem.claim)]
