"""The agents recipe on the real stack: both tools, an environment that is restored, two training steps."""

import json
import os
import re
import sys

import pyarrow.parquet as pq
import pytest

from recipes.agents.task import Walk, read_problem
from tests.conftest import REPOSITORY, read_metrics
from tests.e2e.conftest import run_to_end
from tests.e2e.test_training import assert_rollout_and_actor_agree
from verl_gpo.traces.reader import trace_frame

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline]
#: A model that has seen enough conversations to call the tools, if not to be right.
PREPARED = "--n-moves 4 --n-free 0 --slip 0.5 --n-signs 1 --steps 250 --train 16 --eval 8"
PREPARED += " --target-low 0 --target-high 1"
#: A call and its answer.
CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call><\|im_end\|>\n<tool_response>(.*?)</tool_response>")


def test_two_training_steps_with_both_tools(tmp_path):
    metrics, log = tmp_path / "metrics.jsonl", tmp_path / "log"
    arguments = [
        *("data.train_batch_size=4", "actor_rollout_ref.actor.ppo_mini_batch_size=4"),
        *("actor_rollout_ref.rollout.n=4", "algorithm.gpo.rows=matched", "algorithm.gpo.n_reentry=2"),
        *("trainer.total_training_steps=2", "trainer.test_freq=-1", "trainer.val_before_train=false"),
        *("trainer.save_freq=-1", f"algorithm.gpo.trace_dir={tmp_path}/traces"),
    ]
    environment = {**os.environ, "METHOD": "random", "PRESET": "fast", "PYTHON": sys.executable}
    environment |= {"PREPARE_ARGS": PREPARED, "DATA_DIR": str(tmp_path / "data"), "OUT_DIR": str(tmp_path / "out")}
    environment["VERL_FILE_LOGGER_PATH"] = str(metrics)
    command = ["bash", str(REPOSITORY / "recipes" / "agents" / "run.sh"), *arguments]
    run_to_end(command, log, environment, tmp_path)
    for step in (1, 2):
        found = read_metrics(metrics)[step]
        assert found["gpo/rows"] == 16 and found["gpo/rollouts/reentry"] > 0
        assert found["gpo/failures/sampling"] == found["gpo/failures/scoring"] == found["gpo/prompts/failed"] == 0
        assert found["num_turns/mean"] > 4  # prompt, and turns of the policy and of tools in between
        # A gradient exactly where outcomes differ: after this short supervision all 16 can be alike.
        assert (found["actor/grad_norm"] > 0) == (found["critic/advantages/max"] > found["critic/advantages/min"])
        assert_rollout_and_actor_agree(found)
    frame = trace_frame(tmp_path / "traces")
    calls = {call["tool"] for row in frame["calls"] for call in row}
    assert {"walk", "add"} <= calls
    rows = pq.read_table(tmp_path / "data" / "train.parquet").to_pylist()
    drawn = 0
    for trajectory in frame.itertuples():
        problem = read_problem(rows[trajectory.sample_index])
        for k, state in enumerate(trajectory.states):
            kept = "".join(step["before"] + step["text"] for step in trajectory.steps[:k])
            kept += trajectory.steps[k]["before"] if k < len(trajectory.steps) else ""
            for continuation in state["continuations"]:
                assert "".join(part["text"] for part in continuation["parts"]) == continuation["text"]
                assert_one_walk(problem, kept + continuation["text"])
                drawn += k > 0
    assert drawn > 0


def assert_one_walk(problem, text):
    """All answers, before the state and behind it, are those of one walk from the entrance."""
    walk = Walk(*problem.building)
    for call, answer in CALL.findall(text):
        try:
            function = json.loads(call)
        except ValueError:
            continue
        if function.get("name") == "walk":
            assert walk.call("walk", function["arguments"]) == answer
