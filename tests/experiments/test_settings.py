"""Names of methods and their settings: what verl is called with, and what a table shows."""

import pytest

from scripts.experiments.settings import OFFLINE, ONLINE, Settings, label, overrides, recipe_method
from tests.conftest import REPOSITORY

BATCH = [
    "data.train_batch_size=8",
    "actor_rollout_ref.actor.ppo_mini_batch_size=8",
    "critic.ppo_mini_batch_size=8",
    "actor_rollout_ref.actor.optim.lr=0.0005",
]


def test_a_method_as_it_is_sets_no_more_than_it_has_to():
    assert overrides("grpo", Settings()) == BATCH
    assert overrides("gpo_fast", Settings()) == [*BATCH, "algorithm.gpo.preset=fast"]
    assert overrides("lean", Settings()) == [*BATCH, "algorithm.gpo.preset=lean"]
    assert overrides("oracle", Settings(rows_mode="matched")) == [
        *BATCH,
        "algorithm.gpo.search=given",
        "algorithm.gpo.rows=matched",
    ]


def test_every_setting_is_passed_on():
    settings = Settings(
        prompts=4, rollouts=6, mini_batches=2, learning_rate=2e-3, schedule="cosine", clip_grad=0.1, search="uniform",
        search_budget=24, n_mc=8, n_reentry=6, learn_from="all", rule="argmax", reset="after",
        anchor_outcome="surprising", explore_share=0.5, rows_mode="widened",
    )  # fmt: skip
    assert overrides("gpo_paper", settings) == [
        "data.train_batch_size=4",
        "actor_rollout_ref.actor.ppo_mini_batch_size=2",
        "critic.ppo_mini_batch_size=2",
        "actor_rollout_ref.actor.optim.lr=0.002",
        "actor_rollout_ref.rollout.n=6",
        "actor_rollout_ref.actor.optim.lr_scheduler_type=cosine",
        "actor_rollout_ref.actor.optim.clip_grad=0.1",
        *(f"algorithm.gpo.{text}" for text in ("rows=widened", "search=uniform", "search_budget=24", "n_mc=8")),
        *(f"algorithm.gpo.{text}" for text in ("n_reentry=6", "learn_from=all", "rule=argmax", "reset=after")),
        *(f"algorithm.gpo.{text}" for text in ("anchor_outcome=surprising", "explore_share=0.5")),
    ]


@pytest.mark.parametrize(
    ("method", "settings", "base", "expected"),
    [
        ("grpo", Settings(), Settings(), "grpo"),
        ("grpo", Settings(prompts=2), Settings(prompts=2), "grpo"),
        ("grpo", Settings(rollouts=4, prompts=4), Settings(prompts=2), "grpo prompts=4 rollouts=4"),
        ("lean", Settings(learning_rate=2e-3, clip_grad=0.1), Settings(), "lean learning_rate=0.002 clip_grad=0.1"),
        ("gpo_paper", Settings(optimizer="ppo"), Settings(), "gpo_paper optimizer=ppo"),
    ],
)
def test_a_name_says_what_differs(method, settings, base, expected):
    assert label(method, settings, base) == expected


def test_the_recipe_knows_its_methods_and_optimizers():
    assert [recipe_method(name) for name in ("grpo", "dpo", "random", "oracle")] == ["plain", "plain", "random", "gpo"]
    recipe = REPOSITORY / "recipes" / "arithmetic"
    online, offline = ((recipe / script).read_text().partition("\nesac")[0] for script in ("run.sh", "offline.sh"))
    named = {word.strip("|()") for line in online.splitlines() for word in line.split() if "#" not in word}
    assert set(ONLINE) <= named
    assert all(optimizer in offline for optimizer in OFFLINE)
    assert Settings(optimizer="kto").offline and not Settings().offline
