"""The solutions that the model is supervised on, by hand, and what the reward says of them."""

import pytest

from recipes.smollm2 import tasks

pytest.importorskip("reasoning_gym")


def test_legs_are_counted_line_by_line():
    solution = tasks.count_legs({"animals": {"sea slug": 3, "cat": 2, "spider": 11}})
    assert solution == (
        "sea slug: 0 legs, 3 x 0 = 0, total 0\n"
        "cat: 4 legs, 2 x 4 = 8, total 8\n"
        "spider: 8 legs, 11 x 8 = 88, total 96\n"
        "Answer: 96"
    )


@pytest.mark.parametrize(
    "cot, value, expected",
    [
        (
            "He has 2 x 3 = 6.0 eggs. \nHe sells 6.0 - 1 = 5.0.\n#### 5.0",
            5.0,
            "He has 2 x 3 = 6 eggs.\nHe sells 6 - 1 = 5.\nAnswer: 5",
        ),
        ("Half is 0.50 of 10.05, 5.025\n#### 2", 2, "Half is 0.50 of 10.05, 5.025\nAnswer: 2"),
        ("It is 2.5\n#### 2.5", 2.5, "It is 2.5\nAnswer: 2.5"),
    ],
)
def test_a_word_problem_keeps_its_sentences(cot, value, expected):
    assert tasks.word_problem({"answer_cot": cot, "answer_value": value}) == expected


def test_settings_are_parameters():
    task = tasks.task_named("leg_counting", max_animals=8, max_instances=None)
    assert task.settings == {"min_animals": 4, "max_animals": 8, "min_instances": 1, "max_instances": 15}
    assert tasks.TASKS["leg_counting"].settings["max_animals"] == 6
    with pytest.raises(ValueError, match="difficulty is not allowed for leg_counting: its settings are min_animals"):
        tasks.task_named("leg_counting", difficulty=2.0)
    with pytest.raises(ValueError, match="task='legs' is not allowed: it must be one of leg_counting, gsm_symbolic"):
        tasks.task_named("legs")


@pytest.mark.parametrize("name", tasks.TASKS)
def test_the_reward_takes_each_solution_for_right_and_another_answer_for_wrong(name):
    from recipes.smollm2.problems import generate
    from recipes.smollm2.supervise import graded

    problems = generate(tasks.TASKS[name], 40, seed=3)
    for problem in problems:
        assert graded(problem, problem.solution) == 1.0
        lines = problem.solution.split("\n")
        assert len(lines) > 1 and lines[-1].startswith("Answer: ")
        assert graded(problem, "\n".join([*lines[:-1], "Answer: 123456"])) == 0.0
        # Cut off before its end, as one that rambles to the limit is.
        assert graded(problem, problem.solution[: problem.solution.index("Answer")]) == 0.0
        assert problem.row["prompt"] == [{"role": "user", "content": problem.question}]


def test_splits_have_no_question_in_common_and_seeds_give_others():
    from recipes.smollm2.problems import generate

    task = tasks.TASKS["leg_counting"]
    train, held_out, other = generate(task, 50, 0), generate(task, 20, 0, "eval"), generate(task, 50, 1)
    assert {problem.question for problem in train}.isdisjoint(problem.question for problem in held_out)
    assert {problem.question for problem in train} != {problem.question for problem in other}
    assert [problem.row["extra_info"]["index"] for problem in held_out] == list(range(20))
    assert generate(task, 50, 0) == train


def test_settings_that_reasoning_gym_refuses_or_that_have_too_few_problems():
    from recipes.smollm2.problems import generate

    with pytest.raises(ValueError, match="leg_counting is not possible with .*max_animals must be"):
        generate(tasks.task_named("leg_counting", min_animals=5, max_animals=4), 1, 0)
    few = tasks.task_named("leg_counting", min_animals=1, max_animals=1, max_instances=1)
    with pytest.raises(ValueError, match="n=100 is not allowed: only .* distinct train problems of leg_counting"):
        generate(few, 100, 0)


@pytest.mark.parametrize(
    "text, right",
    [
        ("So there are 96 legs", False),  # reasoning-gym's scorer would take the number of the last line
        ("Answer: 96", True),
        ("cat: 4 legs\nAnswer: 96\n", True),
        ("Answer: 96\nAnswer: 95", False),  # the last one counts
        ("Answer: 1960", False),  # no partial credit
        ("Answer:", False),
        ("", False),
        (None, False),
    ],
)
def test_the_answer_is_read_from_its_line(text, right):
    import json

    from recipes.smollm2.reward import compute_score

    entry = json.dumps({"question": "?", "answer": "96", "metadata": {}})
    extra = {"task": "leg_counting", "metadata": json.dumps({"entry": entry})}
    found = compute_score("reasoning_gym/leg_counting", text, "96", extra)
    assert found["score"] == found["acc"] == float(right)
    assert set(found) == {"score", "acc", "pred"}
