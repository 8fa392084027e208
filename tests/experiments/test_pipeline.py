"""Trainings in as few pipelines as they fit into, with a stand-in that trains nothing."""

import json
import subprocess
import sys
import time

import psutil
import pytest

from scripts.experiments import pipeline
from scripts.experiments.pipeline import Run, TrainingFailed

#: In the pipeline's place: trains whatever is in the first run's pipeline, the first letter of its name.
STAND_IN = """
import json, os, sys
from verl_gpo.plugin.consecutive import wait_for_reader
from pathlib import Path
runs = json.loads(Path(sys.argv[1]).read_text())
for run in runs:
    if run["name"][0] != runs[0]["name"][0]:
        continue
    print("training", run["name"], run["arguments"], flush=True)
    if "fail" in run["arguments"]:
        sys.exit(1)
    wait_for_reader(Path(sys.argv[2]), json.dumps({"name": run["name"], "seconds": 0.5}), os.getppid())
"""


@pytest.fixture
def train(tmp_path, monkeypatch):
    (tmp_path / "pipeline.py").write_text(STAND_IN)
    (tmp_path / "recipe.sh").write_text('exec "$PYTHON" $MAIN --config-name x "$@" ${EXTRA:+"$EXTRA"}\n')
    monkeypatch.setattr(pipeline, "PIPELINE", (str(tmp_path / "pipeline.py"),))
    monkeypatch.setattr(pipeline, "REPOSITORY", tmp_path)

    return lambda *runs: ((run.name, outcome) for run, outcome in pipeline.consecutive(runs, tmp_path / "logs" / "log"))


def test_runs_of_a_pipeline_follow_each_other_and_the_others_wait(train, tmp_path):
    ended = train(Run("a1", "recipe.sh", ["n=1"]), Run("b1", "recipe.sh"), Run("a2", "recipe.sh", [], {"EXTRA": "n=2"}))
    assert list(ended) == [("a1", 0.5), ("a2", 0.5), ("b1", 0.5)]
    log = (tmp_path / "logs" / "log").read_text()
    assert "training a1 ['--config-name', 'x', 'n=1']" in log and "training a2 ['--config-name', 'x', 'n=2']" in log


def test_a_run_begins_when_the_one_before_was_taken(tmp_path, train):
    seen = []
    for name, _ in train(Run("a1", "recipe.sh"), Run("a2", "recipe.sh")):
        time.sleep(0.5)  # an evaluation
        seen.append((name, (tmp_path / "logs" / "log").read_text().count("training")))
    assert seen == [("a1", 1), ("a2", 2)]


def test_the_pipeline_ends_with_the_interest_in_its_runs(tmp_path, train):
    trained = train(Run("a1", "recipe.sh"), Run("a2", "recipe.sh"))
    assert next(trained) == ("a1", 0.5)
    trained.close()
    assert (tmp_path / "logs" / "log").read_text().count("training") == 1
    commands = (" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    assert not [command for command in commands if str(tmp_path / "pipeline.py") in command]


def test_a_failure_ends_its_pipeline_and_no_other_run(train):
    ended = list(train(Run("a1", "recipe.sh"), Run("a2", "recipe.sh", ["fail"]), Run("a3", "recipe.sh")))
    assert ended[0] == ("a1", 0.5) and ended[2] == ("a3", 0.5)
    name, failure = ended[1]
    assert name == "a2" and isinstance(failure, TrainingFailed)
    assert str(failure).startswith("a2 ended before its last step; the log: ")


def test_a_script_that_comes_to_no_training_is_named(train, tmp_path):
    (tmp_path / "recipe.sh").write_text("echo 'ALGO=x: must be one of' >&2; exit 2\n")
    with pytest.raises(TrainingFailed, match=r"^recipe.sh did not come to the training of a1"):
        list(train(Run("a1", "recipe.sh")))
    assert "ALGO=x" in (tmp_path / "logs" / "log").read_text()


def test_a_recipe_hands_over_what_it_would_train_with(tmp_path):
    file = tmp_path / "arguments"
    subprocess.run([sys.executable, pipeline.__file__, str(file), "--config-name", "x", "a=[1, 2]"], check=True)
    assert json.loads(file.read_text()) == ["--config-name", "x", "a=[1, 2]"]


def test_problems_are_made_without_a_training(tmp_path, monkeypatch):
    (tmp_path / "recipe.sh").write_text('touch made; exec "$PYTHON" $MAIN x\n')
    monkeypatch.setattr(pipeline, "REPOSITORY", tmp_path)
    pipeline.prepare(Run("a1", "recipe.sh"), tmp_path / "log")
    assert (tmp_path / "made").exists()
