"""Solutions of the reasoning-gym tasks, line by line: by hand, and against arithmetic done another way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.gym.tasks import ANSWER, TASKS, response, solve_chain_sum, solve_count_bits, task_named


def never():
    return False


def always():
    return True


def texts(lines):
    return [line.text for line in lines]


def hard(lines):
    return [k for k, line in enumerate(lines) if line.is_hard]


def test_a_chain_sum_by_hand():
    metadata = {"expression": "9 + 8 + 1 - 9 - 9 + 0 - 1 + 3"}
    right = solve_chain_sum(metadata, never)
    assert texts(right) == ["+09", "+17", "+18", "+09", "+00", "+00", "-01", "+02", "Answer: +02"]
    assert hard(right) == [1, 3, 6, 7]
    slipped = solve_chain_sum(metadata, always)
    assert texts(slipped) == ["+09", "+07", "+08", "+01", "+08", "+08", "+07", "+00", "Answer: +00"]
    assert hard(slipped) == [1, 3, 4, 7]  # the steps of its own wrong totals


@pytest.mark.parametrize(
    ("expression", "right", "slipped"),
    [
        ("9 + 8 + 5", ["+17", "+22"], ["+07", "+02"]),
        ("9 + 9 - 9", ["+18", "+09"], ["+08", "+01"]),
        ("3 - 7 + 9", ["-04", "+05"], ["+04", "+03"]),
        ("0 - 6 - 7", ["-06", "-13"], ["+06", "+01"]),
    ],
)
def test_a_slip_forgets_the_carry_the_borrow_or_the_sign(expression, right, slipped):
    metadata = {"expression": expression}
    assert texts(solve_chain_sum(metadata, never))[1:-1] == right
    assert texts(solve_chain_sum(metadata, always))[1:-1] == slipped


@given(
    terms=st.lists(st.integers(0, 9), min_size=8, max_size=8),
    signs=st.lists(st.sampled_from("+-"), min_size=7, max_size=7),
)
def test_chain_sums_are_right_and_slips_are_wrong(terms, signs):
    words = [str(terms[0]), *(word for pair in zip(signs, map(str, terms[1:]), strict=True) for word in pair)]
    metadata = {"expression": " ".join(words)}
    lines = solve_chain_sum(metadata, never)
    totals = [eval(" ".join(words[: 2 * k + 1])) for k in range(8)]
    assert texts(lines) == [*(f"{total:+03d}" for total in totals), f"{ANSWER}{totals[-1]:+03d}"]
    # One slip, at the last hard step: no later step can mend it.
    places = hard(lines)
    coins = [False] * (len(places) - 1) + [True]
    if places:
        other = solve_chain_sum(metadata, lambda: coins.pop(0) if coins else False)
        assert texts(other)[: places[-1]] == texts(lines)[: places[-1]]
        assert texts(other)[places[-1]] != texts(lines)[places[-1]]
    else:
        assert texts(solve_chain_sum(metadata, always)) == texts(lines)


def test_ones_counted_by_hand():
    metadata = {"number": 0b10111}
    lines = solve_count_bits(metadata, never)
    assert texts(lines) == ["0023  0", "0011  1", "0005  2", "0002  3", "0001  3", "0000  4", "Answer: 4"]
    assert hard(lines) == [1, 2]
    slipped = solve_count_bits(metadata, always)
    assert texts(slipped) == ["0023  0", "0011  0", "0005  0", "0002  1", "0001  1", "0000  2", "Answer: 2"]


@given(number=st.integers(1, 9999))
def test_ones_are_counted_right_and_slips_merge_neighbours(number):
    binary = f"{number:b}"
    lines = solve_count_bits({"number": number}, never)
    assert len(lines) == len(binary) + 2
    for k, line in enumerate(lines[:-1]):
        assert line.text == f"{number >> k:04d} {binary[len(binary) - k :].count('1'):2d}"
    assert lines[-1].text == f"Answer: {number.bit_count()}"
    runs = [run for run in binary.split("0") if run]
    assert len(hard(lines)) == sum(len(run) - 1 for run in runs)
    assert solve_count_bits({"number": number}, always)[-1].text == f"Answer: {len(runs)}"


def test_a_response_is_lines():
    assert response(solve_count_bits({"number": 2}, never)) == "0002  0\n0001  0\n0000  1\nAnswer: 1"


def test_an_unknown_task_is_named_with_those_that_are_known():
    assert [task_named(name).name for name in TASKS] == ["chain_sum", "count_bits"]
    with pytest.raises(ValueError, match="task='nosuch' is not allowed: it must be one of chain_sum, count_bits"):
        task_named("nosuch")
