"""LaTeX to MathML, for the part of LaTeX that statements and SymPy's printer use; so a page reads offline.

``to_mathml(latex)`` sets a formula, ``text_to_html(text)`` a text with formulas between dollars. A command
that is not known is an error that names it: nothing is dropped in silence.
"""

from __future__ import annotations

import re
from html import escape

from gradvar.symbolic.latex_names import LETTERS, OPERATORS

_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\d+(?:\.\d+)?|\s+|.", re.DOTALL)

_BIG = {"sum": "∑", "prod": "∏", "int": "∫", "bigcup": "⋃", "bigcap": "⋂"}
_FUNCTIONS = [
    "log",
    "ln",
    "exp",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "det",
    "dim",
    "gcd",
    "arg",
    "deg",
    "ker",
    "Pr",
    "hom",
    "arcsin",
    "arccos",
    "arctan",
    "coth",
    "sec",
]
_LIMITS = ("lim", "max", "min", "sup", "inf", "limsup", "liminf", "argmax", "argmin")
_SPACES = {
    ",": "0.17em",
    ":": "0.22em",
    ";": "0.28em",
    "quad": "1em",
    "qquad": "2em",
    " ": "0.25em",
    "!": "0",
    "~": "0.25em",
}
_ACCENTS = {
    "bar": "¯",
    "hat": "^",
    "tilde": "~",
    "overline": "¯",
    "vec": "→",
    "dot": "˙",
    "widehat": "^",
    "widetilde": "~",
}
_FONTS = {
    "mathrm": "normal",
    "mathbf": "bold",
    "mathbb": "double-struck",
    "mathcal": "script",
    "boldsymbol": "bold",
}
_DOUBLE = {"R": "ℝ", "N": "ℕ", "Z": "ℤ", "Q": "ℚ", "E": "𝔼", "P": "ℙ", "C": "ℂ", "1": "𝟙"}
_THIN = '<mspace width="0.17em"/>'
_IGNORED = {
    "displaystyle",
    "textstyle",
    "limits",
    "nolimits",
    "big",
    "Big",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "bigg",
    "Bigg",
}


def to_mathml(latex: str, *, block: bool = False) -> str:
    """A formula as a ``<math>`` element. Raises ``ValueError`` naming a command that it does not know."""
    parser = _Parser(latex, block)
    body = parser.row(())
    if parser.peek() is not None:
        raise ValueError(f"latex: unexpected {parser.peek()!r} in {latex!r}")
    display = ' display="block"' if block else ""
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML"{display}>{body}</math>'


def text_to_html(text: str) -> str:
    """Escaped text with its ``$...$`` set as MathML. Raises ``ValueError`` on an odd dollar."""
    parts = text.split("$")
    if len(parts) % 2 == 0:
        raise ValueError(f"text: a dollar without its pair in {text!r}")
    return "".join(to_mathml(part) if i % 2 else escape(part) for i, part in enumerate(parts))


class _Parser:
    def __init__(self, latex: str, block: bool) -> None:
        self.latex, self.block = latex, block
        self.tokens = [t for t in _TOKEN.findall(latex) if not t.isspace()]
        self.at = 0

    def peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        if token is None or (wanted is not None and token != wanted):
            raise ValueError(f"latex: {wanted or 'more'} expected, {token!r} found in {self.latex!r}")
        self.at += 1
        return token

    def row(self, until: tuple[str, ...]) -> str:
        parts = []
        while (token := self.peek()) is not None and token not in until:
            if token == "}":
                raise ValueError(f"latex: a brace closed that was not opened in {self.latex!r}")
            parts.append(self.scripted())
        return f"<mrow>{''.join(parts)}</mrow>"

    def scripted(self) -> str:
        """An atom with its scripts; a function's name with the space around it that its letters need."""
        token = self.peek() or ""
        if token[1:] not in _FUNCTIONS and token[1:] not in _LIMITS:
            return self.with_scripts()
        before = _THIN if self.at and self._ends_a_factor(self.tokens[self.at - 1]) else ""
        name = self.with_scripts()
        return before + name + (_THIN if self._begins_a_factor(self.peek() or "") else "")

    @staticmethod
    def _ends_a_factor(token: str) -> bool:
        return (token[-1].isalnum() and token[1:] not in OPERATORS) or token in (")", "]", "}")

    @staticmethod
    def _begins_a_factor(token: str) -> bool:
        known = (*LETTERS, *_FUNCTIONS, *_LIMITS, *_ACCENTS, *_FONTS, "frac", "sqrt", "binom")
        return token.isalnum() or (token.startswith("\\") and token[1:] in known)

    def with_scripts(self) -> str:
        token = self.peek()
        base = "<mrow></mrow>" if token in ("^", "_") else self.atom()
        below = above = ""
        while (mark := self.peek()) in ("^", "_", "'"):
            self.take()
            if mark == "'":
                above += "<mo>′</mo>"
            elif mark == "^":
                above += self.atom()
            else:
                below = self.atom()
        if not below and not above:
            return base
        name = (token or "").lstrip("\\")
        under = name in _LIMITS or (name in _BIG and name != "int" and self.block)
        tag = ("under", "over") if under else ("sub", "sup")
        above = f"<mrow>{above}</mrow>" if above else ""
        if below and above:
            return f"<m{tag[0]}{tag[1]}>{base}{below}{above}</m{tag[0]}{tag[1]}>"
        return f"<m{tag[0]}>{base}{below}</m{tag[0]}>" if below else f"<m{tag[1]}>{base}{above}</m{tag[1]}>"

    def group(self) -> str:
        """The argument of a command: a braced row or one atom."""
        if self.peek() == "{":
            self.take()
            body = self.row(("}",))
            self.take("}")
            return body
        return self.atom()

    def skip_group(self) -> None:
        self.take("{")
        depth = 1
        while depth:
            depth += {"{": 1, "}": -1}.get(self.take(), 0)

    def atom(self) -> str:
        token = self.take()
        if token == "{":
            body = self.row(("}",))
            self.take("}")
            return body
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if token.isalpha():
            return f"<mi>{token}</mi>"
        if token.startswith("\\"):
            return self.command(token[1:])
        if token == "(" and self._is_closed():
            body = self.row((")",))
            self.take(")")
            return f"<mrow><mo>(</mo>{body}<mo>)</mo></mrow>"
        if token in "&":
            raise ValueError(f"latex: & outside an environment in {self.latex!r}")
        return f"<mo>{escape({'-': '−'}.get(token, token))}</mo>"

    def _is_closed(self) -> bool:
        """Whether the parenthesis just taken is closed in its group: then both grow alike, and share their script."""
        depth, inside, before = 1, 0, ""
        for token in self.tokens[self.at :]:
            inside += {"{": 1, "\\left": 1, "\\begin": 1, "}": -1, "\\right": -1, "\\end": -1}.get(token, 0)
            if inside < 0 or (inside == 0 and token in ("&", "\\\\")):
                return False
            if inside == 0 and before != "\\right":  # what stands after it is its own delimiter
                depth += {"(": 1, ")": -1}.get(token, 0)
            if depth == 0:
                return True
            before = token
        return False

    def command(self, name: str) -> str:
        if name in LETTERS:
            return f"<mi>{LETTERS[name]}</mi>"
        if name in OPERATORS:
            return f"<mo>{escape(OPERATORS[name])}</mo>"
        if name in _BIG:
            return f'<mo largeop="true">{_BIG[name]}</mo>'
        if name in _FUNCTIONS or name in _LIMITS:
            return (
                f"<mi>{name}</mi><mo>&#x2061;</mo>" if self.peek() not in ("^", "_") else f"<mi>{name}</mi>"
            )
        if name in _SPACES:
            return f'<mspace width="{_SPACES[name]}"/>'
        if name in _IGNORED:
            return ""
        if name in "{}%$#_&":
            return f"<mo>{escape(name)}</mo>"
        if name == "|":
            return "<mo>‖</mo>"
        if name in ("frac", "dfrac", "tfrac"):
            return f"<mfrac>{self.group()}{self.group()}</mfrac>"
        if name == "binom":
            top, bottom = self.group(), self.group()
            return f'<mrow><mo>(</mo><mfrac linethickness="0">{top}{bottom}</mfrac><mo>)</mo></mrow>'
        if name == "sqrt":
            return self.root()
        if name in ("text", "textit", "textbf", "operatorname", "operatorname*", "mathtt", "mbox"):
            return self.words(name)
        if name in _FONTS:
            return self.font(name)
        if name in _ACCENTS:
            return f'<mover accent="true">{self.group()}<mo stretchy="false">{_ACCENTS[name]}</mo></mover>'
        if name in ("underbrace", "overbrace", "underline"):
            return self.group()
        if name == "left":
            return self.fenced()
        if name == "begin":
            return self.environment(self.braced_name())
        raise ValueError(f"latex: the command \\{name} is not known; it stands in {self.latex!r}")

    def root(self) -> str:
        if self.peek() != "[":
            return f"<msqrt>{self.group()}</msqrt>"
        self.take("[")
        degree = self.row(("]",))
        self.take("]")
        return f"<mroot>{self.group()}{degree}</mroot>"

    def words(self, name: str) -> str:
        tokens = self._words_from_source()
        if "\\" in tokens:
            raise ValueError(
                f"latex: the command in the text {tokens!r} is not known; it stands in {self.latex!r}"
            )
        tag = "mi" if name.startswith("operatorname") else "mtext"
        return f'<{tag} mathvariant="normal">{escape(tokens)}</{tag}>'

    def _words_from_source(self) -> str:
        """The next braced argument with its spaces, read from the source text."""
        # It starts after as many visible characters as the tokens before it have.
        before = sum(not char.isspace() for token in self.tokens[: self.at] for char in token)
        visible = [i for i, char in enumerate(self.latex) if not char.isspace()]
        start = end = visible[before]
        depth = 0
        while end == start or depth:
            depth += {"{": 1, "}": -1}.get(self.latex[end], 0)
            end += 1
        self.skip_group()
        words = re.sub(r"\\text|[{}]", "", self.latex[start + 1 : end - 1])
        words = re.sub(r"\\[,:; ]", "\u2009", words)
        return re.sub(r"\\([_%&#$])", r"\1", words)

    def font(self, name: str) -> str:
        inner = self._words_from_source() if self.peek() == "{" else self.take()
        if name == "mathbb":
            return f"<mi>{''.join(_DOUBLE.get(c, c) for c in inner)}</mi>"
        if inner.startswith("\\"):
            inner = LETTERS.get(inner[1:], inner)
        if "\\" in inner:
            raise ValueError(f"latex: the command in {inner!r} is not known; it stands in {self.latex!r}")
        return f'<mi mathvariant="{_FONTS[name]}">{escape(inner)}</mi>'

    def braced_name(self) -> str:
        self.take("{")
        name = ""
        while (token := self.take()) != "}":
            name += token
        return name

    def fence(self) -> str:
        token = self.take()
        if token == ".":
            return ""
        shown = {"\\|": "‖", "\\{": "{", "\\}": "}"}.get(token) or OPERATORS.get(token.lstrip("\\"), token)
        return f'<mo fence="true" stretchy="true">{escape(shown)}</mo>'

    def fenced(self) -> str:
        opening = self.fence()
        body = self.row(("\\right",))
        self.take("\\right")
        return f"<mrow>{opening}{body}{self.fence()}</mrow>"

    def environment(self, name: str) -> str:
        brackets = {
            "cases": ("{", ""),
            "matrix": ("", ""),
            "pmatrix": ("(", ")"),
            "bmatrix": ("[", "]"),
            "aligned": ("", ""),
        }
        if name == "array":
            self.braced_name()
            brackets["array"] = ("", "")
        if name not in brackets:
            raise ValueError(f"latex: the environment {name} is not known; it stands in {self.latex!r}")
        rows, cells = [], [""]
        while True:
            cells[-1] = self.row(("&", "\\\\", "\\end"))
            token = self.take()
            if token == "&":
                cells.append("")
                continue
            rows.append(cells)
            cells = [""]
            if token == "\\end":
                self.braced_name()
                break
        if rows and rows[-1] == ["<mrow></mrow>"]:
            rows.pop()
        body = "".join(f"<mtr>{''.join(f'<mtd>{c}</mtd>' for c in row)}</mtr>" for row in rows)
        left, right = (f'<mo fence="true" stretchy="true">{b}</mo>' if b else "" for b in brackets[name])
        align = ' columnalign="left"' if name == "cases" else ""
        return f"<mrow>{left}<mtable{align}>{body}</mtable>{right}</mrow>"
