"""Histogram and table in the trackers' own stores, read back from them; and a tracker that fails."""

import json
import logging
import math
import sys
from types import ModuleType, SimpleNamespace

import pytest

from verl_gpo.core.critical import CriticalStep
from verl_gpo.core.learn import ReentryGroup
from verl_gpo.core.result import GroupResult, Reentry
from verl_gpo.core.types import Continuation, ScoredContinuation
from verl_gpo.core.values import UNKNOWN
from verl_gpo.plugin.observe.trackers import COLUMNS, HISTOGRAM, TABLE, Trackers, sample_row, wanted

SAMPLE = {
    "prompt": "What is **2**?",
    "response": "# 1\n2",
    "reward": 1.0,
    "critical_step": "0: # 1",
    "advantage": 0.5,
    "confidence": math.nan,
    "reentry_reward": None,
}


def decode(token_ids):
    return bytes(token_ids).decode()


def output(text, reward):
    ids = list(text.encode())
    return SimpleNamespace(
        prompt_ids=list(b"prompt"), response_ids=ids, response_mask=[1] * len(ids), reward_score=reward
    )


def test_a_row_by_hand():
    rollouts = (ScoredContinuation(Continuation((1,)), 1.0), ScoredContinuation(Continuation((1,)), 0.0))
    group = ReentryGroup(1, (1,), rollouts, True)
    reentry = Reentry(1, (3, 6, 7), (UNKNOWN,) * 4, CriticalStep(1, 0.25, 0.5), (group,))
    row = sample_row([output("no", 0.0), output("ab\ncd\ne", 1.0)], GroupResult([reentry]), decode)
    assert row == {
        "prompt": "prompt",
        "response": "ab\ncd\ne",
        "reward": 1.0,
        "critical_step": "1: cd\n",
        "advantage": 0.25,
        "confidence": 0.5,
        "reentry_reward": 0.5,
    }
    assert set(row) | {"step"} == set(COLUMNS)


def test_long_texts_are_cut_and_a_prompt_without_anchors_has_no_row():
    reentry = Reentry(0, (5000,), (UNKNOWN,) * 2, CriticalStep(0, 0.25, 0.5))
    row = sample_row([output("x" * 5000, 1.0)], GroupResult([reentry]), decode)
    assert len(row["response"]) == 800 and len(row["critical_step"]) == 300 and row["reentry_reward"] is None
    assert sample_row([output("x", 1.0)], GroupResult(), decode) is None


def test_which_loggers_get_samples():
    assert wanted(["console", "wandb", "file", "mlflow"]) == ("wandb", "mlflow")
    assert wanted("tensorboard") == ("tensorboard",) and wanted(None) == wanted(["console", "file"]) == ()


def test_tensorboard_in_a_folder_of_its_own(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_DIR", str(tmp_path))
    trackers = Trackers(["tensorboard"])
    trackers.log(1, [0.0, 0.5, 1.0], [SAMPLE])
    trackers.log(2, [], [])  # nothing found in this step
    trackers.log(3, [0.25], [])
    events = EventAccumulator(str(tmp_path / "gpo"), {"histograms": 0, "tensors": 0})
    events.Reload()
    assert [event.step for event in events.Histograms(HISTOGRAM)] == [1, 3]
    assert events.Histograms(HISTOGRAM)[0].histogram_value.num == 3
    (text,) = events.Tensors(f"{TABLE}/text_summary")
    text = text.tensor_proto.string_val[0].decode()
    assert "**prompt**\n\n    What is **2**?" in text and "    # 1\n    2" in text  # in blocks: not read as Markdown


def test_tensorboards_folder_is_that_of_verl(tmp_path, monkeypatch):
    monkeypatch.delenv("TENSORBOARD_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    Trackers("tensorboard", "project", "experiment").log(1, [0.5], [])
    assert list((tmp_path / "tensorboard_log/project/experiment/gpo").iterdir())


def test_wandb_takes_a_histogram_and_a_table_at_verls_step(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    with wandb.init(mode="offline", dir=str(tmp_path), project="p") as run:
        logged = []
        monkeypatch.setattr(wandb, "log", lambda data, step: logged.append((step, data)) or run.log(data, step=step))
        trackers = Trackers(["wandb"])
        trackers.log(1, [0.0, 0.5, 1.0], [SAMPLE])
        run.log({"gpo/critical/found": 3.0}, step=1)  # verl's own, afterwards
        trackers.log(2, [], [])
    ((step, data),) = logged
    assert step == 1 and set(data) == {HISTOGRAM, TABLE}
    assert sum(data[HISTOGRAM].histogram) == 3 and data[HISTOGRAM].bins[0] == 0 and data[HISTOGRAM].bins[-1] == 1
    assert data[TABLE].columns == list(COLUMNS) and data[TABLE].data[0][1] == SAMPLE["prompt"]
    (table,) = tmp_path.rglob("*.table.json")
    assert json.loads(table.read_text())["columns"] == list(COLUMNS)


def test_without_a_run_wandb_is_left_alone():
    wandb = pytest.importorskip("wandb")
    assert wandb.run is None
    Trackers(["wandb"]).log(1, [0.5], [SAMPLE])


def test_mlflow_gets_a_table_that_grows(monkeypatch):
    calls = []
    mlflow = ModuleType("mlflow")
    mlflow.active_run = lambda: "run"
    mlflow.log_table = lambda data, artifact_file: calls.append((data, artifact_file))
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    trackers = Trackers(["mlflow"])
    trackers.log(3, [0.5], [SAMPLE, SAMPLE])
    trackers.log(4, [0.5], [])
    ((data, file),) = calls
    assert file == "gpo/trajectories.json" and list(data) == list(COLUMNS) and data["step"] == [3, 3]


def test_a_tracker_that_fails_is_named_once_and_the_others_go_on(tmp_path, monkeypatch, caplog):
    broken = ModuleType("mlflow")
    monkeypatch.setitem(sys.modules, "mlflow", broken)
    monkeypatch.setenv("TENSORBOARD_DIR", str(tmp_path))
    trackers = Trackers(["mlflow", "tensorboard"])
    with caplog.at_level(logging.WARNING):
        for step in (1, 2):
            trackers.log(step, [0.5], [SAMPLE])
    assert len([r for r in caplog.records if "mlflow" in r.message]) == 1
    assert list((tmp_path / "gpo").iterdir())
