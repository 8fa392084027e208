"""Trainings in one pipeline: what of it needs no verl run. tests/e2e/test_training.py trains in it."""

import json
import sys
from pathlib import Path

import pytest

from scripts import consecutive
from scripts.consecutive import Run, TrainingFailed

#: In the pipeline's place: trains whatever is in the first run's pipeline, the first letter of its name.
STAND_IN = """
import json, sys
from pathlib import Path
if sys.argv[1] == "--arguments":
    Path(sys.argv[2]).write_text(json.dumps(sys.argv[3:]))
    sys.exit()
runs = json.loads(Path(sys.argv[1]).read_text())
for run in runs:
    if run["name"][0] != runs[0]["name"][0]:
        continue
    print("training", run["name"], run["arguments"], flush=True)
    if "fail" in run["arguments"]:
        sys.exit(1)
    with open(sys.argv[2], "a") as file:
        file.write(json.dumps({"name": run["name"], "seconds": 0.5}) + "\\n")
"""


@pytest.fixture
def train(tmp_path, monkeypatch):
    (tmp_path / "pipeline.py").write_text(STAND_IN)
    (tmp_path / "recipe.sh").write_text('exec "$PYTHON" $MAIN --config-name x "$@" ${EXTRA:+"$EXTRA"}\n')
    monkeypatch.setattr(consecutive, "__file__", str(tmp_path / "pipeline.py"))
    monkeypatch.setattr(consecutive, "REPOSITORY", tmp_path)

    def train(*runs):
        return [(run.name, outcome) for run, outcome in consecutive.consecutive(runs, tmp_path / "logs" / "log")]

    return train


def test_runs_of_a_pipeline_follow_each_other_and_the_others_wait(train, tmp_path):
    ended = train(Run("a1", "recipe.sh", ["n=1"]), Run("b1", "recipe.sh"), Run("a2", "recipe.sh", [], {"EXTRA": "n=2"}))
    assert ended == [("a1", 0.5), ("a2", 0.5), ("b1", 0.5)]
    log = (tmp_path / "logs" / "log").read_text()
    assert "training a1 ['--config-name', 'x', 'n=1']" in log and "training a2 ['--config-name', 'x', 'n=2']" in log


def test_a_failure_ends_its_pipeline_and_no_other_run(train):
    ended = train(Run("a1", "recipe.sh"), Run("a2", "recipe.sh", ["fail"]), Run("a3", "recipe.sh"))
    assert ended[0] == ("a1", 0.5) and ended[2] == ("a3", 0.5)
    name, failure = ended[1]
    assert name == "a2" and isinstance(failure, TrainingFailed)
    assert str(failure).startswith("a2 ended before its last step; the log: ")


def test_a_script_that_comes_to_no_training_is_named(train, tmp_path):
    (tmp_path / "recipe.sh").write_text("echo 'ALGO=x: must be one of' >&2; exit 2\n")
    with pytest.raises(TrainingFailed, match=r"^recipe.sh did not come to the training of a1"):
        train(Run("a1", "recipe.sh"))
    assert "ALGO=x" in (tmp_path / "logs" / "log").read_text()


def test_trainings_share_a_pipeline_if_engine_and_workers_are_alike(compose, run_overrides):
    def pipeline(*overrides):
        return consecutive.pipeline_of(compose(*run_overrides, *overrides))

    first = pipeline()
    rollout = "actor_rollout_ref.rollout"
    own = ["actor_rollout_ref.actor.optim.lr=0.1", f"{rollout}.n=4", "algorithm.gpo.n_mc=8", "data.seed=3"]
    assert pipeline(*own) == pipeline("trainer.experiment_name=other") == first
    for other in (f"{rollout}.max_model_len=99", "actor_rollout_ref.model.lora_rank=4", "algorithm.adv_estimator=gae"):
        assert pipeline(other) != first


def test_a_recipe_hands_over_what_it_would_train_with(tmp_path):
    file = tmp_path / "arguments"
    argv = [sys.executable, consecutive.__file__, "--arguments", str(file), "--config-name", "x", "a=[1, 2]"]
    import subprocess

    subprocess.run(argv, check=True)
    assert json.loads(file.read_text()) == ["--config-name", "x", "a=[1, 2]"]
    assert Path(consecutive.__file__).name == "consecutive.py"
