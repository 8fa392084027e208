"""Rows, optimizer steps and tokens, against values worked out by hand."""

import json

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.plan.__main__ import gpo_settings
from verl_gpo.plan.configuration import PlanError
from verl_gpo.plan.numbers import Expectation, expectation, measured_run, training_steps, workload

#: Five steps of 20 tokens: continuations from the four states between them have 80, 60, 40 and 20, 50 on average.
EXPECTED = Expectation(5, 100, "by hand")
METRICS = REPOSITORY / "recipes" / "arithmetic" / "results" / "gpo" / "metrics.jsonl"


def planned(configuration):
    return workload(configuration, gpo_settings(configuration), EXPECTED)


def test_added_rows_cost_a_second_optimizer_step(configured):
    step = planned(configured())
    assert (step.root_rows, step.reentry_rows) == (128, 64)
    assert (step.mini_batch_rows, step.actor.padding, step.actor.optimizer_steps) == (96, 0, 2)
    assert step.root_tokens == 16 * 8 * 100
    assert step.value_tokens == 16 * 4 * 4 * 50
    assert step.reentry_tokens == 16 * 4 * 50
    assert step.tokens == 12_800 + 12_800 + 3_200 and step.critic is None


def test_widened_rows_keep_the_baselines_optimizer_steps(configured):
    added, widened = (planned(configured(f"algorithm.gpo.rows={rows}")) for rows in ("added", "widened"))
    plain = planned(configured("algorithm.gpo.enable=false", "algorithm.gpo.rows=widened"))
    assert widened.actor.rows == added.actor.rows > plain.actor.rows
    assert widened.actor.optimizer_steps == plain.actor.optimizer_steps < added.actor.optimizer_steps
    assert widened.actor.padding < widened.n


def test_matched_rows_keep_the_baselines_arithmetic(configured):
    step = planned(configured("algorithm.gpo.rows=matched"))
    assert (step.root_rows, step.reentry_rows) == (64, 64)
    assert (step.actor.rows, step.actor.padding, step.actor.optimizer_steps) == (128, 0, 1)
    assert step.root_tokens == 16 * 4 * 100


def test_the_plain_run_generates_its_roots_only(configured):
    step = planned(configured("algorithm.gpo.enable=false", "algorithm.gpo.rows=matched"))
    assert (step.root_rows, step.reentry_rows, step.tokens) == (128, 0, 12_800)


def test_a_random_reset_costs_its_rollouts_whatever_is_learnt_from(configured):
    for learn_from in ("fresh", "reuse", "split"):
        step = planned(configured("algorithm.gpo.search=random", f"algorithm.gpo.learn_from={learn_from}"))
        assert (step.value_tokens, step.reentry_tokens, step.reentry_rows) == (0, 16 * 4 * 50, 64)


def test_the_critics_mini_batches_divide_the_batch_as_well(configured):
    step = planned(
        configured(
            "algorithm.adv_estimator=gae", "critic.ppo_mini_batch_size=8", "critic.ppo_epochs=2", "critic.model.path=x"
        )
    )
    # 192 rows, more than one mini-batch of 128 for the actor, and three of 64 for the critic.
    assert (step.mini_batch_rows, step.actor.padding, step.actor.optimizer_steps) == (96, 0, 2)
    assert (step.critic.padding, step.critic.optimizer_steps) == (0, 6)


def test_ranks_that_share_a_row_are_counted_once(configured):
    eight = ("model_engine=megatron", "trainer.n_gpus_per_node=8")
    sizes = "actor_rollout_ref.actor.megatron.tensor_model_parallel_size"
    assert planned(configured(*eight, f"{sizes}=4", "actor_rollout_ref.actor.ppo_mini_batch_size=1")).actor.padding == 0
    with pytest.raises(PlanError, match="8 GPUs cannot be divided by the 3"):
        planned(configured(*eight, f"{sizes}=3"))


def test_what_a_run_measured_takes_the_place_of_what_is_assumed(configured):
    run = measured_run(METRICS)
    lines = [json.loads(line)["data"] for line in METRICS.read_text().splitlines()]
    roots = sum(line.get("gpo/tokens/root", 0) for line in lines)
    assert run.steps == 9 and run.response_tokens == pytest.approx(roots / 2048)
    assert run.tokens == pytest.approx((110_587 + 221_260 + 32_006) / 16)  # the recipe's table
    assert expectation(configured(), METRICS).response_tokens == run.response_tokens


def test_without_a_word_the_limits_are_assumed(configured):
    found = expectation(configured())
    assert found.response_tokens == 512 and "data.max_response_length" in found.source


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), ("{}\n{}\n", "line 1"), ('{"step":1,"data":{"actor/lr":1}}\n', "gpo/tokens/root")],
)
def test_a_metrics_file_that_says_nothing_is_refused(tmp_path, content, said):
    path = tmp_path / "metrics.jsonl"
    if content:
        path.write_text(content)
    with pytest.raises(PlanError, match=f"--measured {path}.*{said}"):
        measured_run(path)


def test_training_steps_are_counted_where_the_data_are(configured, tiny_run):
    files = f"data.train_files={tiny_run}/train.parquet"
    assert training_steps(configured(files, "trainer.total_epochs=3", "data.train_batch_size=5"))[0] == 9  # 16 rows
    assert training_steps(configured(files, "trainer.total_training_steps=7"))[0] == 7
    assert training_steps(configured("data.train_files=/nowhere.parquet"))[0] is None
