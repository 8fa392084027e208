"""Trainings in one pipeline: which of them share one. tests/e2e/test_optimizers.py trains in it."""

import os
import subprocess
import sys
import threading

from verl_gpo.plugin import consecutive


def test_trainings_share_a_pipeline_if_engine_and_workers_are_alike(compose, run_overrides):
    def pipeline(*overrides):
        return consecutive.pipeline_of(compose(*run_overrides, *overrides))

    first = pipeline()
    rollout = "actor_rollout_ref.rollout"
    own = ["actor_rollout_ref.actor.optim.lr=0.1", f"{rollout}.n=4", "algorithm.gpo.n_mc=8", "data.seed=3"]
    assert pipeline(*own) == pipeline("trainer.experiment_name=other") == first
    for other in (f"{rollout}.max_model_len=99", "actor_rollout_ref.model.lora_rank=4", "algorithm.adv_estimator=gae"):
        assert pipeline(other) != first


def test_the_next_run_begins_when_the_reader_has_done_with_the_one_before(tmp_path):
    file = tmp_path / "ended.jsonl"
    waiting = threading.Thread(target=consecutive.wait_for_reader, args=(file, '{"name": "a"}', os.getpid()))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive() and file.read_text() == '{"name": "a"}\n'
    with file.open("a") as reader:
        reader.write("\n")
    waiting.join(5)
    assert not waiting.is_alive()


def test_a_reader_that_has_ended_is_not_waited_for(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    consecutive.wait_for_reader(tmp_path / "ended.jsonl", '{"name": "a"}', gone.pid)  # returns
    assert (tmp_path / "ended.jsonl").read_text() == '{"name": "a"}\n'


def test_the_command_says_how_it_is_called():
    called = [sys.executable, "-m", "verl_gpo.plugin.consecutive", "one"]
    done = subprocess.run(called, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("usage: python -m verl_gpo.plugin.consecutive RUNS.json ENDED.jsonl")
