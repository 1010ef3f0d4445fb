"""What is in a file, by its first bytes: how it is packed, and whether it is Parquet, JSON of any kind, or a CSV."""

import codecs
import gzip
import json
import re
import shutil
import zlib
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, Any, Self

import duckdb

from gradvar.audit.database import file_literal
from gradvar.audit.malformed import one_line
from gradvar.audit.task_results import rows_of_tasks
from gradvar.audit.torch_files import LEGACY

_HEAD = 1 << 16
_RESULT = re.compile(rb'\s*\{\s*"kind": "\w+",\s*"findings": \[')
_ZSTD = b"\x28\xb5\x2f\xfd"
_BINARY = {
    b"\x93NUMPY": "a NumPy array",
    b"ARROW1": "an Arrow file",
    b"\xff\xff\xff\xff": "an Arrow stream",
    b"\x89HDF": "an HDF5 file",
    b"SQLite": "an SQLite database",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
}
_BLANK = 1 << 20  # blank lines one after another; a few bytes of a packed file may be a billion
_MEND = "write Parquet or one JSON object per line (JSONL)"


class Unpacked:
    """A file's bytes from their beginning, as often as they are asked for; gzip and zstd are unpacked."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path = stream, path
        head = stream.read(4)
        self._gzip, self._zstd = head[:2] == b"\x1f\x8b", head == _ZSTD or _is_skipped(head)
        self._copy: IO[bytes] | None = None
        self.is_plain = not self._gzip and not self._zstd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._copy:
            self._copy.close()

    def open(self) -> IO[bytes]:
        """The unpacked bytes, from the first one on; ``ValueError`` where they cannot be unpacked."""
        if self._zstd and self._copy is None:
            self._copy = _without_zstd(self._path)
        stream = self._copy or self._stream
        stream.seek(0)
        return gzip.open(stream) if self._gzip else stream  # type: ignore[return-value]


def _without_zstd(path: Path) -> IO[bytes]:
    """The lines of a file that zstd packed, in a temporary file; the database knows how to unpack them."""
    options = (
        "compression = 'zstd', delim = '\x01\x02\x03\x04', quote = '', escape = '', header = false, "
        f"auto_detect = false, parallel = false, max_line_size = {1 << 26}, columns = {{line: 'VARCHAR'}}, "
        "strict_mode = false"  # lines may end with \n, with \r\n, or some with the one and some with the other
    )
    if not _is_whole_zstd(path):
        raise ValueError("zstd that ends early, so that rows are missing; copy it again")
    unpacked, blank = TemporaryFile(), 0  # noqa: SIM115, it stays open as long as the file is read
    try:
        with duckdb.connect() as database:
            cursor = database.execute(f"SELECT line FROM read_csv({file_literal(path)}, {options})")
            room = shutil.disk_usage(gettempdir()).free // 2
            while rows := cursor.fetchmany(1 << 12):
                text = "".join(f"{row[0] or ''}\n" for row in rows)
                room -= unpacked.write(text.encode())
                blank = blank + len(rows) if text.isspace() else 0
                if room < 0 or blank > _BLANK:
                    reason = "it needs more than half of the room for temporary files"
                    raise duckdb.Error(reason if room < 0 else "a million blank lines")
    except duckdb.Error as error:
        unpacked.close()
        raise ValueError(
            f"zstd that cannot be unpacked ({one_line(error)}); unpack it with `zstd -d`"
        ) from None
    return unpacked


def _is_skipped(magic: bytes) -> bool:
    """Return True for the beginning of a frame of zstd that readers skip, as pzstd writes before every other one."""
    return magic[1:] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5


def _is_whole_zstd(path: Path) -> bool:
    """Return True if a file ends with the end of a frame; the database takes one that is cut for its beginning.

    The lengths of blocks are walked over, as RFC 8878 (3.1.1) lays them out; nothing is unpacked.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        while (magic := stream.read(4)) and stream.tell() <= size:
            if _is_skipped(magic):
                stream.seek(int.from_bytes(stream.read(4), "little"), 1)
                continue
            flags = int.from_bytes(stream.read(1), "little")
            single = flags >> 5 & 1
            content = (single, 2, 4, 8)[flags >> 6]
            stream.seek((1 - single) + (0, 1, 2, 4)[flags & 3] + content, 1)
            last = 0
            while not last and len(block := stream.read(3)) == 3:
                header = int.from_bytes(block, "little")
                last, kind = header & 1, header >> 1 & 3
                stream.seek(1 if kind == 1 else header >> 3, 1)
            stream.seek(4 * (flags >> 2 & 1), 1)
            if not last:
                return False
        return stream.tell() <= size


def is_parquet(path: Path) -> bool:
    """Return True if the file begins as a Parquet file does; False too where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PAR1"
    except OSError:
        return False


PROMPT_COLUMNS = (
    "prompt", "rollouts", "successes", "rate", "low", "high", "class", "source", "file", "place", "text",
)  # fmt: skip
"""The columns of the list of prompts that an audit writes."""


def is_result(path: Path) -> bool:
    """Return True for what gradvar wrote itself: a result with its findings, or an audit's list of prompts."""
    try:
        with path.open("rb") as stream:
            head = stream.read(256)
    except OSError:
        return False
    return bool(_RESULT.match(head)) or head.startswith(",".join(PROMPT_COLUMNS).encode())


def content(stream: IO[bytes], path: Path) -> str:
    """Say what a file holds, in a word or two.

    These are ``lines`` of JSON, an ``array``, one ``object``, a zip ``archive``, ``legacy torch``, or a ``csv``.

    Raises:
        ValueError: It holds none of these, and what it seems to be.
    """
    head = b""
    try:
        while len(head) < _HEAD and (more := stream.read(1 << 12)):
            head += more
    except (EOFError, zlib.error):  # broken off early, but not before its first lines
        if not head:
            raise
    if head.startswith(b"PK\x03\x04"):
        return "archive"
    if head.startswith(LEGACY):
        return "legacy torch"
    _refuse_binary(head)
    text = head.removeprefix(codecs.BOM_UTF8)
    starts = [line.lstrip()[:1] for line in text.splitlines() if line.strip()]
    names = [suffix for suffix in path.name.lower().split(".") if suffix not in ("gz", "zst")]
    named_csv, named_json = names[-1:] == ["csv"], names[-1:] == ["json"]
    if starts[:1] == [b"["] and not named_csv:
        return "lines" if starts[1:2] == [b"{"] and _is_json(text.lstrip().partition(b"\n")[0]) else "array"
    if starts[:1] == [b"{"]:
        return "object" if _is_object(text.lstrip(), starts, named_json) else "lines"
    return "lines" if b"{" in starts and not named_csv else "csv"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _is_object(text: bytes, starts: list[bytes], named_json: bool) -> bool:
    """Return True if the text begins one object of many rollouts, and no lines of objects."""
    first, newline, _ = text.partition(b"\n")
    first = first.strip()
    if not newline and len(text) >= _HEAD // 2:  # one line that goes on beyond what is looked at
        return named_json
    try:
        value: Any = json.loads(first)
    except (ValueError, RecursionError):
        opens = first == b"{" or first.endswith((b",", b"{", b"["))
        return bool(newline) and opens and starts[1:2] != [b"{"]
    if len(starts) > 1 or not isinstance(value, dict):
        return False
    values = list(value.values())
    is_table = isinstance(value.get("columns"), list) and isinstance(value.get("data"), list)
    by_key = named_json and len(values) > 1 and len({type(v) for v in values} & {dict, list}) == 1
    is_alike = by_key and len({type(v) for v in values}) == 1
    inner = [v for v in values if isinstance(v, dict)]
    is_alike |= named_json and len(inner) == 1 and rows_of_tasks(inner[0]) is not None and len(inner[0]) > 1
    lists = [v[0] for v in values if isinstance(v, list) and v]
    groups = [v[0] if isinstance(v, list) and v else v for v in lists]
    return is_table or is_alike or any(isinstance(v, dict) for v in groups)


def _refuse_binary(head: bytes) -> None:
    """Raise ``ValueError`` for bytes that are no text, with what they seem to be."""
    if head.startswith(b"version https://git-lfs"):
        raise ValueError("a pointer of Git LFS, not the file; get the file with `git lfs pull`")
    for magic, name in _BINARY.items():
        if head.startswith(magic):
            raise ValueError(f"{name}, which is not read; {_MEND}")
    if b"\x00" in head[:4096]:
        wide = head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or head[1:2] == b"\x00"
        kind = "text in UTF-16; save it in UTF-8" if wide else f"binary data, which is not read; {_MEND}"
        raise ValueError(kind)
