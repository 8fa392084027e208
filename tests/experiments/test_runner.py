"""Going through a grid: what is missing is run, a failure leaves the others alone, and called again it goes on."""

from pathlib import Path

import pytest

from scripts.experiments import offline, runner, trainings
from scripts.experiments.__main__ import main
from scripts.experiments.evaluation import Evaluation
from scripts.experiments.pipeline import TrainingFailed
from scripts.experiments.results import read_results
from tests.experiments.test_grids import GRID, OPTIMIZERS
from tests.experiments.test_trainings import log, models  # noqa: F401  (a fixture)

METHODS = "grpo,gpo_fast n_mc=8"


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return path


@pytest.fixture
def trained(monkeypatch, models):  # noqa: F811
    """The pipeline, faked; names of the runs that were asked for."""
    asked = []

    def consecutive(runs, file):
        for run in runs:
            asked.append(run.name)
            if run.name == "tokens-late12-grpo-1" and asked.count(run.name) == 1:
                yield run, TrainingFailed("it ended")
                continue
            log(Path(run.environment["VERL_FILE_LOGGER_PATH"]), "fast" in run.name)
            yield run, 10.0

    monkeypatch.setattr(runner, "consecutive", consecutive)
    monkeypatch.setattr(runner, "prepare", lambda run, file: None)
    return asked


def run(grid, tmp_path, *arguments):
    folders = ["--results", str(tmp_path / "r"), "--work", str(tmp_path / "w")]
    return main(["run", str(grid), "--regimes", "late12", "--methods", METHODS, *folders, *arguments])


def test_every_cell_leaves_a_row_and_a_failure_the_others(grid, trained, tmp_path, capsys):
    assert run(grid, tmp_path) == 1
    assert trained == [f"tokens-late12-{name}-{seed}" for seed in (0, 1) for name in ("grpo", "gpo_fast_n_mc8")]
    assert "1 runs failed, call again to repeat them: tokens-late12-grpo-1" in capsys.readouterr().err
    rows = read_results(tmp_path / "r", {})
    assert [(one.run, one.method, one.seed, len(one.points)) for one in rows] == [
        (1, "grpo", 0, 3),
        (2, "gpo_fast", 0, 3),
        (3, "gpo_fast", 1, 3),
    ]


def test_called_again_it_runs_what_is_missing(grid, trained, tmp_path, capsys):
    run(grid, tmp_path)
    trained.clear()
    assert run(grid, tmp_path, "--list") == 0
    assert "1 of 4 runs are missing\ntokens-late12-grpo-1" in capsys.readouterr().out and trained == []
    trained.append("tokens-late12-grpo-1")  # it does not fail a second time
    assert run(grid, tmp_path) == 0
    assert len(read_results(tmp_path / "r", {})) == 4
    trained.clear()
    assert run(grid, tmp_path) == 0 and trained == []


def test_rows_of_another_number_of_steps_are_refused(grid, trained, tmp_path, capsys):
    run(grid, tmp_path)
    trained.clear()
    grid.write_text(GRID.replace("training_steps: 4", "training_steps: 6"))
    assert run(grid, tmp_path) == 1 and trained == []
    assert "tokens-late12-grpo-0: its row is of 4 steps, and the grid is of 6" in capsys.readouterr().err


def test_runs_that_would_start_from_another_model_are_refused_before_they_are_trained(
    grid, trained, tmp_path, monkeypatch, capsys
):
    run(grid, tmp_path)  # a run of seed 1 is missing
    trained.clear()
    before = (tmp_path / "r" / "runs.csv").read_text()
    prepared = []
    monkeypatch.setattr(runner, "prepare", lambda call, file: prepared.append(call.name))
    monkeypatch.setattr(trainings, "evaluate", lambda *model: Evaluation([0.25, 0.0, 0.0, 0.0], 1.0, None))
    trainings.evaluate_start.cache_clear()
    assert run(grid, tmp_path) == 1
    assert prepared == ["tokens-late12-grpo-1"] and trained == []
    error = capsys.readouterr().err
    assert "late12 1: runs started from models of different accuracies" in error
    assert "(0, and 0.0625 of the model made here): give another folder, --results" in error
    assert (tmp_path / "r" / "runs.csv").read_text() == before
    run(grid, tmp_path, "--results", str(tmp_path / "other"))
    assert len(trained) == 4


def test_offline_cells_are_run_by_the_same_runner(trained, tmp_path, monkeypatch, capsys):
    (tmp_path / "grid.yaml").write_text(OPTIMIZERS)
    asked = []

    def train(self):
        asked.append(self.cell.file_name)
        if self.cell.method == "random":
            raise TrainingFailed("offline.sh ended with status 1")

    def result(self, number, commit):
        from tests.experiments.samples import a_run

        cell = self.cell
        given = {"grid": cell.grid, "regime": cell.regime, "optimizer_steps": 40.0, "curve": ()}
        return a_run(cell.method, cell.seed, base=cell.settings, run=number, **given), [0.5]

    monkeypatch.setattr(offline.OfflineTraining, "train", train)
    monkeypatch.setattr(offline.OfflineTraining, "result", result)
    call = ["run", str(tmp_path / "grid.yaml"), "--results", str(tmp_path / "r"), "--work", str(tmp_path / "w")]
    assert main(call) == 1
    assert asked == ["optimizers-easy-kto-0", "optimizers-easy-random-0"] and len(trained) == 2
    assert "offline.sh ended with status 1" in capsys.readouterr().err
    assert [one.settings.optimizer for one in read_results(tmp_path / "r", {})] == ["kto", "grpo", "grpo"]
    asked.clear()
    assert main(call) == 1 and asked == ["optimizers-easy-random-0"]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--methods", "sgd"), "--methods=sgd: must be of grpo, gpo_fast, gpo_fast n_mc=8, gpo_paper optimizer=ppo"),
        (("--regimes", "early"), "--regimes=early: must be of late12, bits, legs"),
        (("--seeds", "0,7"), "--seeds=7: must be of 0, 1"),
    ],
)
def test_what_the_grid_has_not_is_refused_in_one_line(grid, tmp_path, capsys, option, said):
    assert run(grid, tmp_path, *option) == 1
    assert capsys.readouterr().err == f"verl_gpo: {said}\n"
