"""Numbers in a pickle that are no plain values: NumPy's scalars and PyTorch's tensors, put together from their bytes.

Only the names below mean anything; what else a pickle names or calls stays opaque, and nothing is imported for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_KINDS = {"f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"}
_STORAGES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "bf16", "LongStorage": "i8",
    "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "b1",
}  # fmt: skip
_SCALARS = ("numpy._core.multiarray scalar", "numpy.core.multiarray scalar")
_TENSORS = ("torch._utils _rebuild_tensor_v2",)


@dataclass(frozen=True)
class Named:
    """A name that a pickle refers to; ``kind``: the numbers that it stands for, where it is a type of them."""

    name: str
    kind: str = ""


@dataclass(frozen=True)
class Storage:
    """The bytes that tensors share: where they are, and what numbers they are."""

    key: str
    kind: str

    @property
    def item_size(self) -> int:
        """Bytes of one number."""
        return int(self.kind[1:]) if self.kind != "bf16" else 2


def called(function: Any, arguments: Any, stored: Callable[[str], bytes]) -> Any:
    """What a call gives, where it only puts numbers together; None for any other.

    Args:
        function: What is called.
        arguments: The tuple of its arguments.
        stored: The bytes of a storage by its key.
    """
    if not isinstance(function, Named) or not isinstance(arguments, tuple):
        return None
    name = function.name
    try:
        if name == "_codecs encode" and arguments[1] == "latin1":
            return arguments[0].encode("latin1")
        if name == "numpy dtype" and arguments[0] in _KINDS:
            return Named(name, arguments[0])
        if name in _SCALARS and isinstance(arguments[0], Named) and arguments[0].kind:
            return np.frombuffer(arguments[1], f"<{arguments[0].kind}", 1)[0].item()
        if name in _TENSORS and isinstance(arguments[0], Storage):
            return _tensor(arguments[0], arguments[1], arguments[2], arguments[3], stored)
    except (IndexError, TypeError, ValueError, OverflowError, AttributeError, KeyError):
        return None
    return None


def storage_of(place: Any) -> Storage | None:
    """The storage that a persistent identity names; None where it is none."""
    if (
        not isinstance(place, tuple)
        or len(place) < 3
        or place[0] != "storage"
        or not isinstance(place[1], Named)
    ):
        return None
    kind = _STORAGES.get(place[1].name.removeprefix("torch "))
    return Storage(place[2], kind) if kind and isinstance(place[2], str) else None


def _tensor(
    storage: Storage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    stored: Callable[[str], bytes],
) -> Any:
    """A tensor as nested lists; ``ValueError`` where it reaches beyond its bytes or is too large."""
    if len(size) != len(stride) or len(size) > 8 or min((offset, *size, *stride), default=0) < 0:
        raise ValueError("no tensor that is read here")
    data = stored(storage.key)
    if storage.kind == "bf16":
        flat = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    else:
        flat = np.frombuffer(data, f"<{storage.kind}")
    if np.prod(size, dtype=object) > len(flat):  # one number that stands for many
        raise ValueError("a tensor that is larger than its bytes")
    places = np.full(size, offset, np.int64)
    for axis, step in enumerate(stride):
        places += (np.arange(size[axis]) * step).reshape([-1 if i == axis else 1 for i in range(len(size))])
    return flat[places].tolist()
