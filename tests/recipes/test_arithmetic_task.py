"""The arithmetic task: hand-computed problems, invariants, values and spec errors."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes import distinct
from recipes.arithmetic.task import (
    HARD_DIGITS,
    HARD_SIGNS,
    LABELS,
    MARKS,
    ArithmeticSpec,
    Operation,
    generate_problems,
    hard_positions,
    parse_problem,
    sample_solution,
    step_correctness,
    true_values,
)
from recipes.distinct import split_of

# 417 + 385 -> 792 (4+3, 1+8, 7+5=12); 792 * 379 -> 138 (7*3=21, 9*7=63, 2*9=18); 138 + 120 -> 258;
# 258 * 739 -> 452 (2*7=14, 5*3=15, 8*9=72). Slips: 792 + 379 -> 061; 258 + 739 -> 987.
PROMPT = "a+385 b*379 c+120 d*739 417"
RIGHT = "a+792\nb*138\nc+258\nd*452\n= 452"
SLIP_B = "a+792\nb+061\nc+181\nd*749\n= 749"  # 061 + 120 -> 181; 181 * 739 -> 7, 24, 9 -> 749
PROBLEM = parse_problem(PROMPT)

specs = st.builds(
    ArithmeticSpec,
    n_steps=st.integers(4, 26),
    n_hard=st.integers(0, 4),
    hard_place=st.sampled_from(["early", "late", "spread", "random"]),
    slip=st.floats(0, 0.9),
    digits=st.integers(3, 5),
    n_signs=st.integers(1, len(HARD_SIGNS)),
)


def test_hand_computed_problem():
    assert PROBLEM.start == (4, 1, 7)
    assert PROBLEM.prompt == PROMPT
    assert "\n".join(PROBLEM.right_lines) == RIGHT
    assert PROBLEM.answer == "452"
    assert PROBLEM.hard_steps == (1, 3)


def test_every_second_of_several_signs_means_to_add():
    # 417 + 385 -> 792; 792 ! 379 multiplies -> 138; 138 # 739 adds -> 867. Slips: 792 + 379 -> 061;
    # 061 * 739 -> 089 (0*7, 6*3=18, 1*9).
    problem = parse_problem("a+385 b!379 c#739 417")
    assert problem.hard_steps == (1, 2)
    assert problem.right_lines == ("a+792", "bA138", "cD867", "= 867")
    slipped = sample_solution(problem, random.Random(0), 0.999)
    assert slipped == "a+792\nbB061\ncC089\n= 089"
    assert step_correctness(problem, slipped) == [True, False, False, False]
    # The value decides, not the mark that is reported; another sign's mark is none of this line's.
    assert step_correctness(problem, "a+792\nbB138\ncC867\n= 867") == [True] * 4
    assert step_correctness(problem, "a+792\nbC138") == [True, False]


def test_signs_of_a_spec():
    seen = [
        {o.sign for p in generate_problems(ArithmeticSpec(n_signs=n), 200, 0) for o in p.operations if o.is_hard}
        for n in (1, 5, len(HARD_SIGNS))
    ]
    assert seen == [{"*"}, set(HARD_SIGNS[:5]), set(HARD_SIGNS)]
    assert HARD_SIGNS.isascii() and not any(sign.isalnum() for sign in HARD_SIGNS)
    signs = [*HARD_SIGNS, "*", "+", "=", " "]
    assert len(set(signs)) == len(signs)
    marks = [mark for sign in HARD_SIGNS for mark in MARKS[sign]]
    assert len(set(marks)) == len(marks) and not set(marks) & set(LABELS[:26])


def test_folders_of_one_sign_keep_their_name():
    assert "n_signs" not in ArithmeticSpec().to_dict()
    assert ArithmeticSpec(n_signs=2).to_dict() == ArithmeticSpec().to_dict() | {"n_signs": 2}


def test_solutions_by_slip():
    rng = random.Random(0)
    assert sample_solution(PROBLEM, rng, 0.0) == RIGHT
    drawn = {sample_solution(PROBLEM, rng, 0.5) for _ in range(200)}
    assert len(drawn) == 4 and {RIGHT, SLIP_B} <= drawn
    shares = [sample_solution(PROBLEM, rng, 0.25) == RIGHT for _ in range(4000)]
    assert abs(sum(shares) / 4000 - 0.75**2) < 0.04


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("", []),
        ("\n", []),
        (RIGHT, [True] * 5),
        (RIGHT + "\n", [True] * 5),
        (SLIP_B, [True, False, False, False, False]),
        ("a+792\nb+138", [True, True]),  # the value decides, not the sign that is reported
        ("a+792\nb*13", [True, False]),
        ("a+792\nc+258", [True, False]),
        (RIGHT + "\n= 452", [True] * 5 + [False]),
        ("a+792\n\nb*138", [True, False, False]),
    ],
)
def test_step_correctness(response, expected):
    assert step_correctness(PROBLEM, response) == expected


def test_true_values_by_hand():
    right = true_values(PROBLEM, RIGHT, 0.8)
    assert right.values == pytest.approx((0.64, 0.64, 0.8, 0.8, 1.0, 1.0))
    assert right.advantages == pytest.approx((0, 0.16, 0, 0.2, 0))
    assert (right.loses_most, right.gains_most) == (None, 3)
    wrong = true_values(PROBLEM, SLIP_B, 0.8)
    assert wrong.values == pytest.approx((0.64, 0.64, 0, 0, 0, 0))
    assert wrong.advantages == pytest.approx((0, -0.64, 0, 0, 0))
    assert (wrong.loses_most, wrong.gains_most) == (1, None)
    late = true_values(PROBLEM, RIGHT.replace("d*452\n= 452", "d+987\n= 987"), 0.8)
    assert late.values == pytest.approx((0.64, 0.64, 0.8, 0.8, 0, 0))
    assert (late.loses_most, late.gains_most) == (3, 1)
    cut = true_values(PROBLEM, "a+792\nb*138", 0.8)
    assert cut.values == pytest.approx((0.64, 0.64, 0.8))
    empty = true_values(PROBLEM, "", 0.8)
    assert (empty.values, empty.advantages) == (pytest.approx((0.64,)), ())
    assert (empty.loses_most, empty.gains_most) == (None, None)
    with pytest.raises(ValueError, match="p_hard=1.5"):
        true_values(PROBLEM, RIGHT, 1.5)


def test_every_operation_is_a_bijection_and_a_slip_is_wrong_in_every_digit():
    for digit in range(10):
        for sign, allowed in (("+", range(10)), ("*", HARD_DIGITS), ("!", HARD_DIGITS), ("#", HARD_DIGITS)):
            for operand in allowed:
                operation = Operation("a", sign, (operand,))
                assert len({operation.right((s,)) for s in range(10)}) == 10
                if sign != "+":
                    assert operation.right((digit,)) != operation.slipped((digit,))
    with pytest.raises(ValueError, match="step a is easy"):
        Operation("a", "+", (1, 2, 3)).slipped((0, 0, 0))


@settings(max_examples=40)
@given(spec=specs, seed=st.integers(0, 10_000))
def test_generated_problems(spec, seed):
    problems = generate_problems(spec, 3, seed)
    assert problems == generate_problems(spec, 5, seed)[:3]
    for problem in problems:
        assert parse_problem(problem.prompt) == problem
        assert len(problem.operations) == spec.n_steps
        assert len(problem.hard_steps) == spec.n_hard
        assert len(problem.right_lines) == spec.n_steps + 1
        for operation in problem.operations:
            assert any(operation.operand) and (not operation.is_hard or set(operation.operand) <= set(HARD_DIGITS))
        assert all(step_correctness(problem, "\n".join(problem.right_lines)))


@settings(max_examples=25)
@given(spec=specs, seed=st.integers(0, 10_000))
def test_no_slip_is_ever_undone(spec, seed):
    (problem,) = generate_problems(spec, 1, seed)
    right = problem.right_states
    for pattern in itertools.product([False, True], repeat=spec.n_hard):
        slips = {step for step, slipped in zip(problem.hard_steps, pattern, strict=True) if slipped}
        state = problem.start
        for k, operation in enumerate(problem.operations):
            state = operation.slipped(state) if k in slips else operation.right(state)
            assert (state == right[k]) == (not any(step <= k for step in slips))


def test_hard_places():
    rng = random.Random(0)
    assert hard_positions(ArithmeticSpec(8, 3, "early"), rng) == (0, 1, 2)
    assert hard_positions(ArithmeticSpec(8, 3, "late"), rng) == (5, 6, 7)
    assert hard_positions(ArithmeticSpec(8, 3, "spread"), rng) == (1, 4, 6)
    assert hard_positions(ArithmeticSpec(8, 8, "spread"), rng) == tuple(range(8))
    assert hard_positions(ArithmeticSpec(8, 0, "spread"), rng) == ()
    drawn = {hard_positions(ArithmeticSpec(8, 3, "random"), rng) for _ in range(300)}
    assert len(drawn) > 40 and all(len(set(p)) == 3 and list(p) == sorted(p) for p in drawn)


def test_splits_are_disjoint_and_distinct():
    spec = ArithmeticSpec()
    train = [p.prompt for p in generate_problems(spec, 300, 0)]
    held_out = [p.prompt for p in generate_problems(spec, 100, 1, "eval")]
    assert len(set(train)) == 300 and len(set(held_out)) == 100
    assert {split_of(p) for p in train} == {"train"} and {split_of(p) for p in held_out} == {"eval"}


def test_too_few_problems_to_draw(monkeypatch):
    # One hard step on one operation: 27 operands, 1000 starts, one in eight held out.
    monkeypatch.setattr(distinct, "PATIENCE", 300)
    with pytest.raises(ValueError, match="n=4000 is not allowed: only"):
        generate_problems(ArithmeticSpec(1, 1), 4000, 0, "eval")


def test_root_success_range():
    assert ArithmeticSpec(8, 3, "spread", 0.25).root_success == pytest.approx(0.421875)
    assert ArithmeticSpec(24, 8, "spread", 0.38).root_success < 0.022
    assert ArithmeticSpec(8, 2, "spread", 0.225).root_success > 0.6
    (problem,) = generate_problems(ArithmeticSpec(24, 8, "early"), 1, 0)
    assert len(problem.operations) == 24


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_steps", 0),
        ("n_steps", 53),
        ("n_steps", 8.0),
        ("n_steps", True),
        ("n_hard", -1),
        ("n_hard", 9),
        ("hard_place", "middle"),
        ("slip", 1.0),
        ("slip", -0.1),
        ("slip", "often"),
        ("digits", 2),
        ("digits", 7),
        ("n_signs", 0),
        ("n_signs", 14),
    ],
)
def test_spec_errors_name_field_value_and_what_is_allowed(field, value):
    with pytest.raises(ValueError, match=f"^{field}={value!r} is not allowed: it must be"):
        ArithmeticSpec(**{field: value})


def test_labels_and_marks_of_several_signs_are_different_letters():
    assert ArithmeticSpec(27).n_steps == 27
    with pytest.raises(ValueError, match="n_steps=27 is not allowed: it must be an integer from 1 to 26"):
        ArithmeticSpec(27, n_signs=2)


@pytest.mark.parametrize(
    "prompt", ["", "417", "a+385", "b+385 417", "a-385 417", "a+38 417", "a+385  417", "a+385 41x"]
)
def test_parse_refuses_other_text(prompt):
    with pytest.raises(ValueError, match="is not a problem such as"):
        parse_problem(prompt)


def test_split_and_count_errors():
    with pytest.raises(ValueError, match="split='test' is not allowed: it must be one of train, eval"):
        generate_problems(ArithmeticSpec(), 1, 0, "test")
    with pytest.raises(ValueError, match="n=-1 is not allowed"):
        generate_problems(ArithmeticSpec(), -1, 0)
