"""A folder's tokenizer and chat template in a process of their own, with limits on its time and memory.

Both are programs of whoever made the folder. One process (0.2 s to start) answers the requests to all folders; where
it had to be ended, the next request starts another.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WORKER = Path(__file__).with_name("text_worker.py")


@dataclass(frozen=True)
class TextLimits:
    """What a request may take: ``seconds`` of computing, ``memory`` in bytes, ``characters`` and ``tokens`` a text."""

    seconds: float = 20.0
    memory: int = 3 << 30
    characters: int = 1 << 22
    tokens: int = 1 << 20


LIMITS = TextLimits()
"""What the tokenizers and templates of real models take a small part of."""


class Refused(Exception):
    """The process could not do what was asked; the text says why, in one line."""


class TextProcess:
    """Requests to ``text_worker``, one at a time."""

    def __init__(self, limits: TextLimits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._parent = 0

    def ask(self, tokenizer: Path | None, do: str, *arguments: Any) -> Any:
        """The answer to a request; ``Refused`` where there is none within the limits.

        Args:
            tokenizer: The tokenizer.json that it needs, if it needs one.
            do: The name of a function of ``text_worker``.
            *arguments: Its arguments, as values that JSON knows.
        """
        limits = self.limits
        request = {
            "do": do, "arguments": arguments, "tokenizer": _version(tokenizer), "seconds": limits.seconds,
            "memory": limits.memory,
        }  # fmt: skip
        with self._lock:
            if self._process is None or self._parent != os.getpid():  # that of another process is not ours
                self._process, self._parent = _start(self), os.getpid()
            return self._answer(request)

    def _answer(self, request: dict[str, Any]) -> Any:
        process, limits = self._process, self.limits
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            # The limit is on its computing; a process that waits for a busy machine has ten times as long.
            is_there = select.select([process.stdout], [], [], 10 * limits.seconds + 10)[0]
            line = process.stdout.readline() if is_there else ""
            answer = json.loads(line) if line.endswith("\n") else None
        except BaseException:  # an interrupt: the answer to come would be taken for that to another request
            self._end()
            raise
        if answer is None:
            raise Refused(self._reason(timed_out=not is_there))
        if "memory" in answer:
            self._end()
            raise Refused(_too_large(limits))
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["value"]

    def _reason(self, timed_out: bool) -> str:
        """Why the process has ended, or did not answer."""
        assert self._process is not None
        code = self._end()
        if timed_out or code == -getattr(signal, "SIGXCPU", 0):
            return f"it takes more than the {self.limits.seconds:g} seconds of computing that it may take"
        if code in (-signal.SIGABRT, -signal.SIGKILL, -signal.SIGSEGV):
            return _too_large(self.limits)
        return f"its process ended with code {code}"

    def _end(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
        return _close(process)


@functools.cache
def shared(limits: TextLimits) -> TextProcess:
    """The one process with these limits."""
    return TextProcess(limits)


def _version(path: Path | None) -> list[Any]:
    if path is None:
        return []
    status = path.stat()
    return [str(path.resolve()), status.st_mtime_ns, status.st_size]


def _start(owner: TextProcess) -> subprocess.Popen[str]:
    # One thread of the tokenizer's: each would have memory of its own.
    environment = os.environ | {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(
        [sys.executable, "-P", str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, encoding="utf-8", env=environment, start_new_session=True,
    )  # fmt: skip
    weakref.finalize(owner, _close, process)
    return process


def _close(process: subprocess.Popen[str]) -> int:
    if process.poll() is None:
        process.kill()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            stream.close()  # type: ignore[union-attr]
    return process.wait()


def _too_large(limits: TextLimits) -> str:
    return f"it takes more than the {limits.memory >> 20:,} MB of memory that it may take"
