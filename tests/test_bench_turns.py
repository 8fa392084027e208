"""The benchmark of searches on turns: its table by hand, the committed page, and what is refused."""

import asyncio

import pytest

from scripts import bench_turns


def test_the_table_by_hand():
    found = {"hits": 9, "chosen": 10, "rate": 0.9, "interval": [0.6, 0.98], "value_tokens": 500, "prompts": 20}
    nothing = {"hits": 0, "chosen": 0, "rate": None, "value_tokens": 0, "prompts": 20}
    result = {"folders": [{"spec": {"n_moves": 5, "n_free": 1}, "searches": {"fast": found, "lean": nothing}}]}
    lines = bench_turns.markdown(result).splitlines()
    assert lines[2:] == [
        "| 1 | 7 | `fast` | 9 of 10 | 0.90 [0.60, 0.98] | 25 |",
        "| 1 | 7 | `lean` | 0 of 0 | none | 0 |",
    ]


def test_the_committed_page_has_the_committed_result():
    assert bench_turns.page() == bench_turns.PAGE.read_text(encoding="utf-8"), (
        "call python -m scripts.bench_turns --page"
    )


def test_a_folder_that_is_none_is_refused(tmp_path, capsys):
    assert bench_turns.main(["--data", str(tmp_path)]) == 1
    assert "must be a folder of recipes.agents.prepare" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        bench_turns.main([])


def test_requests_that_wait_together_are_one_batch(tmp_path):
    pytest.importorskip("torch")
    from recipes.agents.task import AgentSpec, generate_problems
    from recipes.agents.warmstart import settings, supervise

    problems = generate_problems(AgentSpec(), 2, 0)
    model, tokenizer, _ = supervise(problems, 0.0, settings(1), 0, progress=False)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    engine = bench_turns.Model(tmp_path)
    batches = []
    sample = engine._sample
    engine._sample = lambda batch: batches.append(len(batch)) or sample(batch)

    async def both():
        return await asyncio.gather(engine.generate([1, 2, 3], 5), engine.generate([4], 500))

    short, long = asyncio.run(both())
    assert batches == [2] and len(short.token_ids) <= 5 and len(long.token_ids) <= bench_turns.TURN_TOKENS
    assert len(short.log_probs) == len(short.token_ids) and all(log_prob <= 0 for log_prob in long.log_probs)
    assert short.source in ("stop", "length") and short.context_tokens == 3
