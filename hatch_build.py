"""README of a package index, which has no other file of this repository: ``pyproject.toml`` says what is replaced."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class IndexReadme(MetadataHookInterface):
    """Sets the metadata's ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the README with every replacement of the settings."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        for each in self.config["replace"]:
            text = re.sub(each["pattern"], each["replacement"], text, flags=re.DOTALL)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
