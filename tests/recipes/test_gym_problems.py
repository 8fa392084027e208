"""Problems that reasoning-gym generates: distinct, in disjoint splits, of stated lengths, graded by its own scorer."""

import importlib.metadata
import json
import random

import pytest

pytest.importorskip("reasoning_gym")
pytest.importorskip("pyarrow")

from recipes.distinct import split_of  # noqa: E402
from recipes.gym.problems import PackageMissing, generate, package_version, read_problem, rows  # noqa: E402
from recipes.gym.tasks import TASKS, response  # noqa: E402
from verl_gpo.data.write import schema  # noqa: E402
from verl_gpo.graders import compute_score  # noqa: E402

EACH = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def graded(row, text):
    return compute_score(row["data_source"], text, row["reward_model"]["ground_truth"], row["extra_info"])


@EACH
def test_the_same_again_distinct_and_apart(task):
    train, held_out, other = (generate(task, n, *which) for n, which in ((300, (0,)), (60, (0, "eval")), (300, (1,))))
    questions = [problem.prompt for problem in train]
    assert questions[:100] == [problem.prompt for problem in generate(task, 100, 0)]
    assert len(set(questions)) == 300 and questions != [problem.prompt for problem in other]
    # By the question itself, so that no seed mixes the splits.
    assert {split_of(problem.prompt) for problem in train + other} == {"train"}
    assert {split_of(problem.prompt) for problem in held_out} == {"eval"}


def test_seeds_do_not_give_shifted_copies():
    first, second = ({p.prompt for p in generate(TASKS["chain_sum"], 300, seed)} for seed in (0, 1))
    assert not first & second


def test_a_task_that_runs_out_says_how_many_there_are():
    with pytest.raises(
        ValueError, match=r"n=2000 is not allowed: only 1\d{3} distinct eval problems of count_bits found"
    ):
        generate(TASKS["count_bits"], 2000, 0, "eval")


@EACH
def test_right_solutions_are_right_by_the_package_and_slips_are_wrong(task):
    problems, rng, wrong = generate(task, 100, 0), random.Random(0), 0
    for problem, row in zip(problems, rows(problems, "train"), strict=True):
        right = response(problem.right_lines)
        assert graded(row, right)["acc"] == 1.0
        sampled = problem.sample_solution(rng, 0.5)
        ends_right = sampled.split("\n")[-1] == right.split("\n")[-1]
        assert graded(row, sampled)["acc"] == float(ends_right)
        wrong += not ends_right
    assert 40 < wrong < 95


@EACH
def test_lengths_are_as_stated(task):
    problems = generate(task, 2000, 0)
    assert {len(problem.prompt.encode()) + 1 for problem in problems} == {task.prompt_tokens}
    longest = max(len(response(problem.right_lines).encode()) + 1 for problem in problems)
    # Numbers with ten ones and more are few.
    assert task.response_tokens - 1 <= longest <= task.response_tokens


@EACH
def test_rows_have_the_schema_of_other_data_sets(task):
    import pyarrow as pa

    problems = generate(task, 3, 0)
    made = rows(problems, "test")
    assert pa.Table.from_pylist(made, schema=schema()).num_rows == 3
    assert made[2]["prompt"] == [{"role": "user", "content": problems[2].entry["question"]}]
    assert made[2]["data_source"] == f"reasoning_gym/{task.name}"
    extra = made[2]["extra_info"]
    assert (extra["split"], extra["index"], extra["task"]) == ("test", 2, task.name)
    entry = json.loads(json.loads(extra["metadata"])["entry"])
    assert (entry["question"], entry["answer"]) == (problems[2].prompt, made[2]["reward_model"]["ground_truth"])
    assert [read_problem(row).right_lines for row in made] == [problem.right_lines for problem in problems]


def test_a_missing_package_is_named(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(PackageMissing, match="needs the package reasoning-gym: pip install reasoning-gym"):
        package_version()
