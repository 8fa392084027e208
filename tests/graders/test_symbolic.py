"""Formulas by their values, and the guards before math-verify. In this process: the pool has its own tests."""

import pytest

pytest.importorskip("math_verify")

from verl_gpo.graders.symbolic import verify_math  # noqa: E402

SAME = [
    ("6xy", "6yx"),
    (r"\pi r^2 h", r"\pi h r^2"),
    ("x^2-1", "(x-1)(x+1)"),
    ("1+3i", "i(3-i)"),
    (r"e^{i\pi}", "-1"),
    (r"\frac{\sqrt{\sqrt{5}+\sqrt{7}}}{9+2\sqrt{3}}", r"\frac{\sqrt{\sqrt{5}+\sqrt{7}}}{2\sqrt{3}+9}"),
    (r"\sqrt{5+2\sqrt{6}}", r"\sqrt{2}+\sqrt{3}"),
    (r"\ln 4", r"2\ln 2"),
    (r"\frac{1}{3}x", "0.3333333x"),
    (r"\sin 90^\circ", "1"),
    ("y=2x+3", "2x-y+3=0"),
    ("I=5", "I=5.0"),
    ("x^2+y^2=4", "y^2+x^2-4=0"),
    ("u(t)+1", "1+u(t)"),
    (r"\begin{pmatrix}1&x\end{pmatrix}", r"\begin{pmatrix}1&x\end{pmatrix}"),
    (r"[0,1]\cup[1,2]", "[0,2]"),
]
DIFFERENT = [
    # a last letter that is a unit for math-verify
    *((f"3{letter}^2", "3") for letter in "cdghlmost"),
    (r"\pi r^2 h", r"\pi r^2"),
    ("x+7m", "x+7"),
    # the imaginary unit as a name, equations without solutions, relations that are always false
    *(
        ("I=5", "I=6"),
        ("x^2=-1", "x^2=-4"),
        ("x=x+1", "x=x+2"),
        ("x>x+1", "x>x+2"),
        ("0=1", "0=2"),
        ("|x|=-1", "|x|=-2"),
    ),
    # tiny numbers, primes, case, the base of natural logarithms
    *(("10^{-8}", "10^{-9}"), ("y'", "y"), ("n", "N"), (r"\frac{1}{2004!}", r"\frac{1}{2006!}"), ("E", "e")),
    # branches and derivatives
    *((r"\sqrt{x^2}", "x"), ("|x|", "x"), (r"m\frac{dv}{dt}+bv", r"w\frac{dv}{dt}+bv"), (r"\ddot{x}", "x")),
    *(("x=5", "y=5"), ("x^2=4", "x=2"), ("y=2x", "y=3x"), (r"\frac{1}{0}", r"\frac{2}{0}"), ("x", r"\frac{")),
]


@pytest.mark.parametrize(("gold", "pred"), SAME)
def test_same(gold, pred):
    assert verify_math(gold, pred) == verify_math(pred, gold) == 1.0


@pytest.mark.parametrize(("gold", "pred"), DIFFERENT)
def test_different(gold, pred):
    assert verify_math(gold, pred) == verify_math(pred, gold) == 0.0


def test_math_verify_itself_accepts_what_the_module_says():
    """Where a new version of math-verify is right, its guard can go."""
    from math_verify import LatexExtractionConfig, parse, verify

    def theirs(gold, pred):
        latex = [LatexExtractionConfig(boxed_match_priority=0)]
        return verify(parse(rf"\boxed{{{gold}}}", latex), parse(rf"\boxed{{{pred}}}", latex))

    for gold, pred in ((r"\pi r^2 h", r"\pi r^2"), ("I=5", "I=6"), ("x^2=-1", "x^2=-2"), ("0.00000003", "0.00000004")):
        assert theirs(gold, pred), (gold, pred)
    assert theirs("y'", "y") and theirs("3", "1 2")
