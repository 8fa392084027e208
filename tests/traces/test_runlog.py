"""verl's metrics file as data: steps that were logged again, values that are none, and files that are not verl's."""

import json

import pytest

from verl_gpo.traces.runlog import RunLog, generated_tokens, logged, validation_accuracy


def write(path, *lines):
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def line(step, **data):
    return {"step": step, "data": data}


def test_metrics_by_step_in_order(tmp_path):
    log = RunLog.read(write(tmp_path / "m.jsonl", line(0, a=1.0), line(1, a=2.0, b=5), line(3, a=4.0)))
    assert log.steps == {0: {"a": 1.0}, 1: {"a": 2.0, "b": 5}, 3: {"a": 4.0}}
    assert log.series("a") == {0: 1.0, 1: 2.0, 3: 4.0} and log.series("b") == {1: 5.0}
    assert (log.total("a"), log.total("b"), log.total("c")) == (7.0, 5.0, 0)


def test_values_that_are_no_number_count_as_not_logged(tmp_path):
    path = write(tmp_path / "m.jsonl", '{"step": 1, "data": {"a": null, "b": NaN, "c": Infinity, "d": 0, "e": "text"}}')
    assert RunLog.read(path).steps == {1: {"d": 0, "e": "text"}}
    assert logged({"a": float("-inf"), "b": 0.0, "c": False}) == {"b": 0.0, "c": False}


def test_steps_that_a_resumed_training_logs_again_count_once(tmp_path):
    # A checkpoint at step 2; step 3 was lost with the interruption. Before it goes on it validates at step 2.
    path = write(
        tmp_path / "m.jsonl",
        line(1, loss=1.0),
        line(2, loss=2.0),
        line(3, loss=3.0, **{"val-core/x/acc/mean@1": 0.1}),
        line(2, **{"val-core/x/acc/mean@1": 0.5}),
        line(3, loss=3.5),
    )
    log = RunLog.read(path)
    assert log.steps == {1: {"loss": 1.0}, 2: {"loss": 2.0, "val-core/x/acc/mean@1": 0.5}, 3: {"loss": 3.5}}
    assert log.validation() == {2: 0.5}


def test_a_step_that_is_logged_again_drops_what_was_logged_behind_it(tmp_path):
    path = write(tmp_path / "m.jsonl", line(1, a=1.0), line(2, a=2.0), line(3, a=3.0), line(2, a=20.0))
    assert RunLog.read(path).series("a") == {1: 1.0, 2: 20.0}


@pytest.mark.parametrize("half", ['{"step": 2, "da', '{"step": 2}', '{"step": "two", "data": {}}'])
def test_a_last_line_that_is_half_written_is_left_out_and_another_is_refused(tmp_path, half):
    path = tmp_path / "m.jsonl"
    assert RunLog.read(write(path, line(1, a=1.0), half)).steps == {1: {"a": 1.0}}
    with pytest.raises(ValueError, match=r"m\.jsonl, line 2: not a line of verl's file logger"):
        RunLog.read(write(path, line(1, a=1.0), half, line(3, a=3.0)))


def test_an_empty_file_is_no_steps_and_no_file_is_an_error(tmp_path):
    assert RunLog.read(write(tmp_path / "m.jsonl")).steps == {}
    with pytest.raises(FileNotFoundError):
        RunLog.read(tmp_path / "gone.jsonl")


def test_validation_accuracy_is_averaged_over_data_sources():
    metrics = {
        "val-core/gsm8k/acc/mean@1": 0.5,
        "val-core/math/acc/mean@4": 0.25,
        "val-core/math/acc/best@4/mean": 0.9,  # of the best, not of all
        "val-aux/math/score/mean@4": 0.1,
    }
    assert validation_accuracy(metrics) == 0.375
    assert validation_accuracy({"val-aux/math/score/mean@4": 0.1}) is None


def test_generated_tokens_are_those_of_roots_search_and_reentry():
    metrics = {"gpo/tokens/root": 100, "gpo/tokens/value": 40.5, "gpo/tokens/reentry": 8, "gpo/tokens/learnt_share": 1}
    assert generated_tokens(metrics) == 148.5
    assert generated_tokens({"gpo/tokens/root": 3}) == 3.0 and generated_tokens({}) == 0.0
