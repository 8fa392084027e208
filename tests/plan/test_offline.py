"""The check of an offline recipe's two command lines, with a model folder and without data."""

import json

import pytest

pytest.importorskip("trl")
from verl_gpo.plan.offline import _parts, main  # noqa: E402


@pytest.fixture
def command(tmp_path):
    """``command(build, train, own)``: exit status with options added to each part."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))

    def run(build=(), train=(), own=()):
        first = ["--steps", "8", "--response-tokens", "1000", *own, "--"]
        second = ["--model", model, "--data", tmp_path / "none.parquet", "--out", tmp_path / "pairs", *build, "--"]
        third = ["--method", "dpo", "--model", model, "--pairs", tmp_path / "pairs", "--out", tmp_path / "out", *train]
        return main(list(map(str, [*first, *second, *third])))

    return run


def test_parts_of_the_command_line():
    assert _parts(["a", "--", "b", "c", "--", "d"]) == (["a"], ["b", "c"], ["d"])
    assert _parts(["a", "--", "b"]) == (["a", "--", "b"], [], [])


def test_a_recipe_that_can_work_is_planned_without_its_data(command, tmp_path, capsys):
    assert command(["--roots", "8", "n_mc=4"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "none.parquet (not here)" in said
    # 8 x 1,000 tokens; 7 states, 4 times, of 500 on average; 4 rollouts of about half a response.
    assert "whole responses 8,000, search 14,000" in said and "with 8 steps and 1,000 tokens" in said
    assert "all, tokens no bound (--token-budget)" in said
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]  # nothing is written


def test_a_budget_is_said_in_prompts(command, capsys):
    assert command(["--method", "plain", "--roots", "8", "--token-budget", "80000"]) == 0
    assert "80,000: 10 prompts, 1 visits" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("build", "train", "said"),
    [
        (["n_mc=0"], [], "algorithm.gpo.n_mc=0: must be an integer of at least 1"),
        (["--roots", "0"], [], "--roots=0: must be at least"),
        ([], ["learning_rat=1"], "learning_rat=1: no such key; did you mean learning_rate?"),
    ],
)
def test_what_either_refuses_is_one_line(command, capsys, build, train, said):
    assert command(build, train) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"verl_gpo: {said}") and captured.err.count("\n") == 1
