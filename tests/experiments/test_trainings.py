"""A cell that is trained with verl: what it is called with, and its row by hand."""

import json
from dataclasses import replace

import pytest

from recipes.arithmetic.prepare import parse_args as prepare_args
from scripts.experiments import trainings
from scripts.experiments.evaluation import Evaluation
from scripts.experiments.grids import read_grid
from scripts.experiments.trainings import Training
from tests.conftest import REPOSITORY
from tests.experiments.test_grids import GRID


@pytest.fixture
def training(tmp_path):
    (tmp_path / "grid.yaml").write_text(GRID)
    grid = read_grid(tmp_path / "grid.yaml")

    def made(regime, name, seed=1):
        (cell,) = (one for one in grid.cells() if (one.regime, one.name, one.seed) == (regime, name, seed))
        return Training(grid, cell, tmp_path)

    return made


def test_a_cell_composes_and_its_problems_are_prepared_as_the_grid_says(training):
    from hydra import compose, initialize_config_dir

    from verl_gpo.plugin.checks.validate import check

    one = training("late12", "gpo_fast n_mc=8")
    settings = replace(one.cell.settings, rollouts=6, schedule="cosine", clip_grad=0.1)
    called = replace(one, cell=replace(one.cell, settings=settings)).call()
    with initialize_config_dir(config_dir=str(REPOSITORY / "recipes/arithmetic/config"), version_base=None):
        config = compose("arithmetic", overrides=called.arguments)
    gpo = check(config)
    assert gpo.preset == "fast" and gpo.n_mc == 8 and gpo.seed == config.data.seed == 1
    assert config.data.train_batch_size == config.actor_rollout_ref.actor.ppo_mini_batch_size == 20
    assert config.actor_rollout_ref.actor.optim.lr == 1e-3 and config.trainer.save_freq == 2
    length = int(called.environment["RESPONSE_LENGTH"])
    assert config.actor_rollout_ref.rollout.max_model_len == config.data.max_prompt_length + length
    assert (called.environment["ALGO"], called.environment["METHOD"]) == ("grpo", "gpo")
    assert config.actor_rollout_ref.rollout.n == 6 and config.actor_rollout_ref.actor.optim.clip_grad == 0.1
    assert config.actor_rollout_ref.actor.optim.lr_scheduler_type == "cosine"
    prepare = prepare_args([*called.environment["PREPARE_ARGS"].split(), "--out", "x"])
    assert (prepare.n_steps, prepare.n_hard, prepare.hard_place, prepare.slip) == (12, 2, "late", 0.3)
    assert prepare.target_low < 0.7**2 < prepare.target_high


def test_cells_of_other_tasks_optimizers_and_sizes(training):
    plain = training("late12", "grpo").call()
    assert {"data.train_batch_size=6", "actor_rollout_ref.actor.ppo_mini_batch_size=6"} <= set(plain.arguments)
    assert (plain.environment["METHOD"], plain.script) == ("plain", "recipes/arithmetic/run.sh")
    assert training("late12", "gpo_paper optimizer=ppo").call().environment["ALGO"] == "ppo"
    bits = training("bits", "grpo").call()
    assert bits.script == "recipes/gym/run.sh"
    assert bits.environment.items() >= {"TASK": "count_bits", "PREPARE_ARGS": "", "RESPONSE_LENGTH": "139"}.items()
    assert {"data.max_prompt_length=75", "actor_rollout_ref.rollout.max_model_len=214"} <= set(bits.arguments)


def test_a_cell_of_the_language_model_composes(training):
    from hydra import compose, initialize_config_dir

    from recipes.smollm2.prepare import parse_args
    from verl_gpo.plugin.checks.validate import check

    called = training("legs", "gpo_fast").call()
    assert called.script == "recipes/smollm2/run.sh" and called.environment["SETUP"] == "leg_counting"
    written = ["setup=leg_counting", "algo=grpo", "recipe.data_dir=x", *called.arguments]
    with initialize_config_dir(config_dir=str(REPOSITORY / "recipes/smollm2/config"), version_base=None):
        config = compose("smollm2", overrides=written)
    assert check(config).preset == "fast"
    assert (config.data.max_prompt_length, config.data.max_response_length) == (160, 200)
    assert config.actor_rollout_ref.rollout.max_model_len == 360
    prepare = parse_args(["--task", "leg_counting", "--out", "x", *called.environment["PREPARE_ARGS"].split()])
    assert (prepare.max_animals, prepare.target_low) == (8, 0.05)


def metrics(step, reenters):
    own = {"gpo/tokens/value": 30, "gpo/tokens/reentry": 5, "gpo/critical/found": 4, "gpo/critical/given": 0.75}
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


def log(file, reenters):
    file.parent.mkdir(parents=True, exist_ok=True)
    steps = [{"step": step, "data": metrics(step, reenters)} for step in (1, 2, 3, 4)]
    file.write_text("".join(json.dumps(step) + "\n" for step in steps))


def evaluate(model, data, samples, seed):
    step = int(str(model).partition("global_step_")[2].partition("/")[0] or 0)
    return Evaluation([step / 4, 0.0, step / 4, 0.0], 1.0, None)


@pytest.fixture
def models(monkeypatch):
    monkeypatch.setattr(trainings, "evaluate", evaluate)
    monkeypatch.setattr(trainings, "distance", lambda model, start: 0.0 if model == start else len(str(model)) / 100)
    trainings.evaluate_start.cache_clear()


def test_rows_by_hand(training, models):
    found = {}
    for number, name in enumerate(("grpo", "gpo_fast n_mc=8"), start=1):
        one = training("late12", name)
        log(one.metrics, reenters="fast" in name)
        found[name], accuracies = one.result(number, "abc")
        assert accuracies == [1.0, 0.0, 1.0, 0.0]
    plain, fast = found.values()
    assert (plain.run, plain.commit, plain.key) == (1, "abc", training("late12", "grpo").cell.key)
    assert (plain.tokens_root, plain.tokens, plain.rows, plain.optimizer_steps) == (400, 400, 256, 4)
    assert (plain.seconds, plain.seconds_gen, plain.seconds_update_critic) == (10, 6, None)  # 12 less two savings
    assert (plain.root_mixed, plain.reentry_mixed, plain.hits, plain.chosen) == (0.25, None, None, None)
    assert (plain.accuracy, plain.settings.prompts, plain.settings.learning_rate) == (0.5, 6, 5e-4)
    assert (fast.tokens, fast.hits, fast.chosen, fast.settings.n_mc) == (540, 12, 16, 8)
    assert [(p.training_step, p.tokens, p.seconds, p.accuracy) for p in fast.points] == [
        (0, 0, 0, 0.0),
        (2, 270, 5, 0.25),
        (4, 540, 10, 0.5),
    ]
    assert all((point.run, point.easy_step, point.hard_step) == (2, 1.0, None) for point in fast.points)
    assert fast.points[0].distance == 0.0 < fast.points[1].distance
    assert all(point.low <= point.accuracy <= point.high and point.problems == 4 for point in fast.points)


@pytest.mark.parametrize(
    ("text", "name"),
    [("processor\t: 0\nmodel name\t: A 7B\nmodel name\t: B\n", "A 7B"), ("processor\t: 0\n", "cpu"), (None, "cpu")],
)
def test_the_processor_is_named(tmp_path, monkeypatch, text, name):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    cores, device = trainings.machine(tmp_path / "cpuinfo")
    assert cores >= 1 and device == name
