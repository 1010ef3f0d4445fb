"""The tokenizer of a local Hugging Face folder: text to left-padded tokens and back, and its chat template.

``tokenizer.json`` by the tokenizers library; a chat template is a Jinja program and runs in Jinja's sandbox, which
gives it strings and lists and nothing of Python's. Both work in a process with limits on time and memory.
"""

import importlib.util
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from gradvar.files.atomic import read_json
from gradvar.files.reading import LARGEST_TEXT
from gradvar.policies.transformer.text_process import LIMITS, Refused, TextLimits, shared

PAD = -1
"""Fills prompts on the left; no token of any vocabulary, so that it cannot be taken for one."""

LARGEST_TEMPLATE = 1 << 20
"""Bytes of a chat template at most."""

Message = Mapping[str, str]


class Tokenizer:
    """Text to tokens and back.

    ``size``: how many tokens there are, added ones included. ``stop``: the token that ends an answer, or None where the
    folder names none.
    """

    def __init__(self, folder: Path, limits: TextLimits = LIMITS) -> None:
        """Raises ``ValueError`` where ``folder`` has no readable ``tokenizer.json``, or one beyond the limits."""
        if importlib.util.find_spec("tokenizers") is None:
            raise ValueError("tokenizer: the tokenizers library is not installed; run pip install tokenizers")
        self.folder, self._path = folder, folder / "tokenizer.json"
        if not self._path.exists():
            raise ValueError(
                f"tokenizer: no file {self._path}; save the fast tokenizer in the model's folder"
            )
        _check_file(self._path, LARGEST_TEXT)
        self._process = shared(limits)
        try:
            self.size = int(self._process.ask(self._path, "size"))
        except Refused as reason:
            raise ValueError(
                f"tokenizer: {self._path} cannot be read ({reason}); save the fast tokenizer again"
            ) from None
        settings = folder / "tokenizer_config.json"
        self.settings = read_json(settings, "tokenizer", "copy it again") if settings.exists() else {}
        self.stop = self._special("eos_token")

    def encode(self, texts: Sequence[str], *, special: bool = True) -> Int[np.ndarray, "prompt past"]:
        """Tokens, filled with ``PAD`` on the left. ``special=False`` adds no beginning token, as for chat texts."""
        rows = self._ask("encode", list(texts), special, self._process.limits.tokens)
        empty = next((i for i, row in enumerate(rows) if not row), None)
        if empty is not None or not rows:
            raise ValueError(f"prompts: prompt {empty or 0} has no token; give some text")
        tokens = np.full((len(rows), max(map(len, rows))), PAD, np.int32)
        for row, ids in zip(tokens, rows, strict=True):
            row[len(row) - len(ids) :] = ids
        return tokens

    def decode(self, tokens: Int[np.ndarray, " time"], *, special: bool = False) -> str:
        """The text of some tokens, up to the stop token; ``special=True`` writes special tokens out."""
        ids = [int(t) for t in tokens if t != PAD]
        if self.stop is not None and self.stop in ids:
            ids = ids[: ids.index(self.stop)]
        return str(self._ask("decode", ids, special, self._process.limits.characters))

    def chat(self, messages: str | Sequence[Message]) -> str:
        """The text of a conversation with the answer still to come, by the folder's chat template.

        ``messages``: one user's text, or messages with "role" and "content". Encode it with ``special=False``.
        Raises ``ValueError`` without a template, or where the template does not take the messages.
        """
        template = self._template()
        if importlib.util.find_spec("jinja2") is None:
            raise ValueError("tokenizer: Jinja is not installed; run pip install jinja2")
        conversation = (
            [{"role": "user", "content": messages}]
            if isinstance(messages, str)
            else [dict(m) for m in messages]
        )
        names = {key: self._text(key) for key in ("bos_token", "eos_token", "pad_token", "unk_token")}
        context = {"messages": conversation, "add_generation_prompt": True, **names}
        try:
            return str(self._process.ask(None, "chat", template, context, self._process.limits.characters))
        except Refused as reason:
            raise ValueError(
                f"tokenizer: the chat template in {self.folder} does not take this ({reason}); give plain prompts"
            ) from None

    @property
    def has_chat(self) -> bool:
        """Whether there is a chat template."""
        return self._find_template() is not None

    def _find_template(self) -> str | None:
        path = self.folder / "chat_template.jinja"
        if path.exists():
            _check_file(path, LARGEST_TEMPLATE)
            try:
                return path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "no text in UTF-8"
                raise ValueError(f"tokenizer: {path} cannot be read ({reason}); copy it again") from None
        template = self.settings.get("chat_template")
        if isinstance(template, list):  # several by name
            named = {x.get("name"): x.get("template") for x in template if isinstance(x, dict)}
            template = named.get("default")
        return template if isinstance(template, str) else None

    def _template(self) -> str:
        template = self._find_template()
        if template is None:
            raise ValueError(f"tokenizer: {self.folder} has no chat template; give plain prompts")
        return template

    def _text(self, key: str) -> str:
        text = self.settings.get(key)
        text = text.get("content") if isinstance(text, dict) else text
        return text if isinstance(text, str) else ""

    def _special(self, key: str) -> int | None:
        text = self._text(key)
        return self._ask("token", text) if text else None

    def _ask(self, do: str, *arguments: Any) -> Any:
        try:
            return self._process.ask(self._path, do, *arguments)
        except Refused as reason:
            raise ValueError(
                f"tokenizer: {self._path} fails ({reason}); save the fast tokenizer again"
            ) from None


def _check_file(path: Path, largest: int) -> None:
    """Raise ``ValueError`` for what is no plain file (a pipe would never end), or is too large."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"tokenizer: {path} is no plain file; copy the file itself")
    if status.st_size > largest:
        raise ValueError(
            f"tokenizer: {path} has {status.st_size:,} bytes, and {largest:,} at most are read; copy it again"
        )
