"""Our verdicts beside those that the tests of math-verify (0.9) and the tasks of lm-evaluation-harness (0.4) state."""

import pytest

from verl_gpo.graders import compute_score


def right(source, response, gold, extra=None):
    return bool(compute_score(source, response, gold, extra)["acc"])


#: Ground truth, answer, and what math-verify's tests expect of the pair.
MATH_VERIFY = [
    ("7425000", "7,425,000", True),
    ("1000", "1 000", True),
    ("1000", "1000.0", True),
    ("0.4", ".4", True),
    ("1000.99", "$1,000.99", True),
    ("10/9", r"\frac{10}{9}", True),
    ("[0,9)", "[0,1)", False),
    ("(0,9)", "[0,9)", False),
    ("10", "(9+1)", True),
    ("1/3", r"\frac13", True),
    ("1", r"\frac3{3}", True),
    ("1/3", r"\frac{1}{3} \text{meters}", True),
    ("1/3", r"k = \frac{1}{3}", True),
    (r"28\%", "28 pct", True),
    (r"90^\circ", "90", True),
    (r"15\mbox{ cm}^2", r"15\mbox{ cm}^2", True),
    ("-2,1", "1,-2", True),
    ("x >= 5", r"x \geq 5", True),
    ("x < 3", r"x \lt 3", True),
    ("x > 5", "x < 5", False),
    (r"x \leq 5", r"5 \geq x", True),
    ("x < 1", "-x > -1", True),
    ("x < 1", "x > -1", False),
    ("x = 11", "x = 5+5+1 = 7 = 11", True),
    ("11", r"x\approx11", True),
    ("7 = 11a+c", "11a+c", False),
    ("a +3z = 0", "0", False),
    ("2x+4y-3=0", r"y=-\frac{1}{2}x+\frac{3}{4}", True),
    ("34x+45y-20z+100=0", "-34x-45y+20z-100=0", True),
    (r"(1,\frac{9}{2})", "(1,4.5)", True),
    (r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}", True),
    (r"\tan^2(y)+1", r"\sec^2(y)", True),
    ("(a+5)(b+2)", "(+5)(b+2)", False),
    ("2", r"\frac{1+\sqrt{5}}{2}", False),
    (r"1\sqrt{19}", "1", False),
    ("x+2n+1", "x+1", False),
    ("(p,q)=(3,2)", "(3,2)", True),
    (r"S_{MBCN}:S=7:32", "7:32", True),
    ("AB=4,CD=5", "4, 5", True),
    (r"\text{odd}", "odd", True),
    ("d", r"\text{E}", False),
    ("0<f(x)<1", "(0,1)", True),
    (r"\pm 2021", "2021", False),
    (r"\pm 2021", r"\{-2021, 2021\}", True),
    ("D = (0, 1)", "D = (0, 1.5)", False),
    ("n=2, 3, 4", "n=1, 2, 3", False),
    ("f(x)", "f(y)", False),
    ("12:00", "1:00", False),
    (r"\begin{pmatrix}6 & 8 \\ 10 & 12\end{pmatrix}", r"\begin{pmatrix}6&8\\10&12\end{pmatrix}", True),
]

#: Where ours differs on purpose: ground truth, answer, math-verify's verdict, why.
DIFFERENT = [
    ("1000.99", "1000,99", True, "in LaTeX a comma lists: 1,22 is two numbers"),
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}", True, "any two tiny numbers are equal to it"),
    (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}", True, "likewise"),
    ("0.00000003", "0.00000004", True, "it rounds to six places, we keep six digits of small numbers as well"),
    ("2516_8", "2516_9", True, "it drops the base"),
    (r"1 - \frac{1}{\mathrm{e}}", r"1 + \frac{1}{\mathrm{e}}", True, "its test expects 1, against arithmetic"),
]


@pytest.mark.parametrize(("gold", "answer", "expected"), MATH_VERIFY)
def test_as_math_verify(gold, answer, expected):
    assert right("math_dapo", rf"\boxed{{{answer}}}", gold) == expected


@pytest.mark.parametrize(("gold", "answer", "theirs", "why"), DIFFERENT)
def test_where_we_differ_from_math_verify(gold, answer, theirs, why):
    assert right("math_dapo", rf"\boxed{{{answer}}}", gold) != theirs, why


MMLU = ("TIGER-Lab/MMLU-Pro", "cais/mmlu")
#: Source, response, ground truth, verdict of the harness's metric with its own extraction.
HARNESS = [
    # gsm8k: strict-match reads "#### n", commas, dollars and a final full stop are ignored
    ("openai/gsm8k", "So 6*7.\n#### 1,042", "1042", True),
    ("openai/gsm8k", "#### -3", "-3", True),
    ("openai/gsm8k", "#### 43", "42", False),
    # minerva_math: "Final Answer: The final answer is ...", units and spelled-out formatting removed
    ("HuggingFaceH4/MATH-500", "Final Answer: The final answer is $16$. I hope it is correct.", "16", True),
    (
        "HuggingFaceH4/MATH-500",
        r"Final Answer: The final answer is $-\frac23$. I hope it is correct.",
        r"-\frac{2}{3}",
        True,
    ),
    ("HuggingFaceH4/MATH-500", r"Final Answer: The final answer is $\sqrt3$. I hope it is correct.", r"\sqrt{3}", True),
    (
        "HuggingFaceH4/MATH-500",
        "Final Answer: The final answer is $100,000$ dollars. I hope it is correct.",
        "100000",
        True,
    ),
    ("HuggingFaceH4/MATH-500", "Final Answer: The final answer is $x=5$. I hope it is correct.", "5", True),
    ("HuggingFaceH4/MATH-500", "Final Answer: The final answer is $17$. I hope it is correct.", "16", False),
    # mmlu_pro: answer is (X)
    *((source, "Let us see. The answer is (C).", "C", True) for source in MMLU),
    *((source, "The answer is C", "C", True) for source in MMLU),
    *((source, "The answer is (C).", "D", False) for source in MMLU),
    # bbh: "the answer is ...", case, commas and a final full stop are ignored
    ("SaylorTwift/bbh", "So the answer is (B).", "(B)", True),
    ("SaylorTwift/bbh", "So the answer is yes.", "Yes", True),
    ("SaylorTwift/bbh", "So the answer is fig pear, plum.", "fig pear plum", True),
    ("SaylorTwift/bbh", "So the answer is -35.", "-35", True),
    ("SaylorTwift/bbh", "So the answer is > }.", "> }", True),
    ("SaylorTwift/bbh", "So the answer is (A).", "(B)", False),
]


@pytest.mark.parametrize(("source", "response", "gold", "expected"), HARNESS)
def test_as_the_evaluation_harness(source, response, gold, expected):
    assert right(source, response, gold) == expected


def test_where_we_differ_from_the_evaluation_harness():
    # gsm8k's flexible-extract takes the last number of any text; a number is no answer to us.
    assert not right("openai/gsm8k", "I counted 41, or maybe 42", "42")
    # mmlu_pro takes the first "answer is"; we take the last, for models that correct themselves.
    assert right("TIGER-Lab/MMLU-Pro", "At first the answer is (A). No: the answer is (C).", "C")
    # bbh's word_sorting orders the words by their last mention anywhere; we read the final answer only.
    extra = {"task": "word_sorting"}
    assert not right("SaylorTwift/bbh", "fig, then plum, but I stop here because of time", "fig plum", extra)
