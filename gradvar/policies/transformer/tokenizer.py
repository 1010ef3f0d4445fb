"""The tokenizer of a local Hugging Face folder: text to left-padded tokens and back, and its chat template.

``tokenizer.json`` by the tokenizers library; a chat template is a Jinja program and runs in Jinja's sandbox, which
gives it strings and lists and nothing of Python's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from gradvar.files.atomic import read_json

PAD = -1
"""Fills prompts on the left; no token of any vocabulary, so that it cannot be taken for one."""

Message = Mapping[str, str]


class Tokenizer:
    """Text to tokens and back. ``stop``: the token that ends an answer, or None where the folder names none."""

    def __init__(self, folder: Path) -> None:
        """Raises ``ValueError`` where ``folder`` has no readable ``tokenizer.json``."""
        try:
            import tokenizers
        except ImportError:
            raise ValueError(
                "tokenizer: the tokenizers library is not installed; run pip install 'gradvar[pretrained]'"
            ) from None
        self.folder = folder
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ValueError(f"tokenizer: no file {path}; save the fast tokenizer beside the model")
        try:
            self._inner = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises a bare Exception
            raise ValueError(f"tokenizer: {path} cannot be read ({str(error).splitlines()[0]})") from None
        self._inner.no_padding()
        self._inner.no_truncation()
        settings = folder / "tokenizer_config.json"
        self.settings = read_json(settings, "tokenizer", "copy it again") if settings.is_file() else {}
        self.stop = self._special("eos_token")

    @property
    def size(self) -> int:
        """How many tokens there are, added ones included."""
        return int(self._inner.get_vocab_size(with_added_tokens=True))

    def encode(self, texts: Sequence[str], *, special: bool = True) -> Int[np.ndarray, "prompt past"]:
        """Tokens, filled with ``PAD`` on the left. ``special=False`` adds no beginning token, as for chat texts."""
        rows = [x.ids for x in self._inner.encode_batch(list(texts), add_special_tokens=special)]
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
        return str(self._inner.decode(ids, skip_special_tokens=not special))

    def chat(self, messages: str | Sequence[Message]) -> str:
        """The text of a conversation with the answer still to come, by the folder's chat template.

        ``messages``: one user's text, or messages with "role" and "content". Encode it with ``special=False``.
        Raises ``ValueError`` without a template, or where the template does not take the messages.
        """
        template = self._template()
        try:
            from jinja2 import TemplateError
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError:
            raise ValueError(
                "tokenizer: Jinja is not installed; run pip install 'gradvar[pretrained]'"
            ) from None
        conversation = (
            [{"role": "user", "content": messages}]
            if isinstance(messages, str)
            else [dict(m) for m in messages]
        )

        def refuse(reason: str) -> None:
            raise ValueError(reason)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals = {"raise_exception": refuse, "range": environment.globals["range"]}
        names = {key: self._text(key) for key in ("bos_token", "eos_token", "pad_token", "unk_token")}
        try:
            return str(
                environment.from_string(template).render(
                    messages=conversation, add_generation_prompt=True, **names
                )
            )
        except (TemplateError, ValueError, TypeError, OverflowError, RecursionError) as error:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"tokenizer: the chat template in {self.folder} does not take this ({line})"
            ) from None

    @property
    def has_chat(self) -> bool:
        """Whether there is a chat template."""
        return self._find_template() is not None

    def _find_template(self) -> str | None:
        path = self.folder / "chat_template.jinja"
        if path.is_file():
            return path.read_text(encoding="utf-8")
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
        return self._inner.token_to_id(text) if text else None
