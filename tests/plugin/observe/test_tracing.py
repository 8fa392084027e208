"""What a rollout worker keeps and shows of a prompt: its trace, a sample for the trackers."""

import json
import logging
import threading
import time

import pytest

from tests.plugin.fakes import N_MC, N_REENTRY, RESET_UID, N
from verl_gpo.config import ConfigError, GPOConfig
from verl_gpo.plugin.checks import accelerators, validate
from verl_gpo.plugin.observe import tracing
from verl_gpo.plugin.observe.metrics import TAG
from verl_gpo.plugin.observe.tracing import PromptTraces, worker_name
from verl_gpo.traces.reader import read_traces


def traced(run, folder):
    run.worker._traces._writer.close()
    return list(read_traces(folder))


def test_a_prompt_leaves_one_record_of_all_that_was_drawn(start, tmp_path):
    run = start(f"algorithm.gpo.trace_dir={tmp_path}").prompt()
    (record,) = traced(run, tmp_path)
    assert (record["uid"], record["global_step"], record["sample_index"], record["model_version"]) == ("p", 3, 4, 3)
    assert (record["data_source"], record["ground_truth"]) == ("test", "5")
    assert "12 + 3" in record["prompt"] and record["root_rewards"] == [1.0, 0.0]
    (anchor,) = record["anchors"]
    assert [step["text"] for step in anchor["steps"]] == ["aaaa\n", "bbbb\n", "cccc\n", "= 5<|endoftext|>"]
    assert [step["advantage"] for step in anchor["steps"]] == [-0.5, 1.0, 0.0, 0.0]
    assert anchor["critical"]["step"] == 1 and anchor["reset_state"] == 1
    drawn = [state["continuations"] for state in anchor["states"]]
    assert list(map(len, drawn)) == [0, N_MC + N_REENTRY, N_MC, N_MC, 0]
    assert [c["text"] for c in drawn[1] if c["learnt"]] == [
        "= 5<|endoftext|>",
        "x\n= 6<|endoftext|>",
        "= 5<|endoftext|>",
    ]
    assert all(0 <= c["seconds"] < 60 and c["cached_tokens"] > 0 for state in drawn for c in state)
    assert run.queue.columns[f"p_{N}_0"]["uid"] == RESET_UID  # and training goes on as without


def test_without_a_folder_there_are_no_traces_and_no_thread(start):
    assert start().prompt().worker._traces._writer is None
    assert PromptTraces(GPOConfig(trace_dir="x", enable=False), None, "w")._writer is None


def test_validation_is_not_traced(start, tmp_path):
    run = start(f"algorithm.gpo.trace_dir={tmp_path}/t").prompt(validate=True)
    run.worker._traces._writer.close()
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("broken", ["tokenizer", "folder"])
def test_traces_that_fail_cost_the_rollout_nothing(start, tmp_path, broken, caplog):
    (tmp_path / "file").write_text("")
    folder = tmp_path / ("file/inside" if broken == "folder" else "t")
    run = start(f"algorithm.gpo.trace_dir={folder}")
    if broken == "tokenizer":
        run.worker._traces._tokenizer = None
    with caplog.at_level(logging.WARNING):
        run.prompt()
        run.worker._traces._writer.close()
    assert run.worker._traces._writer.failed == 1 and "traces of" in caplog.text
    assert len(run.reentry_rows()) == N_REENTRY and run.metrics["gpo/prompts/failed"] == 0


def test_the_bound_is_shared_by_the_workers(tmp_path):
    traces = PromptTraces(GPOConfig(trace_dir=str(tmp_path), trace_max_mb=8, trace_every=5), None, "w", workers=4)
    assert traces._writer._max_bytes == 2 << 20 and traces._writer._every == 5


def test_a_worker_keeps_its_name_over_runs():
    assert worker_name("agent_loop_worker_12_ab34") == "worker-12"
    assert worker_name(None).startswith("process-") and worker_name("other").startswith("process-")


def test_a_trace_is_in_its_file_before_the_prompt_is_reported(start, tmp_path):
    start(f"algorithm.gpo.trace_dir={tmp_path}").prompt()
    assert len(list(read_traces(tmp_path))) == 1  # the writer is not closed: a kill from here on loses nothing


@pytest.mark.parametrize("patience", [0.1, 20.0])
def test_a_slow_record_holds_up_its_prompt_for_a_while_and_no_other_work(start, tmp_path, patience, monkeypatch):
    monkeypatch.setattr(tracing, "PATIENCE", patience)
    run = start(f"algorithm.gpo.trace_dir={tmp_path}")
    decode, threads = run.worker.tokenizer.decode, set()

    class Slow:
        def decode(self, *args, **kwargs):
            threads.add(threading.current_thread().name)
            time.sleep(0.05)  # 20 texts of a record take a second
            return decode(*args, **kwargs)

    run.worker._traces._tokenizer = Slow()
    started = time.monotonic()
    run.prompt()
    assert (time.monotonic() - started < 0.8) == (patience < 1)
    assert len(traced(run, tmp_path)) == 1
    assert len(threads) == 1 and threads.pop().startswith("traces-")


def test_the_folder_is_named_in_full_and_made_before_anything_starts(compose, run_overrides, tmp_path, monkeypatch):
    monkeypatch.setattr(accelerators, "cpu_platform_wanted", lambda: False)
    monkeypatch.chdir(tmp_path)
    config = compose(*run_overrides, "algorithm.gpo.trace_dir=some/traces")
    validate.prepare(config)
    assert config.algorithm.gpo.trace_dir == f"{tmp_path}/some/traces" and (tmp_path / "some" / "traces").is_dir()
    off = compose(*run_overrides, "algorithm.gpo.trace_dir=none", "algorithm.gpo.enable=false")
    validate.prepare(off)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_is_refused(compose, run_overrides, tmp_path, monkeypatch):
    monkeypatch.setattr(accelerators, "cpu_platform_wanted", lambda: False)
    (tmp_path / "file").write_text("")
    folder = f"algorithm.gpo.trace_dir={tmp_path}/file/traces"
    with pytest.raises(ConfigError, match=r"algorithm\.gpo\.trace_dir=.*must be a folder that can be written to"):
        validate.prepare(compose(*run_overrides, folder))
    monkeypatch.setattr(accelerators, "cluster_nodes", lambda joined, folder: [{"CPU": 64.0, "GPU": 8.0}])
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere")  # whose nodes may have other disks
    validate.prepare(compose(*run_overrides, folder))


# ------------------------------------------------------------------------------------------------ trackers' samples


@pytest.mark.parametrize(("loggers", "samples"), [("[console,file]", False), ("[console,wandb]", True)])
def test_a_sample_goes_with_the_metrics_where_a_tracker_wants_it(start, loggers, samples):
    run = start(f"trainer.logger={loggers}").prompt()
    sample = run.record["sample"]
    assert (sample is not None) == samples
    if samples:
        assert sample["response"].startswith("aaaa\nbbbb") and sample["critical_step"] == "1: bbbb\n"
        assert sample["reentry_reward"] == pytest.approx(2 / 3) and sample["reward"] == 1.0
        assert len(json.dumps(sample)) < 3000
        run.prompt(uid="q")  # of the same step
        assert run.queue.tags["q_0_0"][TAG]["sample"] is None
