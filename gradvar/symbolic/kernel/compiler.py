"""Running the kernel on files, each in a folder of the cache that is named by all that its result depends on."""

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

from gradvar.files.atomic import Lock, write_file
from gradvar.files.cache import cache_folder
from gradvar.symbolic.kernel.assumptions import parse_assumptions, parse_closed, questions
from gradvar.symbolic.kernel.development import PREFIX, CoqFile, needed

MISSING = (
    "kernel: no coqc and no rocq is installed; on Debian or Ubuntu: apt-get install coq"
    " libcoq-mathcomp-ssreflect libcoq-mathcomp-algebra libcoq-mathcomp-algebra-tactics"
)
_LONGEST = 600  # seconds; the slowest file takes ten
_LINES = 12  # of an error
_RESULT = "result.json"


@dataclass(frozen=True)
class Compiled:
    """How a file was taken by the kernel.

    ``error`` is empty where it was; ``assumptions`` are those of each of its theorems; ``seconds`` are of the run that
    made it, which may be an earlier one; ``closed`` says of each of its certificates if the ladder closed it.
    """

    name: str
    error: str
    assumptions: Mapping[str, tuple[str, ...]]
    seconds: float
    reused: bool = False
    closed: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Compiler:
    """The program that compiles, as the beginning of a command line, and the folder of what it made."""

    command: tuple[str, ...]
    cache: Path

    @classmethod
    def installed(cls, which: Callable[[str], str | None] = shutil.which) -> "Compiler":
        """Return the compiler on this machine. Raises ``FileNotFoundError`` that says how to get one."""
        for program, *rest in (("coqc",), ("rocq", "compile")):
            if path := which(program):
                return cls((path, *rest), cache_folder() / "kernel")
        raise FileNotFoundError(MISSING)

    @cached_property
    def version(self) -> str:
        """What the program says of itself."""
        return subprocess.run(
            [self.command[0], "--version"], capture_output=True, text=True, check=True
        ).stdout

    def compile_all(
        self, sources: Sequence[CoqFile], done: Callable[[Compiled], None] = lambda _: None, jobs: int = 1
    ) -> list[Compiled]:
        """Compile files that are in order; what imports a file that was refused is refused with it.

        ``done`` is called after each; ``jobs`` files are compiled at a time.
        """
        folders = self.folders(sources)
        results: dict[str, Compiled] = {}
        waiting = {source.name: source for source in sources}
        sorter = TopologicalSorter({source.name: source.imports for source in sources})
        sorter.prepare()
        with ThreadPoolExecutor(jobs) as pool:
            running: dict[Future[Compiled], str] = {}
            while sorter.is_active():
                for name in sorter.get_ready():
                    paths = [folders[below.name] for below in needed(sources, [name])]
                    running[pool.submit(self._result, waiting[name], paths, results)] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    results[name] = future.result()
                    done(results[name])
                    sorter.done(name)
        return [results[source.name] for source in sources]

    def folders(self, sources: Sequence[CoqFile]) -> dict[str, Path]:
        """Return where files that are in order are compiled, by their names."""
        folders: dict[str, Path] = {}
        for source in sources:
            folders[source.name] = self.cache / self._digest(source, folders)
        return folders

    def _result(self, source: CoqFile, paths: Sequence[Path], earlier: Mapping[str, Compiled]) -> Compiled:
        """Compile one file, whose folder is the last of ``paths``, unless it imports what was refused."""
        refused = [name for name in source.imports if earlier[name].error]
        if refused:
            return Compiled(source.name, f"it imports {refused[0]}, which was refused", {}, 0.0)
        return self._compiled(source, paths)

    def _digest(self, source: CoqFile, folders: Mapping[str, Path]) -> str:
        """Name all that the result depends on: the program, the text, and the same of the files imported."""
        parts = [self.version, source.name, source.text, *(folders[name].name for name in source.imports)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    def _compiled(self, source: CoqFile, paths: Sequence[Path]) -> Compiled:
        folder = paths[-1]
        with Lock(folder, "kernel", wait=_LONGEST):  # another process may be making the same
            return _earlier(source.name, folder) or self._made(source, paths)

    def _made(self, source: CoqFile, paths: Sequence[Path]) -> Compiled:
        folder = paths[-1]
        names = tuple(theorem.name for theorem in source.theorems)
        result = self._run(source, paths, together=True)
        if len(names) > 1 and any(result.assumptions.values()):  # which of them rests on what
            result = self._run(source, paths, together=False)
        if not result.error and set(result.assumptions) != set(names):
            result = Compiled(source.name, "its theorems' assumptions were not printed", {}, result.seconds)
        if not result.error:  # last, so that an interrupted run is done again
            write_file(folder / _RESULT, json.dumps(asdict(result)).encode())
        return result

    def _run(self, source: CoqFile, paths: Sequence[Path], *, together: bool) -> Compiled:
        name, names = source.name, tuple(theorem.name for theorem in source.theorems)
        text = source.text + questions(names, together=together)
        (paths[-1] / f"{name}.v").write_text(text, encoding="utf-8")
        options = [word for path in paths for word in ("-Q", str(path), PREFIX)]
        start = time.perf_counter()
        try:
            finished = subprocess.run(
                [*self.command, "-q", "-w", "none", *options, f"{name}.v"],
                cwd=paths[-1],
                capture_output=True,
                text=True,
                timeout=_LONGEST,
            )
        except subprocess.TimeoutExpired:
            return Compiled(name, f"not done after {_LONGEST} s", {}, float(_LONGEST))
        seconds = time.perf_counter() - start
        if finished.returncode:
            return Compiled(name, _shortened(finished.stderr or finished.stdout), {}, seconds)
        printed = finished.stdout
        return Compiled(name, "", parse_assumptions(printed), seconds, closed=parse_closed(printed))


def _earlier(name: str, folder: Path) -> Compiled | None:
    """What an earlier run made of a file; None where there is nothing, or where it is damaged."""
    if not (folder / f"{name}.vo").is_file():
        return None
    try:
        facts = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
        assumptions = {theorem: tuple(row) for theorem, row in facts["assumptions"].items()}
        closed = dict(facts.get("closed", {}))
        return Compiled(name, "", assumptions, float(facts["seconds"]), reused=True, closed=closed)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _shortened(text: str) -> str:
    lines = text.strip().splitlines() or ["refused without a word"]
    return "\n".join(lines if len(lines) <= _LINES else [*lines[:3], "...", *lines[3 - _LINES :]])
