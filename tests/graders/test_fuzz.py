"""No string crashes a grader or keeps it busy.

    VERL_GPO_FUZZ=10000 python -m pytest tests/graders/test_fuzz.py -s

runs that many; a plain test run does a few hundred.
"""

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from verl_gpo.graders import compute_score

EXAMPLES = int(os.environ.get("VERL_GPO_FUZZ", 200))
#: Wall-clock seconds for one string: the pool's limit in these tests is 1 CPU second, then a worker may have to start.
BOUND = 30.0

#: data_source, ground truth, extra_info
ROWS = [
    ("math_dapo", "34", None),
    ("HuggingFaceH4/MATH-500", r"\frac{\sqrt{3}}{2}", None),
    ("HuggingFaceH4/MATH-500", r"\left(-\infty, 2\right) \cup [3,4)", None),
    ("DigitalLearningGmbH/MATH-lighteval", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", {}),
    ("math-ai/minervamath", "1.6e-19", {"metadata": ""}),
    ("openai/gsm8k", "1250", {"metadata": "{}"}),
    ("cais/mmlu", "B", {"metadata": {"choices": ["1", "2", "3", "4"]}}),
    ("TIGER-Lab/MMLU-Pro", "J", None),
    ("SaylorTwift/bbh", "(C)", {"task": "snarks", "question": "Options:\n(A) x\n(B) y\n(C) z"}),
    ("SaylorTwift/bbh", "] ) >", {"task": "dyck_languages", "question": "Input: < ( ["}),
    ("SaylorTwift/bbh", "fig pear plum", {"task": "word_sorting"}),
    ("SaylorTwift/bbh", "No", {}),
    ("reasoning_gym/leg_counting", "292", {"task": "leg_counting"}),
]

#: Answers that take forever, or a lot of memory, to evaluate.
BOMBS = [
    "9^9^9^9",
    "9^{9^{9^{9}}}",
    "9**9**9**9",
    r"10^{10^{10}}",
    r"99999999!",
    r"((((9!)!)!)!)!",
    r"\binom{10^9}{5\cdot 10^8}",
    r"\sum_{k=1}^{10^{12}} \frac{1}{k^{k}}",
    r"\int_0^1 \sin(x^{x^{x}}) e^{x!} dx",
    r"\prod_{n=1}^{\infty} (1+x^{n!})",
    r"\lim_{x \to 0} \frac{\sin(\tan x)-\tan(\sin x)}{x^{77}}",
    r"\left(x+y+z+w+1\right)^{400}",
    "+".join(rf"\sqrt{{x_{{{i}}}^2+{i}}}" for i in range(40)),
]
NASTY = [
    "\0",
    "\\",
    "$" * 5000,
    "{" * 5000,
    "}" * 5000,
    "\\boxed{" * 3000,
    "\\boxed{" + "{" * 500 + "1" + "}" * 500 + "}",
    "\\boxed{" + r"\frac{" * 200 + "1" + "}{2}" * 200 + "}",
    r"\boxed{\frac{\frac}",
    r"\boxed{\sqrt[\sqrt[\sqrt[}",
    r"\boxed{\begin{pmatrix} 1 & \begin{cases} }",
    "\\boxed{" + "(" * 400 + ")" * 400 + "}",
    "\\boxed{" + "-" * 400 + "1}",
    "\\boxed{" + "1/" * 250 + "1}",
    "Answer: " + "9" * 100_000,
    "Answer:" * 20_000,
    "answer is " * 20_000,
    "<answer>" * 20_000,
    "#### " * 20_000,
    "\n" * 1_000_000,
    "a" * 10_000_000,
    "\\boxed{1} " * 1_000_000,
    "😀" * 1_000_000,
    "\ud800\udfff\boxed",
    "(A) " * 100_000,
    "\\boxed{1e999999999}",
    "\\boxed{0.\\overline{3}}",
    "\\boxed{1,000,,000}",
    "\\boxed{\\text{" + "yes " * 300 + "}}",
    "\\boxed{[1,[2,[3,[4]]]]}",
    "\\boxed{__import__('os').abort()}",
]

_PIECES = """
\frac{1}{2} \sqrt{x} \pi \infty \cup \pm \cdot \times \left( \right) \text{cm} ^ _ { } ( ) [ ] , . = < > ! | & %
\boxed{ \begin{pmatrix} \end{pmatrix} \\ $ \( \) #### Answer: <answer> </answer> <think> </think> (A) B yes no … ½
0 1 2 -3 0.5 1,000 1e5 \sin \log_2 \sum_{i=1}^n \int_0^1 x y E i e \le \in \mathbb{R} ^\circ True 10^{ ^{-1} \
"""
_PIECES = [*_PIECES.split(), " ", "\n", "\t", "\0", "answer is "]
_LATEX = st.lists(st.sampled_from(_PIECES), max_size=25).map("".join)


@st.composite
def _mutated(draw):
    """A right answer with a few characters changed, doubled or lost."""
    text = list(draw(st.sampled_from(ROWS))[1])
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 2))] = draw(st.sampled_from([*_PIECES, "{", "}", "\\", "9"]))
    return "".join(text)


_ANSWERS = st.one_of(_LATEX, _mutated(), st.text(max_size=60))
_FRAMES = st.sampled_from(
    [r"So \boxed{%s}.", "#### %s", "Answer: %s", "<answer>%s</answer>", "The answer is %s.", "%s"]
)
_RESPONSES = st.builds(lambda frame, answer: frame.replace("%s", answer), _FRAMES, _ANSWERS)


SECONDS: list[float] = []


@pytest.fixture(scope="module", autouse=True)
def _say_how_many():
    yield
    print(f"\n{len(SECONDS)} strings graded, the slowest in {max(SECONDS):.1f} s, all in {sum(SECONDS):.0f} s")


def grade_in_time(row, response):
    source, gold, extra = row
    began = time.monotonic()
    result = compute_score(source, response, gold, extra)
    SECONDS.append(time.monotonic() - began)
    assert SECONDS[-1] < BOUND
    assert list(result) == ["score", "acc", "pred"]
    assert [type(value) for value in result.values()] == [float, float, str]
    assert 0.0 <= result["acc"] <= result["score"] <= 1.0 or result["acc"] == 0.0
    assert len(result["pred"].encode()) <= 800  # 200 characters that can be encoded
    return result


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
@given(row=st.sampled_from(ROWS), response=_RESPONSES)
def test_any_string(row, response):
    grade_in_time(row, response)


@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_nasty_strings(nasty):
    for row in ROWS if EXAMPLES > 200 else ROWS[::2]:
        assert grade_in_time(row, nasty)["acc"] == 0.0


@pytest.mark.parametrize("bomb", BOMBS if EXAMPLES > 200 else BOMBS[:6], ids=str)
def test_bombs(bomb):
    for row in ROWS[:4] if EXAMPLES > 200 else ROWS[:1]:
        assert grade_in_time(row, rf"\boxed{{{bomb}}}")["acc"] == 0.0
