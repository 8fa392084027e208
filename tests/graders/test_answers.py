"""Hand-made tricky answers and the verdict that each deserves."""

import pytest

from verl_gpo.graders import UnknownDataSource, compute_score
from verl_gpo.graders.extract import LONGEST, final_answer

BOX = r"\boxed{%s}"

# ground truth, what stands in the box, is it right?
MATH = [
    # fractions and mixed numbers
    (r"\frac{1}{2}", "1/2", True),
    (r"\frac{1}{2}", "0.5", True),
    (r"\frac{1}{2}", r"\dfrac12", True),
    (r"\frac{1}{2}", r"\frac{2}{4}", True),
    (r"\frac{1}{2}", r"-\frac{1}{2}", False),
    (r"-\frac{1}{2}", r"\frac{-1}{2}", True),
    (r"\frac{1}{3}", "0.333333", True),
    (r"\frac{1}{3}", "0.33", False),
    (r"\frac{3}{2}", r"1\frac{1}{2}", True),
    (r"\frac{3}{2}", "1 1/2", True),
    (r"\frac{3}{2}", r"\frac{11}{2}", False),
    (r"-\frac{3}{2}", r"-1\frac{1}{2}", True),
    ("1/0", "1/0", True),  # as text
    ("5", "5/0", False),
    # units, money, degrees
    ("5", r"5 \text{ cm}", True),
    ("5", "5 apples", True),
    ("5", "$5", True),
    ("5", r"\$5.00", True),
    (r"15\mbox{ cm}^2", "15", True),
    (r"15\mbox{ cm}^2", "16", False),
    ("90", r"90^\circ", True),
    (r"90^{\circ}", "90°", True),
    ("5", "5 million", False),
    ("5", "5 or 6", False),
    ("5", "5 to 6", False),
    ("5", "5x", False),
    # intervals, tuples, sets
    ("(1,2)", "(1, 2)", True),
    ("(1,2)", "[1,2]", False),
    ("[0,1)", r"\left[0,1\right)", True),
    ("[0,1)", "[0,1]", False),
    (r"(-\infty,2)\cup(3,\infty)", r"(-\infty, 2) \cup (3, \infty)", True),
    (r"(-\infty,2)\cup(3,\infty)", r"(-\infty,2)\cup(4,\infty)", False),
    (r"\{1,2,3\}", r"\{3, 1, 2\}", True),
    ("1,2", "2,1", True),
    ("1,2", "1", False),
    ("(3,4)", "(4,3)", False),
    # percentages
    (r"28\%", "28", True),
    (r"28\%", "0.28", True),
    (r"28\%", "28 percent", True),
    (r"28\%", "2.8", False),
    # spacing, thousands, signs
    (r"11,\!111,\!100", "11111100", True),
    ("1000000", "1,000,000", True),
    ("1000000", "1{,}000{,}000", True),
    ("1000000", "1 000 000", True),
    ("1000000", "1,000,00", False),
    ("-5", "−5", True),
    ("-5", "5", False),
    ("5", "+5", True),
    ("5", "5.", True),
    ("5", "5.0", True),
    ("5", "05", True),
    ("033", "33", True),
    ("0", "", False),
    # powers, roots, constants
    ("2^{-3}", r"\frac{1}{8}", True),
    ("2^{-3}", "-8", False),
    (r"10^{-8}", r"10^{-9}", False),
    ("3e-8", "4e-8", False),
    ("1.6e-19", r"1.6 \times 10^{-19}", True),
    (r"\sqrt{8}", r"2\sqrt{2}", True),
    (r"\sqrt{8}", r"2\sqrt{3}", False),
    (r"\sqrt3", r"\sqrt{3}", True),
    (r"2\pi", "6.283185", True),
    (r"2\pi", "6.28", False),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}", True),
    (r"1 \pm \sqrt{19}", r"1 \pm \sqrt{17}", False),
    ("3+4i", "4i+3", True),
    ("3+4i", "3-4i", False),
    (r"\frac{1}{2004!}", r"\frac{1}{2005!}", False),
    # formulas
    ("x^2-1", "(x-1)(x+1)", True),
    ("x^2-1", "x^2+1", False),
    ("x=5", "5", True),
    ("5", "x = 5", True),
    ("y = 2x", "y=2x", True),
    ("y = 2x", "y=3x", False),
    ("E_1+E_2", "E_1+E_3", False),
    # bases
    ("2516_8", "2516_{8}", True),
    ("2516_8", "2516", True),
    ("2516_8", "2516_9", False),
    # matrices
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", True),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", True),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}", False),
    # words
    (r"\text{even}", "even", True),
    (r"\text{even}", "Even", True),
    (r"\text{even}", "odd", False),
    (r"\text{(C)}", "C", True),
    (r"\text{(C)}", r"\textbf{(C)}", True),
    (r"\text{(C)}", "D", False),
    (r"\text{Evelyn}", r"\text{Evelyn}", True),
]


@pytest.mark.parametrize(("gold", "answer", "right"), MATH)
def test_mathematical_answers(gold, answer, right):
    result = compute_score("math_dapo", f"So it is ${BOX % answer}$.", gold)
    assert result["acc"] == result["score"] == float(right), result


# ground truth 7; whole responses
RESPONSES = [
    (r"\boxed{7}", True),
    (r"First \boxed{6}, no: \boxed{7}", True),
    (r"First \boxed{7}, no: \boxed{6}", False),
    (r"\boxed{6} and \boxed{7}", False),  # both, which is another answer
    (r"\boxed{7}\n\n**Final answer**\n\n\boxed{7}".replace("\\n", "\n"), True),
    (r"$\fbox{7}$", True),
    (r"\boxed 7", True),
    (r"\boxed{\boxed{7}}", True),
    (r"\boxed{7", False),  # cut off
    (r"\boxed{7} is wrong. It is \boxed{8", False),
    (r"\boxed{}", False),
    ("#### 7", True),
    ("#### $7", True),
    ("####7\n", True),
    ("#### Step 3\nhence\n#### 7", True),
    ("\\boxed{7}\n#### Check\nIt holds.", True),
    ("Answer: 7", True),
    ("**Answer:** 7.", True),
    ("The final answer is: $7$. I hope it is correct.", True),
    ("The answer is 7.", True),
    ("The answer is 7.5.", False),
    ("The answer is 6. No, the answer is 7.", True),
    ("Answer: 6\nAnswer: 7", True),
    ("Answer:\n7", True),
    ("<answer>7</answer>", True),
    ("<answer> \\boxed{7} </answer>", True),
    ("<think>Answer: 6</think><answer>7</answer>", True),
    ("<think>The answer is 7", False),  # never came to an answer
    ("<think>\\boxed{7}</think>I do not know.", False),
    ("<answer>7", False),
    ("I count 7 of them", False),  # no commitment
    ("7", False),
    ("", False),
]


@pytest.mark.parametrize(("response", "right"), RESPONSES)
def test_whole_responses(response, right):
    assert compute_score("openai/gsm8k", response, "7")["acc"] == float(right)


CHOICES = ["Oxygen", "Carbon dioxide", "Helium", "a noble gas"]
# ground truth B
LETTERS = [
    ("Answer: (B)", "B"),
    ("Answer: B", "B"),
    ("Answer: b", "B"),
    ("Answer: (b)", "B"),
    ("answer: B.", "B"),
    ("**Answer: B**", "B"),
    ("Answer: B. Carbon dioxide", "B"),
    ("Answer: (B) Carbon dioxide", "B"),
    ("Answer: carbon dioxide.", "B"),
    (r"\boxed{B}", "B"),
    (r"\boxed{\text{(B)}}", "B"),
    ("(A) is tempting, since plants give it off. The answer is (B).", "B"),
    ("The answer is B because plants take it in.", "B"),
    ("The correct answer is option B.", "B"),
    ("The best choice is hard to see.\nB", "B"),
    ("(B)", "B"),
    ("Not (B) after all. Answer: (C)", "C"),
    ("Answer: (A) and (B)", ""),
    ("Answer: A or B", ""),
    ("Answer: A, B", ""),
    ("The answer is a noble gas.", "D"),
    ("The answer is a matter of taste.", ""),
    ("Answer: (F)", ""),  # no such option
    ("I think it is the second", ""),
    ("", ""),
]


@pytest.mark.parametrize(("response", "letter"), LETTERS)
def test_letters(response, letter):
    result = compute_score("cais/mmlu", response, "B", {"metadata": {"choices": CHOICES}})
    assert result == {"score": float(letter == "B"), "acc": float(letter == "B"), "pred": letter}


def test_letters_beyond_d_and_the_pronoun():
    options = {"metadata": f'{{"choices": {[str(i) for i in range(10)]}}}'.replace("'", '"')}
    source = "TIGER-Lab/MMLU-Pro"
    assert compute_score(source, "The answer is (J).", "J", options)["acc"] == 1.0
    assert compute_score(source, "The answer is I.", "I", options)["acc"] == 1.0
    assert compute_score(source, "The answer is I think unclear.", "I", options)["acc"] == 0.0
    assert compute_score(source, "The answer is (K).", "K", options)["acc"] == 0.0


BBH = [
    ("date_understanding", "(B)", "So the answer is (B).", True),
    ("date_understanding", "(B)", "Answer: B", True),
    ("date_understanding", "(B)", "(A) is wrong.\nAnswer: (B) 06/01/2021", True),
    ("date_understanding", "(B)", "Answer: (C)", False),
    ("movie_recommendation", "Monsters, Inc", "Answer: Monsters, Inc.", True),
    ("movie_recommendation", "Monsters, Inc", "Answer: (A)", False),
    ("navigate", "Yes", "Answer: yes", True),
    ("navigate", "Yes", "Answer: Yes, it does.", True),
    ("navigate", "Yes", "No.", False),
    ("navigate", "No", "Take steps back.\nNo", True),
    ("web_of_lies", "No", "Answer: not sure", False),
    ("sports_understanding", "no", "Answer: No", True),
    ("boolean_expressions", "False", "Answer: `False`", True),
    ("boolean_expressions", "False", r"\boxed{\text{False}}", True),
    ("boolean_expressions", "True", "Answer: False", False),
    ("formal_fallacies", "valid", "The argument is deductively valid.\nAnswer: valid", True),
    ("formal_fallacies", "valid", "Answer: invalid", False),
    ("formal_fallacies", "valid", "Answer: not valid", False),
    ("object_counting", "8", "Answer: 8 fruits", True),
    ("object_counting", "8", "Answer: eight", True),
    ("object_counting", "8", "Answer: 9", False),
    ("multistep_arithmetic_two", "-35", "Answer: -35", True),
    ("multistep_arithmetic_two", "-35", "Answer: 35", False),
    ("word_sorting", "at&t fig plum", "Answer: at&t, fig, plum", True),
    ("word_sorting", "at&t fig plum", "<answer>\n1. at&t\n2. fig\n3. plum\n</answer>", True),
    ("word_sorting", "at&t fig plum", "Answer: AT&T fig plum", True),
    ("word_sorting", "at&t fig plum", "Answer: fig at&t plum", False),
    ("word_sorting", "at&t fig plum", "Answer: at&t fig", False),
    ("dyck_languages", "] )", "Answer: ])", True),
    ("dyck_languages", "] )", "Answer: ( [ ] )", True),  # the question's part repeated
    ("dyck_languages", "] )", "Answer: ) ]", False),
    ("dyck_languages", "] )", "Answer: close ] and )", False),
]


@pytest.mark.parametrize(("task", "gold", "response", "right"), BBH)
def test_bbh(task, gold, response, right):
    extra = {"task": task, "question": "Complete the rest of the sequence. Input: ( ["}
    assert compute_score("SaylorTwift/bbh", response, gold, extra)["acc"] == float(right)


def test_reasoning_gym_without_the_package_is_exact_match(monkeypatch):
    from verl_gpo.graders import gym

    monkeypatch.setattr(gym, "installed", lambda: False)
    source, extra = "reasoning_gym/leg_counting", {"task": "leg_counting", "metadata": '{"entry": "{}"}'}
    assert compute_score(source, "<answer>_ Q\nQ _</answer>", "_ Q\nQ _", extra)["score"] == 1.0
    assert compute_score(source, "<answer>291</answer>", "292", extra)["score"] == 0.0


def test_unknown_sources_and_odd_values():
    with pytest.raises(
        UnknownDataSource, match="data_source='nosuch' has no grader: known are .*cais/mmlu.*openai/gsm8k"
    ):
        compute_score("nosuch", "Answer: 1", "1")
    assert compute_score("openai/gsm8k", None, "1") == {"score": 0.0, "acc": 0.0, "pred": ""}
    assert compute_score("openai/gsm8k", "#### 1", 1, None, reward_router_address="x")["acc"] == 1.0
    for metadata in ("not JSON", "[1]", 5, None):
        assert compute_score("cais/mmlu", "Answer: (B)", "B", {"metadata": metadata})["acc"] == 1.0
    result = compute_score("openai/gsm8k", "Answer: \ud800\0 1", "2")
    assert "\0" not in result["pred"] and result["pred"].encode()
    assert len(compute_score("openai/gsm8k", f"Answer: {'9' * 500}", "2")["pred"]) == 200


def test_only_the_end_is_read_and_long_answers_are_none():
    assert final_answer("\\boxed{1}" + " " * 10**7 + "\\boxed{2}") == "2"
    assert final_answer("\\boxed{1}" + "x" * 10**6) == ""
    assert final_answer("\\boxed{" + "1" * (LONGEST + 1) + "}") == ""
