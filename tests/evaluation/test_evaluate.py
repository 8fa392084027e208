"""The command line with a fake engine: what is drawn, kept, refused and reported."""

import json

import pytest

from tests.evaluation.conftest import read_lines, write_sums
from tests.evaluation.fakes import FakeEngine
from verl_gpo.evaluation import summary
from verl_gpo.inference.launch import locked
from verl_gpo.inference.task import read_prompts


def drawn():
    return [len(engine.requests) for engine in FakeEngine.made]


def test_a_run_leaves_samples_summary_and_plot(evaluate, tmp_path, capsys):
    assert evaluate() == 0
    lines = read_lines(tmp_path / "run" / "samples" / "sums.jsonl")
    assert [(line["index"], line["sample"]) for line in lines] == [(i, n) for i in range(6) for n in range(4)]
    first = lines[0]
    assert first["response"] == f"#### {first['prediction']}" and first["tokens"] == len(first["response"])
    assert first["accuracy"] == first["score"] == float(first["prediction"] == "12")
    assert first["finish"] == "stop" and len(first["problem"]) == len(first["settings"]) == 16
    written = json.loads((tmp_path / "run" / "summary.json").read_text())
    row = written["benchmarks"]["sums"]
    right = sum(line["accuracy"] for line in lines)
    assert row["avg"]["value"] == pytest.approx(right / 24) == row["pass"]["1"]["value"]
    assert row["maj"]["1"]["value"] == pytest.approx(right / 24, abs=0.05)  # of random subsets
    assert row["avg"]["low"] < row["avg"]["value"] < row["avg"]["high"]
    assert list(row["pass"]) == ["1", "2", "4"] and row["problems"] == 6 and row["truncated"] == 0
    assert written["settings"]["temperature"] == 0.6
    assert (tmp_path / "run" / "summary.png").stat().st_size > 1000
    shown = capsys.readouterr().out
    assert "sums" in shown and summary.percent(row["avg"]["value"]) in shown
    assert FakeEngine.made[0].stopped


def test_called_again_it_draws_nothing_and_says_the_same(evaluate, tmp_path):
    assert evaluate() == 0
    before = [(tmp_path / "run" / name).read_bytes() for name in ("samples/sums.jsonl", "summary.json")]
    assert evaluate() == 0
    assert drawn() == [24]
    assert [(tmp_path / "run" / name).read_bytes() for name in ("samples/sums.jsonl", "summary.json")] == before


def test_more_samples_more_problems_and_more_benchmarks_go_on(evaluate, tmp_path, sums):
    other = write_sums(tmp_path / "other.parquet", count=2)
    assert evaluate("--limit", 4, k=2) == 0
    assert evaluate(k=4) == 0
    assert evaluate(benchmarks=f"other={other}", k=1) == 0
    assert drawn() == [8, 16, 2]
    written = json.loads((tmp_path / "run" / "summary.json").read_text())["benchmarks"]
    assert {name: (row["problems"], row["k"]) for name, row in written.items()} == {"sums": (6, 4), "other": (2, 1)}
    assert evaluate(k=2) == 0  # fewer: the first two
    assert drawn() == [8, 16, 2]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["benchmarks"]["sums"]["k"] == 2


def test_an_engine_that_fails_loses_only_what_it_did_not_draw(evaluate, tmp_path, capsys):
    assert evaluate("--concurrency", 2, fail_after=10) == 1
    error = capsys.readouterr().err
    assert "sums, row 2, sample 2: no more" in error and "9 more failures" in error
    assert "sums has 10 of 24 samples; run the command again to continue" in error
    kept = read_lines(tmp_path / "run" / "samples" / "sums.jsonl")
    assert evaluate() == 0
    assert drawn()[1] == 14
    assert FakeEngine.made[0].seed != FakeEngine.made[1].seed  # or it would meet the same random numbers again
    lines = read_lines(tmp_path / "run" / "samples" / "sums.jsonl")
    assert len(lines) == 24 and all(line in lines for line in kept)


def test_a_process_that_is_started_again_draws_only_the_rest_of_its_share(evaluate, tmp_path):
    assert evaluate(k=1) == 0
    assert evaluate("--shard", "1/3") == 0  # 6 of the 18 that are missing
    assert evaluate("--shard", "1/3") == 0
    assert drawn() == [6, 6]
    assert len(read_lines(tmp_path / "run" / "samples" / "sums.shard-1-of-3.jsonl")) == 6


def test_a_response_that_cannot_be_graded_is_drawn_again(evaluate, tmp_path, capsys):
    reward = tmp_path / "reward.py"
    reward.write_text("def compute_score(solution_str, **_):\n    return 1 / ('####' not in solution_str)")
    assert evaluate("--reward", reward) == 1
    error = capsys.readouterr().err
    assert "the reward function failed: ZeroDivisionError" in error and "sums has 0 of 24 samples" in error
    assert not (tmp_path / "run" / "summary.json").exists()


def test_other_settings_are_refused_by_name(evaluate, model, capsys):
    assert evaluate() == 0
    assert evaluate("--temperature", 1, "--max-tokens", 99) == 1
    error = capsys.readouterr().err
    assert "temperature (0.6 there, 1.0 here), max_tokens (32768 there, 99 here); choose another folder" in error
    (model / "model.safetensors").write_bytes(b"trained on")
    assert evaluate() == 1
    assert "holds samples of other settings: model (" in capsys.readouterr().err
    assert drawn() == [24]


def test_other_data_under_the_same_name_are_refused(evaluate, sums, tmp_path, capsys):
    assert evaluate() == 0
    write_sums(sums, first=2)
    assert evaluate() == 1
    assert "holds samples of other data: sums, row 0, is another problem" in capsys.readouterr().err
    (tmp_path / "run" / "run.json").unlink()
    assert evaluate() == 1
    assert "has samples, but no run.json" in capsys.readouterr().err


def test_a_folder_in_use_is_refused(evaluate, tmp_path, capsys):
    with locked(tmp_path / "run"):
        assert evaluate() == 1
    assert "another call is writing there" in capsys.readouterr().err
    assert evaluate() == 0


def test_greedy_and_truncation(evaluate, tmp_path):
    assert evaluate("--temperature", 0, "--max-tokens", 5, k=None) == 0
    row = json.loads((tmp_path / "run" / "summary.json").read_text())["benchmarks"]["sums"]
    assert row["k"] == 1 and row["truncated"] == 1.0 and row["unanswered"] == 1.0 and row["avg"]["value"] == 0.0


def test_a_reward_without_predictions_has_no_majority(evaluate, tmp_path, capsys):
    (tmp_path / "reward.py").write_text("def half(solution_str, **_):\n    return 0.5")
    assert evaluate("--reward", f"{tmp_path / 'reward.py'}:half") == 0
    row = json.loads((tmp_path / "run" / "summary.json").read_text())["benchmarks"]["sums"]
    assert row["maj"] is None and row["unanswered"] is None
    # Half right is not right.
    assert row["avg"]["value"] == 0.5 and row["pass"]["4"]["value"] == 0.0
    assert " - " in capsys.readouterr().out


def test_a_problem_that_the_engine_cannot_take_counts_as_not_answered(evaluate, tmp_path, capsys):
    path = write_sums(tmp_path / "few.parquet", count=2, first=9)
    lengths = [len(prompt.messages[-1]["content"]) for prompt in read_prompts(path)]  # 9 + 19 is shorter than 10 + 20
    assert lengths[0] < lengths[1]
    for _ in range(2):  # the second call draws nothing, and says it again
        assert evaluate(benchmarks=f"few={path}", k=2, max_model_len=lengths[1]) == 0
        error = capsys.readouterr().err
        assert (
            f"warning: few, row 1 counts as not answered: the prompt has {lengths[1]} tokens; the engine takes "
            f"{lengths[1]}, the response included" in error
        )
    lines = read_lines(tmp_path / "run" / "samples" / "few.jsonl")
    assert [line["accuracy"] for line in lines[2:]] == [0.0, 0.0] and {line["response"] for line in lines[2:]} == {""}
    written = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert written["benchmarks"]["few"]["problems"] == 2 and len(FakeEngine.made) == 1


def test_a_reward_that_is_a_coroutine_function_grades(evaluate, tmp_path):
    (tmp_path / "later.py").write_text(
        "async def compute_score(solution_str, ground_truth, **row):\n    return float(ground_truth in solution_str)\n"
    )
    assert evaluate("--reward", tmp_path / "later.py") == 0
    scores = {line["score"] for line in read_lines(tmp_path / "run" / "samples" / "sums.jsonl")}
    assert scores == {0.0, 1.0}


def test_the_chat_template_is_given_its_arguments(evaluate, tmp_path):
    assert evaluate("--apply-chat-template-kwargs", "enable_thinking=false") == 0
    asked = {"".join(map(chr, request)) for request in FakeEngine.made[0].requests}
    assert len(asked) == 6 and all(prompt.endswith("[enable_thinking=False]") for prompt in asked)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["settings"]["apply_chat_template_kwargs"] == {"enable_thinking": False}
