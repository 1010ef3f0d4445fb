"""Numbers and flags of a model's configuration, each of its type or refused by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MOST = 1 << 28  # of any number of things


class Reader:
    """Numbers of a configuration, with the file and the key named where they are none."""

    def __init__(self, content: Mapping[str, Any], path: Path) -> None:
        self.content, self.path = content, path

    def count(self, key: str, default: int | None = None, largest: int = _MOST) -> int:
        """A whole number from 1 to ``largest``; 0 is allowed where it is the default."""
        value = self.content.get(key)
        value = default if value is None else value
        least = 0 if default == 0 else 1
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= largest:
            raise ValueError(
                f"folder: {self.path} has {key} {shown(value)}; give a whole number from 1 to {largest}"
            )
        return value

    def number(self, key: str, default: float, largest: float = 1e30) -> float:
        """A number above 0."""
        value = self.content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= largest:
            raise ValueError(
                f"folder: {self.path} has {key} {shown(value)}; give a number above 0, {largest:g} at most"
            )
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Read true or false; anything else is refused by name."""
        value = self.content.get(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise ValueError(f"folder: {self.path} has {key} {shown(value)}; give true or false")
        return value


def shown(value: Any) -> str:
    """A value of a configuration, cut where it is long; Python writes no whole number of many thousand digits."""
    if isinstance(value, int) and abs(value) >= 10**100:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
