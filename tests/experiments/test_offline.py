"""A cell of an offline optimizer: pairs are made once for all of them, and what broke off is not repeated."""

import json

import pytest

from scripts.experiments import offline
from scripts.experiments.evaluation import Evaluation
from scripts.experiments.grids import read_grid
from scripts.experiments.offline import OfflineTraining
from scripts.experiments.pipeline import TrainingFailed
from tests.experiments.test_grids import OPTIMIZERS

#: In the place of offline.sh: says what it was called with, and leaves what the stages leave.
STAND_IN = """
echo "$STAGES $ALGO $METHOD $SEED $TOKENS $STEPS $PREPARE_ARGS" >>calls
case $STAGES in
pairs) mkdir -p "$PAIRS_DIR"
    echo '{"tokens": {"root": 6, "value": 3, "reentry": 1, "total": 10}, "pairs": 4, "prompts": 3}' >"$PAIRS_DIR/report.json" ;;
train) [ "$ALGO" != orpo ] || { echo "no such thing" >&2; exit 3; }
    mkdir -p "$OUT_DIR"
    echo '{"optimizer_steps": 40, "batch_size": 32, "seconds": 2.5}' >"$OUT_DIR/train.json" ;;
esac
"""  # noqa: E501


@pytest.fixture
def training(tmp_path, monkeypatch):
    (tmp_path / "offline.sh").write_text(STAND_IN)
    (tmp_path / "grid.yaml").write_text(OPTIMIZERS.replace("[grpo, kto]", "[grpo, kto, dpo, orpo]"))
    grid = read_grid(tmp_path / "grid.yaml")
    monkeypatch.setattr(offline, "REPOSITORY", tmp_path)
    monkeypatch.setattr(offline, "SCRIPT", "offline.sh")
    monkeypatch.setattr(offline, "evaluate", lambda *model: Evaluation([1.0, 0.25], 1.0, 0.5))

    def made(method, optimizer):
        (cell,) = (one for one in grid.cells() if (one.method, one.settings.optimizer) == (method, optimizer))
        return OfflineTraining(grid, cell, tmp_path)

    return made


def calls(tmp_path):
    return (tmp_path / "calls").read_text().splitlines()


def test_pairs_are_shared_by_the_optimizers_of_a_method(training, tmp_path):
    for method, optimizer in (("kto", "kto"), ("dpo", "dpo"), ("random", "kto")):
        training(method, optimizer).train()
    said = [line.split(" --")[0] for line in calls(tmp_path)]
    assert said == [
        "pairs kto plain 0 150000 40",
        "train kto plain 0 150000 40",
        "train dpo plain 0 150000 40",
        "pairs kto random 0 150000 40",
        "train kto random 0 150000 40",
    ]
    assert "--n-steps=8 --n-hard=3" in calls(tmp_path)[0]
    training("kto", "kto").train()
    assert len(calls(tmp_path)) == 5  # all of it is there


def test_a_row_by_hand(training):
    one = training("random", "kto")
    one.train()
    run, accuracies = one.result(7, "abc")
    assert accuracies == [1.0, 0.25] and run.accuracy == 0.625 and run.low <= 0.625 <= run.high
    assert (run.run, run.key, run.commit) == (7, one.cell.key, "abc")
    assert (run.tokens, run.tokens_root, run.tokens_value, run.tokens_reentry) == (10, 6, 3, 1)
    assert (run.rows, run.optimizer_steps) == (1280, 40)
    assert (run.pairs, run.pair_prompts, run.training_steps, run.points) == (4, 3, None, ())
    assert run.seconds == 2.5 + json.loads((one.pairs / "seconds.json").read_text())


def test_a_failure_ends_with_the_end_of_its_log(training):
    with pytest.raises(TrainingFailed, match=r"offline.sh ended with status 3; its log, .*orpo.*\n.*no such thing"):
        training("orpo", "orpo").train()
