r"""Formulas, parsed by math-verify's parser and compared by their values. This runs in the worker process.

Two formulas are the same if they have the same value, to 25 digits, at several points. This also decides nested roots,
which SymPy's ``simplify`` does not, and it cannot lose a term. Two equations are the same if one is a multiple of the
other, or if both have the same solutions. Sets and ranges are compared by math-verify's ``verify``.

math-verify 0.9.0 accepts some wrong answers (found by the tests of this package; no upstream report is known):

- ``verify(parse("$\pi r^2 h$"), parse("$\pi r^2$"))``: a last letter c, d, g, h, l, m, o, s or t is dropped as a unit
  (``NormalizationConfig.units``). Units are read in `verl_gpo.graders.units`, so that option is off here.
- ``verify(parse("$I=5$"), parse("$I=6$"))``: I is read as the imaginary unit, so neither equation has a solution, and
  both count as the same. Capital letters are renamed here before parsing, which also keeps n apart from N.
- ``verify(parse("$x^2=-1$"), parse("$x^2=-2$"))``: the same. Two equations without solutions are not equal here.
- ``verify(parse("$0.00000003$"), parse("$0.00000004$"))``: numbers are compared to 6 places. Values are compared here.
- ``parse("$y'$")`` is y, and ``parse("$1 2$")`` is 3. Primes are renamed here, and `math` refuses the second form.
"""

from __future__ import annotations

import re
from typing import Any

#: Number of digits that are computed; the largest relative difference of two values that count as equal, between exact
#: formulas and if one of them has a decimal.
DIGITS, EXACT, DECIMAL = 40, 1e-25, 1e-6
#: Values of the variables, one row for each point. All values of the first `_POSITIVE` rows are positive.
_POINTS = (
    (1.3728, 2.2913, 0.7391, 3.1193, 1.8317, 0.5477, 2.7119),
    (0.4127, 1.1391, 2.6173, 0.8931, 1.5377, 3.3119, 0.2971),
    (2.9173, 0.6317, 1.4719, 1.9371, 0.3719, 2.1773, 1.2317),
    (-1.2917, 0.8713, -2.3171, 1.7139, -0.4391, 2.8713, -1.6173),
    (0.7193, -1.4739, 1.2971, -2.1937, 2.3917, -0.6173, 1.9713),
)
_POSITIVE = 3

_PRIME = r"(?:'|\^\s?\{?\s?\\prime\s?\}?)"
_SYMBOL = re.compile(
    r"\\(?:d{1,2}ot|bar|hat|vec|tilde|overline)\s?(?:\{[^{}]*\}|\\?[a-zA-Z]+)"
    r"|\\(?:[a-zA-Z]+|.)"
    rf"|(?:[A-Z]|[a-zA-Z](?=\s?{_PRIME})|[fgh](?=\s?\())"
    rf"(?:\s?_\s?(?:\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}}|\w))?(?:\s?{_PRIME}){{0,3}}(?:\s?\(\s?[-\w]{{1,3}}\s?\))?"
)
_ACCENT = re.compile(r"\\(?:d{1,2}ot|bar|hat|vec|tilde|overline)\s?(?:\{|\\|[a-zA-Z]+\s)")


def _renamed(text: str, names: dict[str, str]) -> str:
    """A formula whose capital letters, primes and accents are variables of their own.

    Args:
        names: the new names given so far; shared by both answers, so that they get the same ones.
    """

    def rename(match: re.Match[str]) -> str:
        token = match[0]
        if token.startswith("\\") and not _ACCENT.match(token):
            return token
        key = re.sub(r"[\s{}]", "", token).replace("^\\prime", "'")
        applied = re.fullmatch(r"([A-Z](?:_\w+)?)\(([^()]*)\)", key)
        if applied and not applied[2].isalnum():
            return token
        return names.setdefault(key, f"x_{{{901 + len(names)}}}")

    return _SYMBOL.sub(rename, text)


def parse(text: str, names: dict[str, str]) -> Any:
    """The formula as a SymPy object, None if the text is not a formula.

    Args:
        text: as `latex.tidy` returns it.
        names: see `_renamed`.
    """
    from latex2sympy2_extended import NormalizationConfig, normalize_latex
    from math_verify.parser import parse_latex_cached

    config = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none")
    text = re.sub(r"\^\s?\{?\s?\\circ\s?\}?", r" \\cdot \\frac{\\pi}{180} ", text)
    text = re.sub(r"(?<![a-zA-Z\\])([ei])\s?(?=\()", r"\1 \\cdot ", _renamed(text, names))
    try:
        return parse_latex_cached(normalize_latex(text, config))
    except Exception:  # the parser raises plain exceptions of many kinds
        return None


def verify_math(gold: str, pred: str) -> float:
    """1.0 if two formulas in LaTeX are the same, else 0.0. This may take forever: the caller limits the time."""
    names: dict[str, str] = {}
    parsed = [parse(text, names) for text in (gold, pred)]
    if any(value is None for value in parsed):
        return 0.0
    return float(
        same(*parsed, complex_=bool(re.search(r"(?<![a-zA-Z\\])i(?![a-zA-Z])|[\d}]i(?![a-zA-Z])", gold + pred)))
    )


def same(gold: Any, pred: Any, *, complex_: bool = False) -> bool:
    """Whether two parsed answers are the same.

    Args:
        gold: the right answer, a SymPy object.
        pred: the answer of a response, a SymPy object.
        complex_: whether i is the imaginary unit, and not a variable.
    """
    from math_verify import verify
    from sympy import Eq, Expr, MatrixBase, MatrixExpr, Set
    from sympy.logic.boolalg import BooleanAtom

    if isinstance(gold, BooleanAtom) or isinstance(pred, BooleanAtom):
        return False
    gold, pred = (value.doit() if isinstance(value, MatrixExpr) else value for value in (gold, pred))
    if isinstance(gold, Eq) and isinstance(pred, Eq):
        return _same_equation(gold, pred, complex_)
    if isinstance(gold, MatrixBase) and isinstance(pred, MatrixBase):
        pairs = zip(gold.flat(), pred.flat(), strict=True) if gold.shape == pred.shape else [(0, 1)]
        return all(same_value(*pair, complex_) for pair in pairs)
    if isinstance(gold, Expr) and isinstance(pred, Expr):
        return same_value(gold, pred, complex_)
    kinds = [isinstance(value, (Eq, Expr, MatrixBase)) for value in (gold, pred)]
    if any(kinds) or gold.free_symbols != pred.free_symbols and not isinstance(gold, Set):
        return False
    return bool(verify(gold, pred, timeout_seconds=None, allow_set_relation_comp=True))


def _prepared(expression: Any, complex_: bool) -> Any:
    from sympy import Derivative, I, Symbol, sympify
    from sympy.core.function import AppliedUndef

    expression = sympify(expression)
    if complex_:
        expression = expression.subs({symbol: I for symbol in expression.free_symbols if symbol.name == "i"})

    def is_quantity(part: Any) -> bool:
        # u(t), and dv/dt where v is only a letter. doit() would turn the derivative into zero.
        return isinstance(part, AppliedUndef) or (isinstance(part, Derivative) and not part.expr.has(*part.variables))

    return expression.replace(is_quantity, lambda part: Symbol(f"quantity {part}")).doit()


def _values(expression: Any, symbols: list[Any]) -> list[Any]:
    """The values of an expression at the points; None for a point at which it has no finite value."""
    from sympy import Float

    values = []
    for point in _POINTS if symbols else _POINTS[:1]:
        known = {s: Float(str(point[i % 7] + i // 7), DIGITS) for i, s in enumerate(symbols)}
        value = expression.subs(known).evalf(DIGITS)
        parts = value.as_real_imag() if value.is_number and value.is_finite is not False else ()
        usable = parts and all(part.is_Float or part.is_Integer or part.is_Rational for part in parts)
        values.append(value if usable else None)
    return values


def _near(one: Any, other: Any, tolerance: float) -> bool:
    distance, size = abs(one - other).evalf(20), max(abs(one).evalf(20), abs(other).evalf(20))
    return bool(distance <= size * tolerance) or bool(size < 1e-30 and (one == 0 or other == 0))


def same_value(one: Any, other: Any, complex_: bool) -> bool:
    """Whether two expressions have the same value at all points at which they have one.

    Args:
        complex_: whether i is the imaginary unit, and not a variable.
    """
    from sympy import Float, nan, zoo

    one, other = _prepared(one, complex_), _prepared(other, complex_)
    if one.has(nan, zoo) or other.has(nan, zoo):
        return False
    if one == other:
        return True
    tolerance = DECIMAL if one.has(Float) or other.has(Float) else EXACT
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    compared = 0
    for index, (a, b) in enumerate(zip(_values(one, symbols), _values(other, symbols), strict=True)):
        if a is None or b is None:
            if (a is None) != (b is None):
                return False
            continue
        if index >= _POSITIVE and not (a.is_real and b.is_real):
            continue  # a root of a negative number has several values, and the two may differ in which one they are
        if not _near(a, b, tolerance):
            return False
        compared += 1
    return compared > 0


def _same_equation(gold: Any, pred: Any, complex_: bool) -> bool:
    from sympy import solve

    one, other = (_prepared(side.lhs - side.rhs, complex_) for side in (gold, pred))
    symbols = sorted(one.free_symbols, key=str)
    if not symbols or one.free_symbols != other.free_symbols:
        return False
    ratios = []
    for a, b in zip(_values(one, symbols), _values(other, symbols), strict=True):
        if a is not None and b is not None and a != 0 and b != 0:
            ratios.append((a / b).evalf(DIGITS))
    if len(ratios) >= _POSITIVE and all(_near(ratio, ratios[0], 1e-12) for ratio in ratios):
        return True
    solutions = [solve(side, symbols[0]) for side in (one, other)]
    if not solutions[0] or len(solutions[0]) != len(solutions[1]):
        return False
    left = list(solutions[1])
    for value in solutions[0]:
        match = next((found for found in left if same_value(value, found, False)), None)
        if match is None:
            return False
        left.remove(match)
    return True
