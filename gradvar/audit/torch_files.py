"""Files of ``torch.save`` without PyTorch and without unpickling: plain containers are read, nothing is ever called.

A pickle is a program for a small stack machine. Only the instructions that build lists, dictionaries, tuples, texts,
numbers and tensors of numbers (``pickled_arrays``) are carried out here; whatever else names a class or calls a
function gives ``OPAQUE``.
"""

import io
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from gradvar.audit.pickled_arrays import Named, Storage, called, storage_of

LARGEST = 1 << 30  # bytes of the pickle
MOST_VALUES = (
    50_000_000  # a list counts as often as it is referred to: forty lists of twice the last are 2^40
)
DEEPEST = 200  # lists within lists


class _Opaque:
    """What is no plain value, such as a tensor; it takes in whatever is put into it."""

    def __repr__(self) -> str:
        return "OPAQUE"


OPAQUE = _Opaque()
_MARK = object()
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LOADS = frozenset({
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES", "BINSTRING", "SHORT_BINSTRING",
})  # fmt: skip
_SIZES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CALLS = {"REDUCE": 2, "NEWOBJ": 2, "NEWOBJ_EX": 3, "STACK_GLOBAL": 2, "BINPERSID": 1}
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a file of torch.save before version 1.6 begins: a pickle of its magic number."""
_BEFORE = 3  # pickles before that of the value: the magic number, the protocol, the sizes of numbers


def read_torch_file(path: Path) -> Any:
    """The plain containers of a file that ``torch.save`` wrote.

    Raises:
        ValueError: The file is no such file, is too large, or its program does what these do not.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith("/data.pkl") or n == "data.pkl"]
            if not names:
                raise ValueError("a zip archive without data.pkl; give what torch.save wrote, or JSON lines")
            if archive.getinfo(names[0]).file_size > LARGEST:
                raise ValueError("a file of torch.save of more than 1 GB; write JSON lines")
            data, folder, left = archive.read(names[0]), names[0].removesuffix("data.pkl"), LARGEST

            def stored(key: str) -> bytes:
                nonlocal left
                name = f"{folder}data/{key}"
                left -= archive.getinfo(name).file_size  # as often as it is referred to
                if left < 0:
                    raise ValueError("tensors of more than 1 GB")
                return archive.read(name)

            return _bounded(io.BytesIO(data), stored)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise ValueError(f"no file of torch.save ({error}); write JSON lines") from None


def read_legacy_torch_file(path: Path) -> Any:
    """The same of a file in the form before PyTorch 1.6.

    The bytes of its tensors follow the pickle of the value, each with the number of its entries before it, in the order
    of a pickled list of their keys (torch/serialization.py, _legacy_save); so the pickle is read twice.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError("a file of torch.save of more than 1 GB; write JSON lines")
    stream = io.BytesIO(path.read_bytes())
    for _ in range(_BEFORE):
        _bounded(stream, None)
    begin, places = stream.tell(), dict[str, Storage]()
    value = _bounded(stream, None, places)
    if not places:
        return value
    try:
        stored = _legacy_bytes(stream, _bounded(stream, None), places)
    except (ValueError, struct.error) as error:
        raise ValueError(
            f"an old file of torch.save whose tensors are damaged ({error}); save it again with PyTorch 1.6 or later"
        ) from None
    stream.seek(begin)
    return _bounded(stream, stored.__getitem__)


def _legacy_bytes(stream: IO[bytes], keys: Any, places: Mapping[str, Storage]) -> dict[str, bytes]:
    """The bytes of every storage by its key; ``ValueError`` where the file ends before them."""
    stored = {}
    for key in keys if isinstance(keys, list) else [keys]:
        if not isinstance(key, str) or key not in places:
            raise ValueError("numbers of a kind that is not read")
        size = struct.unpack("<q", stream.read(8))[0] * places[key].item_size
        stored[key] = stream.read(max(size, 0))
        if size < 0 or len(stored[key]) != size:
            raise ValueError("the file ends early")
    return stored


def _bounded(
    stream: IO[bytes], stored: Callable[[str], bytes] | None, places: dict[str, Storage] | None = None
) -> Any:
    """What a pickle builds; ``ValueError`` where that is too much. ``places`` is filled with the storages it names."""
    try:
        value = _plain(stream, stored, places)
        if _values(value, {}, 0) > MOST_VALUES:
            raise ValueError(f"a pickle of more than {MOST_VALUES:,} values; write JSON lines")
        return value
    except (IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no pickle of plain values ({type(error).__name__}); write JSON lines") from None


def _values(value: Any, counted: dict[int, int], depth: int) -> int:
    """How many values there are, each as often as it is referred to.

    Args:
        value: Of a pickle.
        counted: Filled: what is within the containers that were looked at, by their identity.
        depth: Of the containers around it.

    Raises:
        ValueError: For containers too deep in each other, as one that is within itself is.
    """
    if not isinstance(value, (list, tuple, dict)):
        return 1
    if depth > DEEPEST:
        raise ValueError(f"a pickle of lists more than {DEEPEST} deep; write JSON lines")
    if id(value) not in counted:
        entries = (*value, *value.values()) if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_values(entry, counted, depth + 1) for entry in entries)
    return counted[id(value)]


def plain_pickle(data: bytes) -> Any:
    """What a pickle builds of plain values, with ``OPAQUE`` in place of all else; nothing is imported or called.

    Raises:
        ValueError: The pickle has an instruction that plain values do not need.

    >>> import pickle
    >>> plain_pickle(pickle.dumps({"a": [1, 2.5, "x", None]})), plain_pickle(pickle.dumps([range(3)]))
    ({'a': [1, 2.5, 'x', None]}, [OPAQUE])
    """
    return _plain(io.BytesIO(data), None)


def _plain(
    stream: IO[bytes], stored: Callable[[str], bytes] | None, places: dict[str, Storage] | None = None
) -> Any:
    """Carry out the next pickle of a stream; ``stored``: the bytes of a tensor's storage, where they can be had."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, operand, _ in pickletools.genops(stream):
        argument: Any = operand
        name = opcode.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            return stack.pop()
        if name == "MARK":
            stack.append(_MARK)
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _LOADS:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(Named(argument))
        elif name == "PERSID":
            stack.append(OPAQUE)
        elif name in _CALLS:
            operands = stack[-_CALLS[name] :]
            del stack[-_CALLS[name] :]
            stack.append(_value_of_call(name, operands, stored))
            if places is not None and isinstance(stack[-1], Storage):
                places[stack[-1].key] = stack[-1]
        else:
            _build(name, stack)
    raise ValueError("a pickle that does not end; write JSON lines")


def _value_of_call(name: str, operands: list[Any], stored: Callable[[str], bytes] | None) -> Any:
    """Numbers where an instruction puts them together, ``OPAQUE`` for every other call."""
    if name == "STACK_GLOBAL" and all(isinstance(x, str) for x in operands):
        return Named(" ".join(operands))
    if name == "BINPERSID":
        return storage_of(operands[0]) or OPAQUE
    value = called(operands[0], operands[1], stored or _nowhere) if name == "REDUCE" else None
    return OPAQUE if value is None else value


def _nowhere(key: str) -> bytes:
    raise KeyError(key)


def _build(name: str, stack: list[Any]) -> None:
    """Carry out an instruction that puts values together."""
    if name in _SIZES:
        entries = stack[-_SIZES[name] :]
        del stack[-_SIZES[name] :]
        stack.append(tuple(entries))
    elif name in ("TUPLE", "LIST", "DICT"):
        entries = _above_mark(stack)
        pairs = zip(entries[::2], entries[1::2], strict=True)
        stack.append(tuple(entries) if name == "TUPLE" else entries if name == "LIST" else dict(pairs))
    elif name in ("APPEND", "APPENDS", "ADDITEMS"):
        entries = [stack.pop()] if name == "APPEND" else _above_mark(stack)
        if isinstance(stack[-1], list):
            stack[-1].extend(entries)
    elif name in ("SETITEM", "SETITEMS"):
        entries = _above_mark(stack) if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
        if isinstance(stack[-1], dict):
            stack[-1].update(zip(entries[::2], entries[1::2], strict=True))
    elif name == "BUILD":
        stack.pop()
    elif name in ("POP", "POP_MARK"):
        if name == "POP":
            stack.pop()
        else:
            _above_mark(stack)
    else:
        raise ValueError(f"a pickle with {name}, which plain values do not need; write JSON lines")


def _above_mark(stack: list[Any]) -> list[Any]:
    """Take what lies above the last mark, and the mark."""
    place = len(stack) - 1
    while stack[place] is not _MARK:
        place -= 1
        if place < 0:
            raise ValueError("a pickle without its mark; write JSON lines")
    entries = stack[place + 1 :]
    del stack[place:]
    return entries
