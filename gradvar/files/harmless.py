"""Text that others wrote (prompts, names of columns and files, settings of models), as it may be shown.

A terminal obeys control characters, a reader is misled by text that runs backwards, and a spreadsheet computes cells
that begin like a formula.
"""

import re

LONGEST = 2000  # characters of an error, of which others wrote a part
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"  # but for the tab and the line feed
_ESCAPED = re.compile(f"[{_CONTROLS}{_BIDI}\u2028\u2029\ud800-\udfff]")
_FORMULA = re.compile(r"[=+\-@\t\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def harmless(text: str) -> str:
    r"""Write control characters, marks of direction, and halves of characters as escapes; lines stay lines.

    >>> print(harmless("\x1b[2Jred\u202e"))
    \x1b[2Jred\u202e
    """
    return text if text.isprintable() else _ESCAPED.sub(_escape, text)  # nothing printable is escaped


def one_line(text: str, longest: int | None = None) -> str:
    r"""The same in one line: a line feed becomes ``\n``, and the middle of what is longer than ``longest`` is left out.

    >>> print(one_line("a\nb"), one_line("abcdefgh", 6))
    a\nb ab...h
    """
    line = harmless(text).replace("\n", r"\n")
    if longest is None or len(line) <= longest:
        return line
    end = (longest - 3) // 2
    return f"{line[: longest - 3 - end]}...{line[-end:]}"


def harmless_cell(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula: an apostrophe stands before it; numbers stay.

    >>> print(harmless_cell("=1+1"), harmless_cell("-1.5"))
    '=1+1 -1.5
    """
    if not text[:1].isalnum() and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    return harmless(text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
