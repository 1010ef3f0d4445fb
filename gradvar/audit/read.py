"""Files of any format into the cells of a dump, and what is wrong with them."""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import duckdb

from gradvar.audit import plain_text
from gradvar.audit.archives import read_archive, read_legacy
from gradvar.audit.cell_sums import CellSums
from gradvar.audit.columns import ColumnLayout, Columns, detect
from gradvar.audit.csv_records import CsvRecords
from gradvar.audit.database import QUICK, Database, FilePart, Reject, readable
from gradvar.audit.file_content import Unpacked, content, is_parquet, is_result
from gradvar.audit.formats import Format, formats_of
from gradvar.audit.json_documents import JsonArray, JsonObject, read_object
from gradvar.audit.json_lines import JsonLines
from gradvar.audit.malformed import Faults, UnreadableFile, full_line, one_line
from gradvar.audit.numbered_columns import NumberedColumns, rollout_families
from gradvar.audit.parquet import ParquetFile
from gradvar.audit.reshaped import reshaped
from gradvar.audit.reward_parts import LENGTH, TOTAL
from gradvar.core.checks import finite

_TEXTS = (".jsonl", ".ndjson", ".csv", ".tsv", ".json")
SUFFIXES = (
    ".jsonl",
    ".json",
    ".csv",
    ".parquet",
    ".pt",
    ".eval",
    ".tsv",
    ".ndjson",
    *(t + z for t in _TEXTS for z in (".gz", ".zst")),
)


NO_DUMPS = (
    "*config*.json", "tokenizer.json", "special_tokens_map.json", "vocab.json", "added_tokens.json", "*.index.json",
    "trainer_state.json", "*metadata*.json", "results.json", "*_results.json", "*metrics*.json", "*metrics*.jsonl",
    "aggregated_results.jsonl", "args.json", "*summary.json", "*_info*.json", "state.json", "annotations/*.jsonl",
    "*_metadata.jsonl", "*_materialized_inputs.jsonl", "*_reward_profiling.jsonl", "results_[0-9]*T*.json",
    "train_data/*.pt", "dashboard_columns/*.parquet",
)  # fmt: skip
"""Names of files beside dumps that are none; read where they are named."""

COPIES = {"effective/traces.jsonl": "all/traces.jsonl", "trajectory/*.jsonl": "rollout_data/{}.pt"}
"""Names of files whose rollouts stand in another one too (``{}``: of the same stem); read where that one is not there.

prime-rl writes every episode, and those that were trained on; miles a .pt, and its chats as JSON lines.
"""


class FileReader(Protocol):
    """One file: the kinds of its columns, those that are ``rare``, a ``sample`` of its first records, and its rows.

    Rows are counted in ``unit``. ``format``: the one that the file as a whole is of; empty where its rows say it.
    """

    unit: str
    format: str
    kinds: dict[str, str]
    rare: frozenset[str]
    sample: list[dict[str, Any]]

    def records(self) -> Iterator[tuple[int, Any]]:
        """Every record's number, and its value, or a text that says why it has none."""
        ...

    def parts(self, layout: ColumnLayout, weights: Sequence[float], reject: Reject) -> Iterator[FilePart]:
        """Make rows ready for the database, some at a time.

        Args:
            layout: Which columns hold what.
            weights: A weight for each column of rewards.
            reject: Takes rows that never get to the database.
        """
        ...


@dataclass(frozen=True)
class ReadSettings:
    """How files are read: a ``format`` or auto, ``columns`` and ``reward_weights`` that were given by hand."""

    format: str = "auto"
    columns: Columns | None = None
    reward_weights: Sequence[float] | None = None

    def names_any(self, names: Iterable[str]) -> bool:
        """Return True if one of these columns was named by hand."""
        by_hand = self.columns or Columns()
        named = {*by_hand.reward, *(value for value in vars(by_hand).values() if isinstance(value, str))}
        return not named.isdisjoint(names)

    def weights(self, layout: ColumnLayout) -> Sequence[float]:
        """Return a weight for each reward; ``ValueError`` if another number of them was given."""
        weights, names = self.reward_weights, layout.rewards
        if weights is not None and len(weights) != len(names):
            raise ValueError(
                f"reward_weights: {len(weights)} of them for the columns {', '.join(names)}; give one for each"
            )
        return [1.0] * len(names) if weights is None else [finite("reward_weights", w) for w in weights]


def read_file(
    path: Path,
    settings: ReadSettings,
    database: Database,
    cells: CellSums,
    faults: Faults,
    progress: Callable[[float], object],
) -> ColumnLayout | None:
    """Add the rows of a file, as far as it can be read.

    Args:
        path: The file.
        settings: How it is read.
        database: What reads it.
        cells: Where its rows are added up.
        faults: Where rows that cannot be used are counted, and a file that cannot be read is named.
        progress: Called with the share that has been read.

    Returns:
        Where its figures stand; None if that cannot be found.

    Raises:
        ValueError: The number of weights is not that of the columns of rewards.
    """
    file, layout = str(path), None
    try:
        with (
            path.open("rb") as stream,
            Unpacked(stream, path) as unpacked,
            readable(path) if is_parquet(path) else nullcontext(path.resolve()) as copy,
        ):
            try:
                formats, name = formats_of(settings.format)
                reader = _reader(stream, unpacked, path, copy, (database, formats))
                families = rollout_families(reader.sample, list(reader.kinds))
                if families and not settings.names_any(x for f in families.values() for x in f.values()):
                    reader = NumberedColumns(reader, families)
                name = reader.format or name if name == "auto" else name
                layout = detect(
                    reader.kinds, path, name, settings.columns, reader.rare, reader.sample, formats
                )  # fmt: skip
            except ValueError as error:
                raise UnreadableFile("", full_line(error)) from None
            except (EOFError, zlib.error) as error:
                raise UnreadableFile("", one_line(error)) from None
            reject = partial(faults.add, file, reader.unit)
            weights = settings.weights(layout)
            if layout.shape.is_plain and not isinstance(reader, JsonArray):
                parts = reader.parts(layout, weights, reject)
            else:
                parts = reshaped(reader, layout, weights, reject, cells.logps)
            while part := next(parts, None):
                try:
                    columns = database.add_up(part, progress)
                except (duckdb.Error, UnicodeDecodeError) as error:
                    if not part.instead:
                        raise UnreadableFile(f"from {reader.unit} {part.first} on", one_line(error)) from None
                    parts = part.instead()
                    continue
                if layout.parts:
                    length = (LENGTH,) if "length" in layout.columns else ()
                    cells.parts.add((TOTAL, *layout.parts, *length), database.moments(part))
                for role, missing in cells.add(columns, reject, (file, reader.unit)).items():
                    if role in layout.columns and missing:
                        faults.incomplete[layout.columns[role]] += missing
    except UnreadableFile as stop:
        faults.stop(file, stop.place, stop.reason)
    except OSError as error:
        faults.stop(file, "", one_line(error))
    progress(1.0)
    return layout


def _reader(
    stream: IO[bytes],
    unpacked: Unpacked,
    path: Path,
    copy: Path,
    tools: tuple[Database, Mapping[str, Format]],
) -> FileReader:
    """The reader of a file, of which the database may read the ``copy``; which one, its first bytes say."""
    database, formats = tools
    if is_parquet(path):
        return ParquetFile(copy, database)
    if is_result(path):
        raise ValueError("a result of gradvar; give the dumps that it was made of")
    size = max(path.stat().st_size, 1)

    def done() -> float:
        return min(stream.tell() / size, 1.0)

    found = content(unpacked.open(), path)
    if found in ("archive", "legacy torch"):
        return JsonObject((read_archive if found == "archive" else read_legacy)(path), formats)
    if found == "array":
        return JsonArray(unpacked.open)
    if found == "object":
        document = read_object(unpacked.open())
        return JsonArray(unpacked.open) if document is None else JsonObject(document, formats)
    is_json = found == "lines"
    is_plain = plain_text.are_plain_lines if is_json else plain_text.is_plain_csv
    quick = size >= QUICK and unpacked.is_plain and is_plain(unpacked.open())
    return (JsonLines if is_json else CsvRecords)(unpacked.open, done, copy if quick else None)


def expand(files: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files as they are, and of folders the dumps in them and below, each once; ``ValueError`` where there is none."""
    paths: list[Path] = []
    for path in map(Path, files):
        if path.is_dir():
            dumps = list(_below(path))
            if not dumps:
                raise ValueError(
                    f"files: no {', '.join(SUFFIXES[:5])} in the folder {path} or below it; give files or folders of "
                    "rollout dumps"
                )
            paths += dumps
        elif path.is_file():
            paths.append(path)
        else:
            kind = "plain file" if path.exists() else "file"
            raise ValueError(f"files: no {kind} {path}; give files or folders of rollout dumps")
    if not paths:
        raise ValueError("files: none; give files or folders of rollout dumps")
    # Twice the same file would double its groups.
    return list({path.resolve(): path for path in reversed(paths)}.values())[::-1]


def _below(folder: Path) -> Iterator[Path]:
    """The dumps in a folder and in those below it, by name; hidden folders are left out, links are not followed."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(
            f"files: the folder {folder} cannot be listed ({error.strerror}); give its files"
        ) from None
    for path in entries:
        if path.is_dir():
            if not path.name.startswith(".") and not path.is_symlink():
                yield from _below(path)
        elif (
            path.name.lower().endswith(SUFFIXES)
            and not _is_beside(path)
            and path.is_file()
            and not is_result(path)
        ):
            yield path


def _is_beside(path: Path) -> bool:
    """Return True for a file that runs write beside their dumps."""
    within = f"{path.parent.name}/{path.name}"
    whole = [other.format(path.stem) for name, other in COPIES.items() if fnmatchcase(within, name)]
    is_copy = any((path.parent.parent / other).is_file() for other in whole)
    return is_copy or any(fnmatchcase(within if "/" in name else path.name, name) for name in NO_DUMPS)
