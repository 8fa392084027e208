"""The matrix of optimizers: its cells, going on after an interruption, and its table."""

import json
from pathlib import Path

import pytest

from scripts import matrix
from scripts.matrix_table import markdown
from scripts.recipe_runs import Evaluation


def result(accuracy):
    return {
        "accuracies": [accuracy, 1.0, 0.0, accuracy],
        "tokens": 1000,
        "rows": 64,
        "optimizer_steps": 2,
        "seconds": 3.5,
    }


@pytest.fixture
def calls(monkeypatch):
    made = []

    def cell(cell, args):
        made.append(cell.name)
        if cell.name == "kto-plain-1":
            raise RuntimeError("offline.sh ended with status 1")
        return result({"plain": 0.25, "gpo": 0.75}[cell.method])

    def consecutive(runs, log):
        for run in runs:
            made.append(run.name)
            yield run, 1.0

    monkeypatch.setattr(matrix, "offline_cell", cell)
    monkeypatch.setattr(matrix, "online_result", lambda cell, args: result({"plain": 0.25, "gpo": 0.75}[cell.method]))
    monkeypatch.setattr(matrix, "consecutive", consecutive)
    return made


def run(tmp_path, *arguments):
    fixed = ["--out", str(tmp_path), "--algos", "kto,grpo", "--methods", "plain,gpo", "--seeds", "0,1"]
    return matrix.main([*fixed, *arguments])


def test_every_cell_leaves_a_row_and_a_failure_the_others(calls, tmp_path, capsys):
    assert run(tmp_path) == 1
    assert calls == [f"{a}-{m}-{s}" for a in ("kto", "grpo") for s in (0, 1) for m in ("plain", "gpo")]
    assert "1 cells failed: kto-plain-1" in capsys.readouterr().err
    row = json.loads((tmp_path / "rows" / "grpo-gpo-1.json").read_text())
    assert row["accuracy"] == 0.625 and row["low"] <= 0.625 <= row["high"] and row["optimizer_steps"] == 2
    calls.clear()
    assert run(tmp_path) == 1
    assert calls == ["kto-plain-1"]  # what is there is not run again


def test_rows_of_other_settings_are_refused(calls, tmp_path, capsys):
    run(tmp_path)
    calls.clear()
    assert run(tmp_path, "--tokens", "99") == 1
    assert "kto-plain-0.json has other settings" in capsys.readouterr().err and calls == []


def test_the_table_by_hand(calls, tmp_path):
    run(tmp_path)
    lines = (tmp_path / "table.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert [cell[:3] for cell in cells] == [
        ["grpo", "plain", "2"],
        ["grpo", "gpo", "2"],
        ["kto", "plain", "1"],
        ["kto", "gpo", "2"],
    ]
    # Both seeds end at the same accuracy: no spread, and a difference of which no test can be made.
    assert cells[1][3:8] == ["62.5 [62.5, 62.5]", "1,000", "64", "2", "4"]
    assert cells[1][8:] == ["+25.0 [+25.0, +25.0]", "none"]
    assert cells[0][8:] == ["", ""]


def test_the_page_is_what_the_committed_rows_say():
    rows = json.loads(matrix.RESULTS.read_text())
    assert matrix.page(rows) == matrix.PAGE.read_text()


def test_differences_are_of_the_seeds_that_both_have():
    rows = [
        {"algo": "dpo", "method": m, "seed": s, **result(0.5), "accuracy": a}
        for m, s, a in [("plain", 0, 0.1), ("plain", 1, 0.1), ("gpo", 0, 0.2), ("gpo", 1, 0.4), ("gpo", 2, 1.0)]
    ]
    # 0.1 and 0.3: mean 0.2, standard error 0.1, t of one degree of freedom 12.706; p = 1 - 2 atan(2) / pi.
    assert "| +20.0 [-107.1, +147.1] | 0.295 |" in markdown(rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--algos", "sgd"], "--algos=sgd: must be of ppo, grpo"),
        (["--methods", "best"], "--methods=best: must be of plain, random, gpo"),
        (["--seeds", "a"], "--seeds=a: must be integers"),
        (["--tokens", "0"], "--tokens=0: must be at least 1"),
    ],
)
def test_errors_name_the_option(tmp_path, capsys, arguments, said):
    with pytest.raises(SystemExit):
        matrix.main(["--out", str(tmp_path), *arguments])
    assert said in capsys.readouterr().err


def test_the_optimizers_are_those_that_the_recipes_take():
    online, offline = (
        (matrix.RECIPE / script).read_text().partition("\nesac")[0] for script in ("run.sh", "offline.sh")
    )
    named = {word.strip("|()") for line in online.splitlines() for word in line.split() if "#" not in word}
    assert set(matrix.ONLINE) <= named
    assert all(algo in offline for algo in matrix.OFFLINE)


def test_an_online_cell_is_a_run_that_composes_and_is_read_back(tmp_path, monkeypatch):
    from hydra import compose, initialize_config_dir

    from verl_gpo.plugin.checks.validate import check

    args = matrix.parse_args(["--out", str(tmp_path)])
    cell = matrix.Cell("grpo", "plain", 3)
    run = matrix.online_training(cell, args).run()
    assert (run.environment["ALGO"], run.environment["METHOD"]) == ("grpo", "plain")
    with initialize_config_dir(config_dir=str(matrix.RECIPE / "config"), version_base=None):
        config = compose("arithmetic", overrides=run.arguments)
    check(config)
    assert config.trainer.total_training_steps == config.trainer.save_freq == 6
    assert config.data.seed == config.algorithm.gpo.seed == 3 and config.data.train_batch_size == 8

    metrics = {"gpo/tokens/root": 10, "gpo/tokens/value": 5, "gpo/rows": 8, "gpo/optimizer_steps": 1}
    lines = [json.dumps({"step": step, "data": {**metrics, "timing_s/step": 2.0}}) for step in (1, 2)]
    file = Path(run.environment["VERL_FILE_LOGGER_PATH"])
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines) + "\n")
    asked = []
    monkeypatch.setattr(
        matrix, "evaluate", lambda model, *rest: asked.append(model) or Evaluation([1.0, 0.25], 1.0, 0.5)
    )
    row = matrix.row_of(cell, args, matrix.online_result(cell, args))
    assert asked == [Path(run.environment["OUT_DIR"]) / "checkpoints/global_step_6/actor/huggingface"]
    assert row["accuracies"] == [1.0, 0.25] and row["accuracy"] == 0.625
    assert (row["tokens"], row["rows"], row["optimizer_steps"], row["seconds"]) == (30, 16, 2, 4)
