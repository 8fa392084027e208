"""Rows in verl's schema, the chat template's arguments, and reward functions as verl calls them."""

import asyncio
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.inference.rows import BAD, GOOD, write, write_bad
from verl_gpo.core.types import Continuation, ScoringError
from verl_gpo.inference.engine import usable_ids
from verl_gpo.inference.task import FunctionScorer, Prompt, UnusablePrompt, check_reward, load_reward, read_prompts

PROMPT = Prompt(3, GOOD["prompt"], "fake", "2", {"index": 7})


@pytest.mark.parametrize(("column", "value", "said"), BAD)
def test_a_cell_that_cannot_be_used_is_named(tmp_path, column, value, said):
    path = write_bad(tmp_path / "data.parquet", column, value)
    with pytest.raises(ValueError) as error:
        read_prompts(path)
    assert str(error.value).startswith(f"data={str(path)!r}, {said}") and "\n" not in str(error.value)


def test_the_row_is_named_and_rows_beyond_the_limit_are_not_read(tmp_path):
    path = write(tmp_path / "data.parquet", GOOD, GOOD, {**GOOD, "reward_model": None})
    with pytest.raises(ValueError, match="row 2, column reward_model"):
        read_prompts(path)
    assert [prompt.index for prompt in read_prompts(path, 2)] == [0, 1]


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path):
    path = write(tmp_path / "data.parquet", {"question": "1+1?", "answer": "2", "prompt": GOOD["prompt"]})
    with pytest.raises(ValueError, match="no column data_source, reward_model; .*the columns found are question, ans"):
        read_prompts(path)


def test_what_is_no_parquet_file_is_one_line(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no parquet")
    for path in (tmp_path / "x.parquet", tmp_path / "nothing.parquet"):
        with pytest.raises(ValueError, match="not a readable parquet file") as error:
            read_prompts(path)
        assert "\n" not in str(error.value)


def test_text_that_is_no_utf8_is_named(tmp_path):
    sources = pa.array([b"a", b"b\xff"]).cast(pa.binary()).view(pa.string())
    table = pa.Table.from_pylist([GOOD, GOOD])
    table = table.set_column(table.column_names.index("data_source"), "data_source", sources)
    pq.write_table(table, tmp_path / "data.parquet")
    with pytest.raises(ValueError, match="row 1, column data_source: must be UTF-8 text"):
        read_prompts(tmp_path / "data.parquet")


def test_ground_truths_of_ones_own_reward_may_be_lists_and_those_of_the_shared_grader_not(tmp_path):
    path = write_bad(tmp_path / "data.parquet", "reward_model", {"ground_truth": ["2", "two"]})
    assert read_prompts(path)[0].ground_truth == ["2", "two"]
    with pytest.raises(ValueError, match=r"column reward_model: ground_truth must be text or a number, and is \['2'"):
        read_prompts(path, answers_are_text=True)


class Tokenizer:
    def apply_chat_template(self, messages, add_generation_prompt, tokenize, **template):
        assert add_generation_prompt and tokenize
        if template.get("fail"):
            raise RuntimeError("roles must\nalternate")
        return [len(messages[0]["content"]), int(template.get("enable_thinking", True))]

    def decode(self, token_ids, skip_special_tokens):
        return "".join(map(str, token_ids))


def test_the_chat_template_is_given_its_arguments():
    assert PROMPT.token_ids(Tokenizer()) == [4, 1]
    assert PROMPT.token_ids(Tokenizer(), {"enable_thinking": False}) == [4, 0]
    with pytest.raises(UnusablePrompt, match=r"refuses it \(RuntimeError: roles must alternate\)"):
        PROMPT.token_ids(Tokenizer(), {"fail": True})


@pytest.mark.parametrize(("most", "usable"), [(None, True), (3, True), (2, False), (1, False)])
def test_a_prompt_that_leaves_no_token_for_a_response_is_unusable(most, usable):
    class Engine:
        tokenizer, max_model_len = Tokenizer(), most

    if usable:
        assert usable_ids(Engine(), PROMPT) == [4, 1]
    else:
        with pytest.raises(UnusablePrompt, match=f"the prompt has 2 tokens; the engine takes {most}, the response"):
            usable_ids(Engine(), PROMPT)


def score(function, timeout=None):
    scorer = FunctionScorer(function, Tokenizer(), PROMPT, timeout)
    return asyncio.run(scorer.score((1,), Continuation((2,)))).reward


def test_a_coroutine_function_is_awaited_and_another_runs_in_a_thread():
    seen = []

    async def slow(**row):
        await asyncio.sleep(0)
        seen.append((row, threading.current_thread() is threading.main_thread()))
        return {"score": 0.5}

    def plain(**row):
        seen.append((row, threading.current_thread() is threading.main_thread()))
        return 0.25

    assert (score(slow), score(plain)) == (0.5, 0.25)
    row = {"data_source": "fake", "solution_str": "12", "ground_truth": "2", "extra_info": {"index": 7}}
    assert seen == [(row, True), (row, False)]


def test_a_coroutine_function_is_loaded_from_a_file(tmp_path):
    (tmp_path / "reward.py").write_text("async def compute_score(**row):\n    return 1\n")
    function = load_reward(str(tmp_path / "reward.py"))
    assert score(function) == 1.0
    check_reward(function, [PROMPT])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise TimeoutError('slow service')", "TimeoutError"),
        ("return float('nan')", "returned nan"),
        ("return {'score': float('inf')}", "returned inf"),
        ("return 'good'", "ValueError"),
        ("return None", "TypeError"),
        ("return {}", "KeyError"),
    ],
)
@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_a_reward_that_is_none_is_lost_and_found_beforehand(tmp_path, keyword, body, said):
    (tmp_path / "reward.py").write_text(f"{keyword} compute_score(**row):\n    {body}\n")
    function = load_reward(str(tmp_path / "reward.py"))
    with pytest.raises(ScoringError, match=said):
        score(function, timeout=60)
    with pytest.raises(ValueError, match=rf"fails on row 3 \(fake\): .*{said}"):
        check_reward(function, [PROMPT])


def test_a_coroutine_that_takes_too_long_is_lost():
    async def slow(**row):
        await asyncio.sleep(5)

    with pytest.raises(ScoringError, match="no reward within 0.01 s"):
        score(slow, 0.01)
