"""The process in which a folder's tokenizer and chat template work: its programs may take no more than they are given.

Run as a file, so that it loads neither this package nor JAX. Reads one request a line from the standard input, a JSON
object with the name of what is to be done, and answers each in one line: {"value": ...} or {"error": ...}.
"""

import datetime
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

_LARGEST = 1 << 31  # the numbers of tokens are 32-bit integers with a sign
_tokenizer: Any = None
_version: list[Any] = []  # of the file that was read: its path, time and size


def load(version: list[Any]) -> None:
    """Read a tokenizer.json, unless it is the one that was read last."""
    import tokenizers

    global _tokenizer, _version
    if version == _version:
        return
    _tokenizer, _version = None, []
    _tokenizer = tokenizers.Tokenizer.from_file(version[0])
    _tokenizer.no_padding()
    _tokenizer.no_truncation()
    _version = version


def size() -> int:
    """How many tokens there are, added ones included."""
    return int(_tokenizer.get_vocab_size(with_added_tokens=True))


def encode(texts: list[str], special: bool, most: int) -> list[list[int]]:
    """The tokens of texts, one after the other, so that one that grows is noticed."""
    rows = []
    for number, text in enumerate(texts):
        ids = _tokenizer.encode(text, add_special_tokens=special).ids
        if len(ids) > most:
            raise OverflowError(f"text {number} becomes {len(ids):,} tokens; {most:,} at most are taken")
        if any(token >= _LARGEST for token in ids):
            raise OverflowError(f"it has a token of number {max(ids)}; numbers below {_LARGEST} are taken")
        rows.append(ids)
    return rows


def decode(tokens: list[int], special: bool, most: int) -> str:
    """The text of tokens."""
    return _bounded(str(_tokenizer.decode(tokens, skip_special_tokens=not special)), most)


def token(text: str) -> int | None:
    """The number of a token."""
    number = _tokenizer.token_to_id(text)
    if number is not None and number >= _LARGEST:
        raise OverflowError(f"its token {text!r} has the number {number}; numbers below {_LARGEST} are taken")
    return None if number is None else int(number)


def chat(template: str, names: dict[str, Any], most: int) -> str:
    """A conversation by a template, in Jinja's sandbox, with what the transformers library gives it.

    That is (utils/chat_template_utils.py): loop controls, ``{% generation %}``, JSON that is not escaped for HTML,
    ``raise_exception``, ``strftime_now``, and namespaces and dictionaries that keep out of Python's own names.
    """
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import Namespace

    def refuse(reason: str) -> None:
        raise ValueError(reason)

    def to_json(value: Any, indent: int | None = None, **settings: Any) -> str:
        return json.dumps(value, **({"ensure_ascii": False, "indent": indent} | settings))

    class Generation(Extension):
        """What stands between its tags was written by the model; it is rendered as it is."""

        tags = {"generation"}  # noqa: RUF012, as its base class has them

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    class Names(Namespace):
        """A namespace without names that begin with an underscore."""

        def __init__(*arguments: Any, **attributes: Any) -> None:
            own, *rest = arguments
            values = dict(*rest, **attributes)
            for name in values:
                check_name(name)
            Namespace.__init__(own, values)

        def __setitem__(self, name: str, value: Any) -> None:
            check_name(name)
            Namespace.__setitem__(self, name, value)

    def check_name(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise SecurityError(f"a namespace takes no name that begins with an underscore, such as {name!r}")

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    usual = {name: environment.globals[name] for name in ("range", "cycler", "joiner")}
    environment.globals = usual | {
        "raise_exception": refuse, "namespace": Names, "dict": lambda *pairs, **values: dict(*pairs, **values),
        "strftime_now": lambda form: datetime.datetime.now().strftime(form),
    }  # fmt: skip
    environment.filters["tojson"] = to_json  # Jinja's own writes < and & as escapes, for HTML
    parts, size = [], 0
    for part in environment.from_string(template).generate(**names):
        parts.append(part)
        size += len(part)
        if size > most:
            break
    return _bounded("".join(parts), most)


def _bounded(text: str, most: int) -> str:
    if len(text) > most:
        raise OverflowError(f"the text grows beyond {most:,} characters")
    return text


_DOES: dict[str, Callable[..., Any]] = {f.__name__: f for f in (size, encode, decode, token, chat)}


def _limit(seconds: float, data: int) -> None:
    """Let this process end at so many seconds of computing from here on, and refuse it more memory than ``data``."""
    try:
        import resource
    except ImportError:  # Windows, where only the clock of the process that asks ends this one
        return
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    for kind, most in ((resource.RLIMIT_CPU, int(used + seconds) + 1), (resource.RLIMIT_DATA, data)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks ends this one
    for line in sys.stdin:
        request = json.loads(line)
        _limit(request["seconds"], request["memory"])
        try:
            if request["tokenizer"]:
                load(request["tokenizer"])
            answer = {"value": _DOES[request["do"]](*request["arguments"])}
        except MemoryError:
            answer = {"memory": True}
        except BaseException as error:  # a panic of the tokenizer's is no Exception
            answer = {"error": (str(error).splitlines() or [type(error).__name__])[0][:300]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
