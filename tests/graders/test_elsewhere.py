"""Our verdicts beside those that others publish, and why they differ where they do.

Taken as facts from the tests of math-verify (0.9), of the MATH data set (github.com/hendrycks/math) and of NeMo-Skills,
and from the tasks of lm-evaluation-harness (0.4).
"""

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
    ("(11,7), (7,11)", r"(7,11),\ (11,7)", True),
    ("(p,q,r)=(3,2,7)", "(3,2,7)", True),
    ("-793 < a < 10", "(-793, 10)", True),
    (r"0.06 \text{ yuan}", "0.06", True),
    ("19, 46, and 82", r"19, 46, \text{ and } 82", True),
    ("19, 46, and 82", "21, 36, and 82", False),
    ("32349", r"32,\! 349", True),
    ("32349", "32, 349", False),
    ("21,16, or 11", "21,16,11", True),
    ("2,3,5,7,13", r"\{2, 3, 5, 7, 13\}", True),
    ("a=4,-8,-10", "-10,-8,4", True),
    ("a_3 = 2, a_{37} = 19", r"a_{37} = 19, \quad a_3 = 2", True),
    (r"p = -1 \text{ and } p = \dfrac{15}{8}", r"p=-1,p=\frac{15}{8}", True),
    ("x = -5, p = 1", "-5, 1", True),
    (r"\frac{NO}{BO}=\frac{1}{\sqrt{6}}", r"\frac{1}{\sqrt{6}}", True),
    ("A:B=1", "1", True),
    ("|AB|=1", "1", True),
    ("x^2/4 + y^2/3 = 1", "x^2/16 + y^2/12 = 1/4", True),
    (r"F_n = \sum_{k=0}^{n-1} F_k F_{n-k-1}", r"F_n = \sum_{k=0}^{n-2} F_k F_{n-k-2}", False),
    ("4", r"4\sqrt{2}", False),
    (r"x \neq 5", "x != 5", True),
    (r"\{-1\} \cup [0,7)", r"x \in \{-1\} \cup [0,7)", True),
    (r"\frac{1}{12}", "0.0833333333333333", True),
    ("1/3", r"x=1/3\approx1.3", True),
    ("28/100", "28", False),
    ("2", "1,2", False),
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
    ("1,22", "1.22", True, "likewise"),
    (r"x \in [-2,7]", r"-2 \le x \le 7", False, "it compares a range with a set in one direction only"),
    ("p=5,q=2;p=7,q=2", "(5,2),(7,2)", True, "we do not collect the values of a semicolon's parts into pairs"),
    ("(1,3)", "{1,3}", True, "braces that print nothing leave a list, and the ground truth is a point or an interval"),
    (r"1 = z = x = 0", "0", True, "the ground truth contradicts itself"),
    (r"(\frac{3}{5},\frac{8}{3}]", "(0.6,2.6667]", True, "its test asks for 2 places, we for 6 digits"),
]


@pytest.mark.parametrize(("gold", "answer", "expected"), MATH_VERIFY)
def test_as_math_verify(gold, answer, expected):
    assert right("math_dapo", rf"\boxed{{{answer}}}", gold) == expected


@pytest.mark.parametrize(("gold", "answer", "theirs", "why"), DIFFERENT)
def test_where_we_differ_from_math_verify(gold, answer, theirs, why):
    assert right("math_dapo", rf"\boxed{{{answer}}}", gold) != theirs, why


#: Ground truth, answer, and what the tests of the MATH data set's own comparison expect.
HENDRYCKS = [
    (r"\tfrac{1}{2} + \frac1{72}", r"\frac{1}{2} + 2/3", False),
    ("10, 4, 2", "4, 12, 2", False),
    (r"\tfrac{1}{2} +\! \frac1{72}", r"\dfrac{1}{2} +\frac{1}{72}", True),
    (r"10\text{ units}", "10 ", True),
    (r"10\text{ units}", "100 ", False),
    ("10", r"\$10", True),
    (r"\left(x-2\right)\left(x+2\right)", "(x-2)(x+2)", True),
    ("0.1", ".1", True),
    (r"10\%", "10", True),
    (r"10\sqrt{3} + \sqrt4", r"10\sqrt3 + \sqrt{4}", True),
    (r"\frac34i", r"\frac{3}{4}i", True),
    (r"\tfrac83", r"\frac{8}{3}", True),
    ("5x - 7y + 11z + 4 = 0", "x + y - z + 2 = 0", False),
    ("1/2", r"\frac{1}{2}", True),
]
#: What the tests of NeMo-Skills' comparison expect, in both directions.
NEMO_SKILLS = [
    ("5", "5.0", True),
    ("5", "5.001", False),
    (r"\frac {1}{2}", "0.5", True),
    (r"918\frac{1}{2}", "918.5", True),
    ("x^2+2x+1", "x^2 + 2*x - (-1)", True),
    ("x^2+2x+1", "x^3+2x+1", False),
    ("y = x^2+2x+1", "2x+ 1+x^2", True),
    ("odd", r"\text{odd}", True),
    ("odd", r"\text{oddd}", False),
    ("E", r"\mathrm{E}", True),
    ("E", r"\mathrm{E}*2", False),
    ("A", r"\textbf{A}", True),
    ("f'", "f'", True),
    ("185", "185\\", True),
    (r"17\text{ any text}", "17", True),
    ("10%", "10", True),
    ("(r+5)(r+5)", "(r+5)^2", True),
    (r"\frac{\sqrt{3}}{3}", r"\frac{\sqrt{3}}{3} \approx 0.577", True),
    (r"\sqrt{67},-\sqrt{85}", r"\sqrt{67}", False),
    (r"\begin{pmatrix}0&0\\0&1\end{pmatrix}", r"\begin{bmatrix} 0 & 0 \\ 0 & 1 \end{bmatrix}", True),
]


@pytest.mark.parametrize(("gold", "answer", "expected"), HENDRYCKS)
def test_as_the_math_data_set(gold, answer, expected):
    assert right("math_dapo", rf"\boxed{{{answer}}}", gold) == expected


@pytest.mark.parametrize(("gold", "answer", "expected"), NEMO_SKILLS)
def test_as_nemo_skills(gold, answer, expected):
    assert right("math_dapo", rf"\boxed{{{answer}}}", gold) == expected
    assert right("math_dapo", rf"Answer: {gold}", answer) == expected


def test_where_we_differ_from_the_math_data_set_and_nemo_skills():
    # The data set's comparison is of text: it keeps the order. The questions ask for all values, in no order.
    for gold, answer in (("10, 4, -2", "4, 10, -2"), ("0.1, 4, 2", "4, .1, 2")):
        assert right("math_dapo", rf"\boxed{{{answer}}}", gold), "its verdict is wrong"
    # NeMo-Skills also takes "C. x = 42" for a ground truth and C for the answer; no ground truth looks like it.
    assert right("math_dapo", r"\boxed{C. x = 42}", "C") and not right("math_dapo", r"\boxed{C}", "C. x = 42")


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
