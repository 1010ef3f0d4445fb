"""What a theorem rests on, read from what ``Print Assumptions`` prints."""

import re
from collections.abc import Iterable, Sequence

# Every development over Coq's classical reals rests on these; a theorem of ours may, and on nothing else.
AXIOMS_OF_THE_REALS = (
    "ClassicalDedekindReals.sig_forall_dec",
    "ClassicalDedekindReals.sig_not_dec",
    "FunctionalExtensionality.functional_extensionality_dep",
)
_CLOSED = "Closed under the global context"
_MARK = "gradvar theorem"
_TOGETHER = "every_theorem_of_this_file"
_CLOSED_MARK = "gradvar certificate"


def questions(theorems: Sequence[str], *, together: bool = False) -> str:
    """Return the commands to append to a file: a mark with theorems' names, then what they rest on.

    Args:
        theorems: their names.
        together: ask what all rest on, not each. Coq goes through everything below them for each question, down to the
            library, which takes a second.
    """
    if together and len(theorems) > 1:
        every = f"Definition {_TOGETHER} := ({', '.join(f'@{name}' for name in theorems)})."
        return f"\n{every}\n{_question(' '.join(theorems), _TOGETHER)}\n"
    return "\n" + "\n".join(_question(name, name) for name in theorems) + "\n"


def _question(mark: str, name: str) -> str:
    return f'Goal True. idtac "{_MARK} {mark}". Abort.\nPrint Assumptions {name}.'


def parse_assumptions(output: str) -> dict[str, tuple[str, ...]]:
    """Return each theorem's assumptions from the output of ``questions``: names of axioms, none where it is closed.

    Of theorems asked about together each has those of all.

    What is neither the sentence of a closed theorem nor a list of axioms (a switched off guard, say) is an assumption
    as it stands.

    >>> parse_assumptions("gradvar theorem t\\nClosed under the global context\\n")
    {'t': ()}
    >>> parse_assumptions("gradvar theorem t\\nAxioms:\\ncheat : forall x : nat,\\n  x = 0\\n")
    {'t': ('cheat',)}
    >>> parse_assumptions("gradvar theorem t u\\nClosed under the global context\\n")
    {'t': (), 'u': ()}
    """
    _, *parts = re.split(rf"^{_MARK} ([\w ]+)$", output, flags=re.MULTILINE)
    return {
        name: _names(text.strip())
        for names, text in zip(parts[::2], parts[1::2], strict=True)
        for name in names.split()
    }  # names, text, names, text ...


def _names(text: str) -> tuple[str, ...]:
    if text == _CLOSED:
        return ()
    heading, _, body = text.partition("\n")
    if heading.rstrip() != "Axioms:":
        return (" ".join(text.split()) or "no answer",)
    # A name stands at the margin; its type follows a colon, on the same line or indented on the next.
    return tuple(line.split()[0] for line in body.splitlines() if line[:1].strip())


def asked(certificates: Iterable[str]) -> str:
    """Return the commands that print for each certificate if the ladder closed it."""
    return "".join(
        f'Goal True. let b := eval lazy in (is_closed _ {name}) in idtac "{_CLOSED_MARK} {name}" b. Abort.\n'
        for name in certificates
    )


def parse_closed(output: str) -> dict[str, bool]:
    """Return which certificates are closed from the output of ``asked``.

    >>> parse_closed("gradvar certificate c1 true\\ngradvar certificate c2 false\\n")
    {'c1': True, 'c2': False}
    """
    rows = re.findall(rf"^{_CLOSED_MARK} (\w+) (true|false)$", output, flags=re.MULTILINE)
    return {name: word == "true" for name, word in rows}


def unexpected(assumptions: tuple[str, ...]) -> tuple[str, ...]:
    """Return the assumptions that are not among the three of the reals."""
    return tuple(name for name in assumptions if not _is_of_the_reals(name))


def _is_of_the_reals(name: str) -> bool:
    """Whether it is one of the three, by its full name or by its end, as it is printed where the module is imported."""
    return any(axiom == name or axiom.endswith(f".{name}") for axiom in AXIOMS_OF_THE_REALS)
