"""Logarithms, and powers with a symbol on top, as letters: any numbers of which a goal states what it may use.

Coq's own logarithm rests on an axiom that is none of the three of the reals, and its powers have numerals on top. A
goal that holds whatever these letters are holds for the logarithm and the power.
"""

from collections.abc import Callable, Iterator

import sympy as sp


class NoTerm(ValueError):
    """The formula holds something that has no term here; the message names it."""


class Letters:
    """Letters of one goal.

    The logarithm of a product is the sum of those of its factors, that of a whole number by its primes. So ``shown``,
    to be proved with the goal, says that an argument is this product and that its factors are positive; the same of the
    base of a power, unless what stands on top is a natural number.
    """

    def __init__(self, term: Callable[[sp.Expr], str]) -> None:
        self.names: list[str] = []
        self.shown: dict[str, None] = {}
        self._term = term
        self._primes: dict[int, str] = {}
        self._logarithms: dict[str, str] = {}
        self._powers: dict[tuple[str, str], str] = {}
        self._signs: list[str] = []

    def premises(self) -> Iterator[str]:
        """Yield what holds of the letters: logarithms of primes are in order, powers of positive numbers positive."""
        before = "0"
        for _, name in sorted(self._primes.items()):
            yield f"{before} < {name}"
            before = name
        yield from self._signs

    def logarithm(self, argument: sp.Expr) -> str:
        """Return the term of a logarithm, in letters."""
        if argument == sp.E:
            return "1"
        if argument.is_Rational and argument > 0:
            powers = {**sp.factorint(argument.p), **{q: -k for q, k in sp.factorint(argument.q).items()}}
            terms = [(power, self._prime(prime)) for prime, power in powers.items()]
        else:
            terms = self._of_product(argument)
        return _sum(terms)

    def _of_product(self, argument: sp.Expr) -> list[tuple[int, str]]:
        """Multiples of letters whose sum is the logarithm of an argument with symbols."""
        coefficient, factors = _factors(argument)
        product = [coefficient, *(base**power for base, power in factors)]
        if coefficient <= 0 or (coefficient == 1 and len(factors) == 1 and factors[0][1] == 1):
            return [(1, self._letter(argument))]
        self.shown[f"({self._term(argument)} = ({' * '.join(map(self._term, product))}))"] = None
        number = [] if coefficient == 1 else [(1, self.logarithm(coefficient))]
        self.shown.update((f"(0 < {self._term(base)})", None) for base, _ in factors)
        return [*number, *((power, self._letter(base)) for base, power in factors)]

    def power(self, base: sp.Expr, exponent: sp.Expr) -> str:
        """Return the term of a power with symbols on top, in letters. Raises ``NoTerm``."""
        number, rest = sp.expand(exponent).as_coeff_Add()
        multiples = [part.as_coeff_Mul() for part in sp.Add.make_args(rest)]
        if not number.is_Integer or not all(multiple.is_Integer for multiple, _ in multiples):
            raise NoTerm("a power that is not whole or half")
        natural = all(m > 0 and core.is_integer and core.is_nonnegative for m, core in multiples)
        is_sign = base == -1 and all(core.is_integer for _, core in multiples)
        if not (natural and number >= 0) and not is_sign:
            self.shown[f"(0 < {self._term(base)})"] = None
        factors = [_raised(self._power(base, core), int(multiple)) for multiple, core in multiples]
        return f"({' * '.join([*factors, self._term(base**number)])})"

    def _power(self, base: sp.Expr, core: sp.Expr) -> str:
        key = self._term(base), str(core)
        if key not in self._powers:
            name = self._powers[key] = self._new(f"pow{len(self._powers)}")
            self._signs.append(f"{name} * {name} = 1" if base == -1 else f"(0 < {key[0]} -> 0 < {name})")
        return self._powers[key]

    def _prime(self, prime: int) -> str:
        return self._primes.get(prime) or self._primes.setdefault(prime, self._new(f"ln{prime}"))

    def _letter(self, argument: sp.Expr) -> str:
        if isinstance(argument, sp.exp):
            return self._term(argument.args[0])
        term = self._term(argument)
        return self._logarithms.get(term) or self._logarithms.setdefault(
            term, self._new(f"ln_{len(self._logarithms)}")
        )

    def _new(self, name: str) -> str:
        self.names.append(name)
        return name


def _factors(argument: sp.Expr) -> tuple[sp.Rational, list[tuple[sp.Expr, int]]]:
    """A rational number and whole powers whose product is the argument; a minus goes into a sum, as in 1 - p."""
    coefficient, rest = sp.factor(sp.together(argument)).as_coeff_Mul()
    factors = []
    for factor in sorted(sp.Mul.make_args(rest), key=sp.default_sort_key):
        base, power = factor.as_base_exp()
        if not power.is_Integer:
            base, power = base**power, sp.Integer(1)
        if coefficient < 0 and base.is_Add and power % 2:
            base, coefficient = -base, -coefficient
        factors.append((base, int(power)))
    return (coefficient, factors) if coefficient.is_Rational else (sp.Integer(0), [])


def _sum(terms: list[tuple[int, str]]) -> str:
    """Multiples of letters, added."""
    multiples = [letter if k == 1 else f"({_numeral(k)} * {letter})" for k, letter in terms]
    return multiples[0] if len(multiples) == 1 else f"({' + '.join(multiples)})"


def _raised(term: str, power: int) -> str:
    if power < 0:
        return f"(/ {_raised(term, -power)})"
    return term if power == 1 else f"({term} ^ {power})"


def _numeral(number: int) -> str:
    return str(number) if number >= 0 else f"(- {-number})"
