"""An inspection with a fake engine in vLLM's place: the traces that it writes, and the prompts that it loses."""

import pytest

from tests.offline.fakes import FakeEngine
from verl_gpo.config import GPOConfig
from verl_gpo.inference import engine
from verl_gpo.inference.task import Prompt
from verl_gpo.report.inspection import Inspection
from verl_gpo.traces.reader import read_traces


def prompt(number, question=None):
    return Prompt(number, [{"role": "user", "content": question or f"q{number}"}], "fake", "good", {})


def reward(solution_str, **row):
    return float("fail" not in solution_str)


@pytest.fixture
def inspect(monkeypatch, tmp_path):
    """``inspect(*prompts, **engine)``: lost prompts, records by row, what was called, and the engine."""
    monkeypatch.setattr(FakeEngine, "made", [])

    def run(*prompts, **options):
        monkeypatch.setattr(engine, "VLLMEngine", lambda model, seed, **settings: FakeEngine(seed, **options))
        config = GPOConfig(n_mc=2, n_reentry=2, min_step_tokens=1)
        called = []
        inspection = Inspection("m", prompts, reward, config, 3, 40, {}, at_once=2)
        lost = inspection.run(tmp_path / "traces", lambda: called.append("started"), lambda: called.append("tick"))
        records = {record["uid"]: record for record in read_traces(tmp_path / "traces")} if called[1:] else {}
        return lost, records, called, FakeEngine.made[0]

    return run


def test_every_prompt_leaves_a_record_of_its_search(inspect):
    lost, records, called, vllm = inspect(prompt(0), prompt(1), prompt(5))
    assert lost == 0 and set(records) == {"row-0", "row-1", "row-5"}
    assert called == ["started", *["tick"] * 3] and vllm.stopped
    for record in records.values():
        assert (record["data_source"], record["ground_truth"]) == ("fake", "good")
        assert len(record["root_rewards"]) == 3
        (anchor,) = record["anchors"]
        assert [step["text"].count("\n") for step in anchor["steps"]][:4] == [1, 1, 1, 1]
        drawn = [len(state["continuations"]) for state in anchor["states"]]
        assert drawn[1] >= 2 and all(text["text"] for text in anchor["states"][1]["continuations"])


def test_a_prompt_that_cannot_be_used_is_named_and_counted(inspect, capsys):
    lost, records, called, _ = inspect(prompt(0), prompt(3, "please refuse me"))
    assert lost == 1 and set(records) == {"row-0"} and called.count("tick") == 2
    assert "warning: row 3 is left out: " in capsys.readouterr().err


def test_a_prompt_of_which_no_root_comes_back_is_lost(inspect):
    lost, records, called, vllm = inspect(prompt(0), prompt(1), fail_after=3)
    assert lost == 1 and len(records) == 1 and vllm.stopped
