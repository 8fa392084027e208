"""The walk: rooms, doors, the environment's state, and which turns are right."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.agents.reward import compute_score, extract_answer
from recipes.agents.task import (
    DOORS,
    FREE,
    HARD_SIGNS,
    AgentSpec,
    Building,
    Problem,
    Room,
    Walk,
    call,
    generate_problems,
    read_problem,
    sample_conversation,
    split_of,
    tools_kwargs,
    turn_correctness,
)
from verl_gpo.agents import restores

PROBLEM = Problem(Building(78749, "!?---"))  # rooms 120!c, 181?c, 159-c, 253-a, 122-a, 129==


@pytest.mark.parametrize(
    ("room", "door"),
    [
        (Room(100, "-", "b"), "b"),
        (Room(100, "!", "b"), "c"),
        (Room(100, "!", "d"), "a"),
        (Room(100, "#", "b"), "d"),
        (Room(100, "$", "b"), "a"),
        (Room(100, "%", "b"), "c"),
        (Room(100, FREE, "b"), None),
    ],
)
def test_the_right_door(room, door):
    assert room.right_door == door


def test_the_right_way_by_hand():
    assert [str(room) for room in PROBLEM.right_rooms] == ["120!c", "181?c", "159-c", "253-a", "122-a", "129=="]
    assert (PROBLEM.right_path, PROBLEM.hard_turns, PROBLEM.answer) == ("d?caa", (0,), str(129 + 122))
    assert PROBLEM.prompt == "#78749 120!c"


def test_refused_calls_change_nothing():
    walk = Walk(*PROBLEM.building)
    for parameters in ({}, {"door": "e"}, {"door": "ab"}, {"door": ""}, {"door": 1}, {"door": None}, {"door": ["a"]}):
        assert walk.call("walk", parameters) == "no such door" and walk.snapshot() == ""
    for door in PROBLEM.right_path.replace(FREE, "b"):
        walk.call("walk", {"door": door})
    assert walk.call("walk", {"door": "a"}) == "no doors here" and walk.snapshot() == PROBLEM.right_path


@given(st.text(DOORS, max_size=4), st.text(DOORS, min_size=1, max_size=4))
def test_a_restored_walk_goes_on_where_the_snapshot_was_taken(before, after):
    walk = Walk(*PROBLEM.building)
    for door in before:
        walk.call("walk", {"door": door})
    state = walk.snapshot()
    seen = [walk.call("walk", {"door": door}) for door in after]
    other = Walk(*PROBLEM.building)
    other.restore(state)
    assert [other.call("walk", {"door": door}) for door in after] == seen
    assert restores(Walk) == "snapshot"


def test_all_doors_of_a_free_move_lead_to_one_room_and_of_any_other_to_different_ones():
    for path, count in (("d", 1), ("", 4), ("d?", 4)):
        rooms = set()
        for door in DOORS:
            walk = Walk(*PROBLEM.building)
            walk.restore(path)
            rooms.add(walk.call("walk", {"door": door}))
        assert len(rooms) == count


def test_a_conversation_without_slips_is_right_and_one_with_a_slip_never_is():
    spec = AgentSpec(n_moves=6, n_hard=2, n_free=2, n_signs=3)
    rng = random.Random(0)
    for problem in generate_problems(spec, 50, 0):
        turns = [one for one in sample_conversation(problem, rng, 0.0) if one["role"] == "assistant"]
        assert len(turns) == spec.n_turns and all(turn_correctness(problem, turns))
        assert compute_score("", turns[-1]["content"], problem.answer)["score"] == 1.0
        turns = [one for one in sample_conversation(problem, rng, 1.0) if one["role"] == "assistant"]
        assert turn_correctness(problem, turns).index(False) == problem.hard_turns[0]
        assert compute_score("", turns[-1]["content"], problem.answer)["score"] == 0.0


def test_turns_that_are_not_right():
    right = [call("walk", door=door) for door in PROBLEM.right_path.replace(FREE, "a")]
    right += [call("add", a=129, b=122), {"role": "assistant", "content": "The sum: 251"}]
    assert turn_correctness(PROBLEM, right) == [True] * 7
    assert turn_correctness(PROBLEM, right[:3]) == [True] * 3
    for k, wrong in (
        (0, call("walk", door="c")),
        (1, call("walk", door="e")),
        (2, call("add", a=1, b=2)),
        (2, {**call("walk", door="c"), "tool_calls": call("walk", door="c")["tool_calls"] * 2}),
        (5, call("add", a=122, b=129)),
        (6, {"role": "assistant", "content": "The sum: 250"}),
        (6, {"role": "assistant", "content": "251"}),
    ):
        found = turn_correctness(PROBLEM, [*right[:k], wrong, *right[k + 1 :]])
        assert found == [True] * k + [False] + [True] * (6 - k)
    assert turn_correctness(PROBLEM, [*right, right[-1]])[7:] == [False]


def test_problems_are_the_same_again_and_splits_are_disjoint():
    spec = AgentSpec()
    train = generate_problems(spec, 40, 0)
    assert train == generate_problems(spec, 50, 0)[:40] != generate_problems(spec, 40, 1)
    held_out = generate_problems(spec, 40, 0, "eval")
    assert {split_of(one.building.number) for one in held_out} == {"eval"}
    assert not {one.building.number for one in train} & {one.building.number for one in held_out}
    for problem in train:
        signs = problem.building.signs
        assert sum(sign in HARD_SIGNS for sign in signs) == signs.count(FREE) == 1 and len(signs) == 5
        assert read_problem({"extra_info": {"tools_kwargs": tools_kwargs(problem)}}) == problem


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_moves": 0}, "n_moves=0 is not allowed: it must be an integer from 1 to 12"),
        ({"n_moves": 3, "n_hard": 4}, "n_hard=4 is not allowed: it must be an integer from 0 to 3"),
        ({"n_free": 5}, "n_free=5 is not allowed: it must be an integer from 0 to 4"),
        ({"slip": 1}, "slip=1 is not allowed: it must be a number from 0 to 0.99"),
        ({"n_signs": 7}, "n_signs=7 is not allowed"),
        ({"n_moves": True}, "n_moves=True is not allowed"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AgentSpec(**settings)
    with pytest.raises(ValueError, match="split='dev' is not allowed"):
        generate_problems(AgentSpec(), 1, 0, "dev")


def test_what_is_known_of_a_spec():
    spec = AgentSpec(n_moves=5, n_hard=2, n_free=1, slip=0.5)
    assert (spec.root_success, spec.chance, spec.n_turns) == (0.25, 1 / 256, 7)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The sum: 251<|im_end|>", "251"),
        ("<tool_response>7</tool_response>\nThe sum: 251", "251"),
        ("The sum: 251<|im_end|>\n<tool_response>7</tool_response>\n", None),
        ("The sum: 251 or 7", None),
        ("The sum: 251\nThe sum: 7", None),
        ("<tool_response>251</tool_response>\n251", None),
        ("", None),
    ],
)
def test_only_the_last_turn_is_graded(text, answer):
    assert extract_answer(text) == answer
    assert compute_score("", text, "251") == dict.fromkeys(("score", "acc"), float(answer == "251"))
