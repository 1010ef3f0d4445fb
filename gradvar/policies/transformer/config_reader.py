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
        """A whole number from 1 to ``largest``; where there is none, the default, which may be 0."""
        value = self.content.get(key)
        least = 0 if value is None and default == 0 else 1
        value = default if value is None else value
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

    def entries(self, key: str) -> list[Any]:
        """A list, empty where there is none; anything else is refused by name."""
        value = self.content.get(key)
        if value is not None and not isinstance(value, list):
            raise ValueError(f"folder: {self.path} has {key} {shown(value)}; give a list, or null")
        return value or []

    def settings(self, key: str) -> Mapping[str, Any]:
        """An object of settings, empty where there is none; anything else is refused by name."""
        value = self.content.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(
                f"folder: {self.path} has {key} {shown(value)}; give an object of settings, or null"
            )
        return value or {}

    def is_one(self, key: str) -> bool:
        """Return True where a number is 1 or not given; true and false are no numbers."""
        value = self.content.get(key)
        return value is None or (type(value) in (int, float) and value == 1)


def shown(value: Any) -> str:
    """A value of a configuration, cut where it is long; Python writes no whole number of many thousand digits."""
    if isinstance(value, int) and abs(value) >= 10**100:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
