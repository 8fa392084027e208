"""Grids: what a YAML file says, and the cells that come of it."""

import pytest
import yaml

from scripts.experiments.grids import FOLDER, Regime, read_grid
from scripts.experiments.settings import Settings, overrides
from scripts.experiments.trainings import Training
from tests.conftest import REPOSITORY

GRID = """
grid: tokens
training_steps: 4
evaluate_every: 2
seeds: [0, 1]
regimes:
  late12: {n_steps: 12, n_hard: 2, hard_place: late, slip: 0.3}
  bits: {task: count_bits}
  legs: {task: leg_counting, prepare: [--max-animals=8, --target-low=0.05]}
methods:
  grpo: {regime_prompts: {late12: 6}}
  gpo_fast: {prompts: 20, learning_rate: 1e-3}
  gpo_paper: {run: false}
variants:
  - {method: gpo_fast, n_mc: 8}
  - {method: gpo_paper, optimizer: ppo}
"""
OPTIMIZERS = """
grid: optimizers
training_steps: 4
evaluate_every: 2
seeds: [0]
regimes: {easy: {}}
optimizers: [grpo, kto]
methods: {plain: {}, random: {}}
"""


@pytest.fixture
def write(tmp_path):
    def written(text):
        (tmp_path / "grid.yaml").write_text(text)
        return tmp_path / "grid.yaml"

    return written


def test_cells_are_seed_by_seed_with_their_settings(write):
    cells = [cell for cell in read_grid(write(GRID)).cells() if cell.regime == "late12"]
    names = ["grpo", "gpo_fast", "gpo_fast n_mc=8", "gpo_paper optimizer=ppo"]
    assert [(cell.seed, cell.name) for cell in cells] == [(seed, name) for seed in (0, 1) for name in names]
    assert cells[0].settings == Settings(prompts=6)
    assert cells[2].settings == Settings(prompts=20, learning_rate=1e-3, n_mc=8)
    assert cells[3].settings == Settings(optimizer="ppo")
    assert cells[2].file_name == "tokens-late12-gpo_fast_n_mc8-0"


def test_prompts_of_a_regime_are_those_of_no_other(write):
    grid = read_grid(write(GRID))
    assert [grid.base("grpo", regime).prompts for regime in ("late12", "bits")] == [6, 8]
    assert grid.base("oracle", "late12") == Settings()  # the grid does not have it


def test_every_method_is_trained_with_every_optimizer(write):
    found = read_grid(write(OPTIMIZERS)).trained("easy")
    assert [(method, settings.optimizer) for method, settings in found] == [
        ("grpo", "grpo"),
        ("random", "grpo"),
        ("kto", "kto"),
        ("random", "kto"),
    ]
    offline = found[-1][1]
    assert (offline.prompts, offline.rollouts, offline.learning_rate) == (None, None, None)  # the recipe has its own


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("training_steps: 4|training_steps: 5", "evaluate_every=2: must divide training_steps=5"),
        ("grid: tokens|gird: tokens", "gird"),
        ("hard_place: late|place: late", "place"),
        ("seeds: [0, 1]|seeds: []", "seeds must not be empty"),
        ("slip: 0.3|slip: high", "slip"),
        ("prompts: 20|prompt: 20", "prompt"),
        ("n_mc: 8|n_mc: few", "n_mc"),
        ("task: count_bits|task: bits", "regimes.bits.task=bits: must be one of arithmetic, chain_sum, count_bits"),
        (
            "task: count_bits|task: count_bits, prepare: [-x]",
            "regimes.bits.prepare: is read with a task of leg_counting",
        ),
        ("task: leg_counting|task: leg_counting, slip: 0.3", "regimes.legs: task=leg_counting has no key slip"),
        ("task: count_bits|task: count_bits, slip: 0.3", "regimes.bits: task=count_bits has no key slip"),
        ("{late12: 6}|{early: 6}", "methods.grpo.regime_prompts: early: must be regimes"),
        ("  gpo_paper: {run|  gpo_best: {run", "methods.gpo_best: must be one of grpo, ppo"),
        ("{method: gpo_fast,|{method: lean,", "variants[0].method=lean: must be one of grpo, gpo_fast, gpo_paper"),
        ("n_mc: 8|mini_batches: 3", "gpo_fast: mini_batches=3: must divide prompts=20"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(write, changed, said):
    before, after = changed.split("|")
    assert before in GRID
    with pytest.raises(ValueError, match=r"grid\.yaml") as error:
        read_grid(write(GRID.replace(before, after)))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_an_optimizer_that_is_none_is_refused(write):
    with pytest.raises(ValueError, match="optimizers: sgd: must be one of grpo, ppo"):
        read_grid(write(OPTIMIZERS.replace("kto", "sgd")))
    with pytest.raises(ValueError, match=r"methods\.grpo: must be one of plain, random"):
        read_grid(write(OPTIMIZERS.replace("plain", "grpo")))
    with pytest.raises(ValueError, match="No such file"):
        read_grid(FOLDER / "none.yaml")


def test_a_response_of_the_task_has_room():
    from recipes.arithmetic.task import ArithmeticSpec, generate_problems

    for steps in (6, 24):
        (problem,) = generate_problems(ArithmeticSpec(steps, 2), 1, split="train", seed=0)
        prompt, response = Regime(n_steps=steps, n_hard=2).lengths
        assert len(problem.prompt) + 8 <= prompt and sum(len(line) + 1 for line in problem.right_lines) <= response
    assert Regime(prompt_tokens=128, response_tokens=96).lengths == (128, 96)


def test_a_conversation_of_the_agents_has_room():
    pytest.importorskip("transformers")
    import random

    from recipes.agents.chat import agent_tokenizer, encode
    from recipes.agents.task import AgentSpec, generate_problems, sample_conversation

    regime = Regime(task="agents", prepare=["--n-moves=6"])
    assert (regime.script, regime.arguments) == ("recipes/agents/run.sh", ["--n-moves=6"])
    (problem,) = generate_problems(AgentSpec(6, 1, 0), 1, seed=0)
    messages = sample_conversation(problem, random.Random(0), 0.0)
    asked, whole = (len(encode(agent_tokenizer(), part)[0]) for part in (messages[:1], messages))
    prompt, response = regime.lengths
    assert asked <= prompt and whole - asked <= response


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_grids_of_the_repository_compose(path, tmp_path):
    from hydra import compose, initialize_config_dir

    from verl_gpo.config import GPOConfig
    from verl_gpo.plugin.checks.validate import check

    grid = read_grid(path)
    assert grid.grid == path.stem and len(grid.seeds) >= 3
    cells = [cell for cell in grid.cells() if not cell.settings.offline]
    # Rows of settings that measured nothing and were removed stay, and so do their entries; they cannot be run again.
    cells = [cell for cell in cells if cell.settings.anchor_outcome is None and cell.settings.explore_share is None]
    for cell in cells:
        own = (text.partition("=") for text in overrides(cell.method, cell.settings) if "algorithm.gpo." in text)
        GPOConfig.from_mapping({key.rpartition(".")[2]: yaml.safe_load(value) for key, _, value in own})
    called = Training(grid, cells[-1], tmp_path).call()  # seconds: the others differ in what was checked above
    with initialize_config_dir(config_dir=str(REPOSITORY / "recipes/arithmetic/config"), version_base=None):
        check(compose("arithmetic", overrides=called.arguments))
