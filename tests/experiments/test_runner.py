"""The grid of experiments: what a cell is called with, what its rows say, and going on after an interruption."""

import json
from pathlib import Path

import pytest

from recipes.arithmetic.prepare import parse_args as prepare_args
from scripts import experiment, experiment_grid
from scripts.consecutive import TrainingFailed
from scripts.evidence_rows import read_results
from scripts.recipe_runs import Evaluation
from tests.conftest import REPOSITORY

GRID = """
grid: tokens
training_steps: 4
evaluate_every: 2
seeds: [0, 1]
regimes:
  late12: {n_steps: 12, n_hard: 2, hard_place: late, slip: 0.3}
  bits: {task: count_bits}
methods:
  grpo: {method: plain, regime_prompts: {late12: 6}}
  "gpo_fast:n_mc=8": {prompts: 20, learning_rate: 1e-3, settings: [algorithm.gpo.preset=fast, algorithm.gpo.n_mc=8]}
"""


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return path


def metrics(step, reenters):
    own = {"gpo/tokens/value": 30, "gpo/tokens/reenter": 5, "gpo/critical/found": 4, "gpo/critical/given": 0.75}
    return {
        "gpo/tokens/root": 100,
        "gpo/rows": 64,
        "gpo/optimizer_steps": 1,
        "gpo/mixed/root": step / 10,
        "timing_s/step": 3.0,
        "timing_s/gen": 1.5,
        "timing_s/save_checkpoint": 1.0 if step % 2 == 0 else 0.0,
        **(own if reenters else {}),
    }


@pytest.fixture
def trained(monkeypatch):
    """The pipeline and the models, faked; names of the runs that were asked for."""
    asked = []

    def consecutive(runs, log):
        for run in runs:
            asked.append(run.name)
            if run.name == "tokens-late12-grpo-1" and asked.count(run.name) == 1:
                yield run, TrainingFailed("it ended")
                continue
            file = Path(run.environment["VERL_FILE_LOGGER_PATH"])
            file.parent.mkdir(parents=True, exist_ok=True)
            steps = [{"step": s, "data": metrics(s, "fast" in run.name)} for s in (1, 2, 3, 4)]
            file.write_text("".join(json.dumps(step) + "\n" for step in steps))
            yield run, 10.0

    def evaluate(model, data, samples, seed):
        step = int(str(model).partition("global_step_")[2].partition("/")[0] or 0)
        return Evaluation([step / 4, 0.0, step / 4, 0.0], 1.0, None)

    monkeypatch.setattr(experiment, "consecutive", consecutive)
    monkeypatch.setattr(experiment, "prepare", lambda run, log: None)
    monkeypatch.setattr(experiment, "evaluate", evaluate)
    monkeypatch.setattr(experiment, "distance", lambda model, start: 0.0 if model == start else len(str(model)) / 100)
    return asked


def run(grid, tmp_path, *arguments):
    folders = ["--results", str(tmp_path / "r"), "--work", str(tmp_path / "w")]
    return experiment.main([str(grid), "--regimes", "late12", *folders, *arguments])


def test_rows_by_hand_are_what_evidence_reads(grid, trained, tmp_path):
    assert run(grid, tmp_path) == 1  # one of them failed
    runs = {one.key: one for one in read_results(tmp_path / "r")}
    assert len(runs) == 3
    plain, fast = (runs["tokens", "late12", method, 0] for method in ("grpo", "gpo_fast:n_mc=8"))
    assert (plain.tokens_root, plain.tokens, plain.rows, plain.optimizer_steps) == (400, 400, 256, 4)
    assert (plain.seconds, plain.seconds_gen, plain.seconds_update_critic) == (10, 6, None)  # 12 less two savings
    assert (plain.root_mixed, plain.branch_mixed, plain.hits, plain.chosen) == (0.25, None, None, None)
    assert (plain.accuracy, plain.prompts, plain.learning_rate) == (0.5, 6, 5e-4)
    assert (fast.tokens, fast.hits, fast.chosen, fast.prompts, fast.learning_rate) == (540, 12, 16, 20, 1e-3)
    assert [(p.training_step, p.tokens, p.seconds, p.accuracy) for p in fast.points] == [
        (0, 0, 0, 0.0),
        (2, 270, 5, 0.25),
        (4, 540, 10, 0.5),
    ]
    assert all((point.easy_step, point.hard_step) == (1.0, None) for point in fast.points)
    assert fast.points[0].distance == 0.0 < fast.points[1].distance
    assert all(point.low <= point.accuracy <= point.high and point.problems == 4 for point in fast.points)


def test_called_again_it_runs_what_is_missing(grid, trained, tmp_path, capsys):
    run(grid, tmp_path)
    trained.clear()
    assert run(grid, tmp_path, "--list") == 0
    assert "1 of 4 runs are missing\ntokens-late12-grpo-1" in capsys.readouterr().out and trained == []
    trained.append("tokens-late12-grpo-1")  # it does not fail a second time
    assert run(grid, tmp_path) == 0
    assert len(read_results(tmp_path / "r")) == 4
    trained.clear()
    assert run(grid, tmp_path) == 0 and trained == []


def test_runs_that_would_start_from_another_model_are_refused_before_they_are_trained(
    grid, trained, tmp_path, monkeypatch, capsys
):
    run(grid, tmp_path)  # a run of seed 1 is missing
    trained.clear()
    before = (tmp_path / "r" / "runs.csv").read_text()
    prepared = []
    monkeypatch.setattr(experiment, "prepare", lambda run, log: prepared.append(run.name))
    monkeypatch.setattr(experiment, "evaluate", lambda *model: Evaluation([0.25, 0.0, 0.0, 0.0], 1.0, None))
    experiment._evaluate_start.cache_clear()
    assert run(grid, tmp_path) == 1
    assert prepared == ["tokens-late12-grpo-1"] and trained == []
    error = capsys.readouterr().err
    assert "late12 1: runs started from models of different accuracies" in error
    assert "(0, and 0.0625 of the model made here): give another folder, --results" in error
    assert (tmp_path / "r" / "runs.csv").read_text() == before
    run(grid, tmp_path, "--results", str(tmp_path / "other"))
    assert len(trained) == 4


@pytest.mark.parametrize(
    ("text", "name"),
    [("processor\t: 0\nmodel name\t: A 7B\nmodel name\t: B\n", "A 7B"), ("processor\t: 0\n", "cpu"), (None, "cpu")],
)
def test_the_processor_is_named(tmp_path, text, name):
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert experiment.cpu_name(tmp_path / "cpuinfo") == name


def test_a_cell_composes_and_its_problems_are_prepared_as_the_grid_says(grid, tmp_path):
    from hydra import compose, initialize_config_dir

    from verl_gpo.plugin.checks.validate import check

    grid = experiment_grid.read_grid(grid)
    called = experiment_grid.training(grid, "late12", "gpo_fast:n_mc=8", 1, tmp_path).run()
    with initialize_config_dir(config_dir=str(REPOSITORY / "recipes/arithmetic/config"), version_base=None):
        config = compose("arithmetic", overrides=called.arguments)
    gpo = check(config)
    assert gpo.preset == "fast" and gpo.n_mc == 8 and gpo.seed == config.data.seed == 1
    assert config.data.train_batch_size == config.actor_rollout_ref.actor.ppo_mini_batch_size == 20
    assert config.actor_rollout_ref.actor.optim.lr == 1e-3 and config.trainer.save_freq == 2
    length = int(called.environment["RESPONSE_LENGTH"])
    assert config.actor_rollout_ref.rollout.max_model_len == config.data.max_prompt_length + length
    prepare = prepare_args([*called.environment["PREPARE_ARGS"].split(), "--out", "x"])
    assert (prepare.n_steps, prepare.n_hard, prepare.hard_place, prepare.slip) == (12, 2, "late", 0.3)
    assert prepare.target_low < 0.7**2 < prepare.target_high
    plain = experiment_grid.training(grid, "late12", "grpo", 1, tmp_path).run().arguments
    assert {"data.train_batch_size=6", "actor_rollout_ref.actor.ppo_mini_batch_size=6"} <= set(plain)
    bits = experiment_grid.training(grid, "bits", "grpo", 1, tmp_path).run()
    assert bits.script == "recipes/gym/run.sh"
    assert bits.environment.items() >= {"TASK": "count_bits", "PREPARE_ARGS": "", "RESPONSE_LENGTH": "139"}.items()
    assert {"data.max_prompt_length=75", "actor_rollout_ref.rollout.max_model_len=214"} <= set(bits.arguments)


def test_a_response_of_the_task_has_room():
    from recipes.arithmetic.task import ArithmeticSpec, generate_problems

    for steps in (6, 24):
        regime = experiment_grid.Regime(n_steps=steps, n_hard=2)
        (problem,) = generate_problems(ArithmeticSpec(steps, 2), 1, split="train", seed=0)
        prompt, response = regime.lengths
        assert len(problem.prompt) + 8 <= prompt and sum(len(line) + 1 for line in problem.right_lines) <= response


@pytest.mark.parametrize("path", sorted((REPOSITORY / "scripts" / "experiments").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_grids_of_the_repository_compose(path, tmp_path):
    from hydra import compose, initialize_config_dir

    from verl_gpo.plugin.checks.validate import check

    grid = experiment_grid.read_grid(path)
    assert grid.grid == path.stem and len(grid.seeds) >= 3
    settings = {}  # seconds each: methods that differ in nothing but numbers are composed once
    for name, method in grid.methods.items():
        settings.setdefault((method.algo, method.method, *method.settings), name)
    for method in settings.values():
        called = experiment_grid.training(grid, next(iter(grid.regimes)), method, 0, tmp_path).run()
        with initialize_config_dir(config_dir=str(REPOSITORY / "recipes/arithmetic/config"), version_base=None):
            check(compose("arithmetic", overrides=called.arguments))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("training_steps: 4|training_steps: 5", "evaluate_every=2: must divide training_steps=5"),
        ("grid: tokens|gird: tokens", "gird"),
        ("hard_place: late|place: late", "place"),
        ("seeds: [0, 1]|seeds: []", "seeds must not be empty"),
        ("slip: 0.3|slip: high", "slip"),
        ("task: count_bits|task: bits", "regimes.bits.task=bits: must be one of arithmetic, chain_sum, count_bits"),
        ("task: count_bits|task: count_bits, slip: 0.3", "regimes.bits: task=count_bits has no other key"),
        ("{late12: 6}|{early: 6}", "methods.grpo.regime_prompts: early: must be regimes"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(grid, capsys, changed, said):
    grid.write_text(GRID.replace(*changed.split("|")))
    with pytest.raises(SystemExit):
        experiment.parse_args([str(grid)])
    error = capsys.readouterr().err
    assert said in error and "grid.yaml" in error


def test_a_method_that_the_grid_has_not_is_refused(grid, capsys):
    with pytest.raises(SystemExit):
        experiment.parse_args([str(grid), "--methods", "sgd"])
    assert "--methods=sgd: must be of grpo, gpo_fast:n_mc=8" in capsys.readouterr().err
