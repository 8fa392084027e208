"""The right buffer for each trainer mode; its metrics come from the rows' tags."""

from types import SimpleNamespace

import pytest
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from verl_gpo.plugin.observe.metrics import REENTRY_TAG, TAG
from verl_gpo.plugin.observe.trackers import Trackers
from verl_gpo.plugin.replay_buffer import GPOReplayBuffer, GPOReplayBufferAsync, build_replay_buffer, trainer_config


def build(trainer_mode="sync", config=None, **sampler_kwargs):
    """The buffer as the trainer of ``config`` builds it, or one with its own settings alone."""
    if config is None:
        settings = OmegaConf.create(sampler_kwargs)
    else:
        OmegaConf.update(config, "trainer.v1.sampler.sampler_kwargs", sampler_kwargs, force_add=True)
        settings = config.trainer.v1.sampler.sampler_kwargs
    return build_replay_buffer(
        trainer_mode=trainer_mode,
        trainer_config=OmegaConf.create({}),
        max_off_policy_threshold=None,
        max_off_policy_strategy="drop",
        sampler_kwargs=settings,
        refill_fn=lambda count: None,
    )


@pytest.mark.parametrize(
    ("trainer_mode", "ours", "verls"),
    [
        ("sync", GPOReplayBuffer, ReplayBuffer),
        ("colocate_async", GPOReplayBufferAsync, ReplayBufferAsync),
        ("separate_async", GPOReplayBufferAsync, ReplayBufferAsync),
    ],
)
def test_each_trainer_mode_has_its_buffer(trainer_mode, ours, verls):
    buffer = build(trainer_mode, poll_interval=0.25)
    assert type(buffer) is ours and isinstance(buffer, verls)
    assert buffer.poll_interval == 0.25 and buffer.trainer_mode == trainer_mode


def test_poll_interval_is_verls_own_unless_set():
    assert build().poll_interval == 2.0


def record(failed):
    return {
        "root_tokens": 3,
        "root_rewards": [1.0],
        "root_accuracies": [1.0],
        "rollout_seconds": 1.0,
        "skipped": None,
        "failed": failed,
        "unscored": 0,
    }


@pytest.fixture
def queue(monkeypatch):
    """A transfer queue with two finished prompts of two rows each; the first row of each carries a record."""
    rows = {}
    for number, uid in enumerate(("p", "q")):
        rows[uid] = {"is_prompt": True, "status": "finished", "global_steps": 1}
        rows[f"{uid}_0_0"] = {"status": "success", "seq_len": 7, TAG: record(failed=bool(number))}
        rows[f"{uid}_1_0"] = {"status": "success", "seq_len": 9}
    cleared = []
    monkeypatch.setattr(tq, "kv_list", lambda *args, **kwargs: {"train": rows})
    monkeypatch.setattr(tq, "kv_clear", lambda keys, partition_id: cleared.extend(keys))
    return SimpleNamespace(rows=rows, cleared=cleared)


def test_a_step_is_said_in_a_line_and_shown_to_the_trackers(queue, capsys, monkeypatch):
    sample, logged = {"prompt": "p"}, []
    queue.rows["p_0_0"][TAG] |= {"sample": sample, "critical": [(2, 5, 0.5, 0.5)]}
    monkeypatch.setattr(Trackers, "log", lambda self, *args: logged.append((self._left, *args)))
    build(poll_interval=0.0, loggers=["console", "wandb"]).sample(1, "train", 2)
    assert logged == [(["wandb"], 1, [0.5], [sample])]
    line = "verl_gpo: step 1: root accuracy 1.00, 1 critical step (at 50%, confidence 0.50), 6 tokens\n"
    assert line in capsys.readouterr().out


def test_a_batch_brings_its_metrics_and_leaves_no_record_behind(queue):
    batch, metrics = build(poll_interval=0.0).sample(global_steps=1, partition_id="train", batch_size=2)
    assert sorted(batch.keys) == ["p_0_0", "p_1_0", "q_0_0", "q_1_0"]
    assert metrics["gpo/prompts/failed"] == 0.5 and metrics["gpo/rollouts/root"] == 2.0
    assert all(TAG not in tag and "seq_len" in tag for tag in batch.tags)


def test_verls_own_metrics_are_kept(queue, monkeypatch):
    sample = ReplayBuffer.sample
    monkeypatch.setattr(ReplayBuffer, "sample", lambda self, *args: (sample(self, *args)[0], {"training/verls": 3}))
    _, metrics = build(poll_interval=0.0).sample(1, "train", 2)
    assert metrics["training/verls"] == 3 and metrics["gpo/prompts/failed"] == 0.5


def test_a_batch_without_records_has_no_metrics_of_ours(queue):
    for tag in queue.rows.values():
        tag.pop(TAG, None)
    _, metrics = build(poll_interval=0.0).sample(1, "train", 2)
    assert not [name for name in metrics if name.startswith("gpo/")]


def test_rows_and_optimizer_steps_are_counted(queue):
    settings = {"mini_batch_size": 1, "rollout_n": 3, "ppo_epochs": 2}
    _, metrics = build(poll_interval=0.0, **settings).sample(1, "train", 2)
    # Four rows in mini-batches of three, twice over.
    assert metrics["gpo/rows"] == 4.0 and metrics["gpo/optimizer_steps"] == 4.0
    _, metrics = build(poll_interval=0.0).sample(1, "train", 2)
    assert "gpo/rows" not in metrics


def configured(rows):
    """A trainer's configuration, with two prompts of two rows in a mini-batch."""
    return OmegaConf.create(
        {
            "algorithm": {"adv_estimator": "gpo", "gpo": {"rows": rows}},
            "trainer": {"n_gpus_per_node": 1, "nnodes": 1},
            "critic": {"enable": False},
            "actor_rollout_ref": {"actor": {"ppo_mini_batch_size": 2}, "rollout": {"n": 2}},
        }
    )


@pytest.mark.parametrize(
    ("rows", "mini_batch", "optimizer_steps"), [("widened", 3, 1.0), ("added", 2, 2.0), ("matched", 2, 2.0)]
)
def test_the_trainers_mini_batches_fit_the_rows_before_it_reads_them(queue, rows, mini_batch, optimizer_steps):
    queue.rows["p_2_0"] = {"status": "success", "seq_len": 9, REENTRY_TAG: True}
    config = configured(rows)
    buffer = build(config=config, poll_interval=0.0, mini_batch_size=2, rollout_n=2)
    _, metrics = buffer.sample(1, "train", 2)
    # Four roots and a re-entry rollout, in mini-batches of four or of six.
    assert metrics["gpo/rows"] == 5.0 and metrics["gpo/optimizer_steps"] == optimizer_steps
    assert config.actor_rollout_ref.actor.ppo_mini_batch_size == mini_batch
    assert (buffer.mini_batches is None) == (rows == "matched")


def test_the_configuration_is_found_from_the_block_that_verl_hands_over(compose, run_overrides):
    config = compose(*run_overrides)
    OmegaConf.resolve(config)  # as verl does before it makes the trainer
    assert trainer_config(config.trainer.v1.sampler.sampler_kwargs) is config
    assert trainer_config(OmegaConf.create({"poll_interval": 0.2})) is None and trainer_config({}) is None


def test_failed_groups_are_refilled_where_it_is_asked_for():
    assert not build().sync_refill_failed_groups
    buffer = build(sync_refill_failed_groups=True, train_batch_size=4)
    assert buffer.sync_refill_failed_groups and (buffer.train_batch_size, buffer.gen_batch_size) == (4, 1)


FILTER = {"filter_groups": {"enable": True, "metric": "reward", "max_inflight_gen_batches": 2}, "train_batch_size": 1}


@pytest.fixture
def rewards(queue, monkeypatch):
    """p's roots are both wrong and its re-entry rollout is right; q's roots differ."""
    queue.rows["p_2_0"] = {"status": "success", "seq_len": 9, REENTRY_TAG: True}
    known = {"p_0_0": 0.0, "p_1_0": 0.0, "p_2_0": 1.0, "q_0_0": 1.0, "q_1_0": 0.0}

    def get(keys, partition_id, select_fields):
        assert select_fields == ["rm_scores"]
        return TensorDict({"rm_scores": torch.tensor([[0.0, known[key]] for key in keys])}, batch_size=len(keys))

    monkeypatch.setattr(tq, "kv_batch_get", get)
    return known


@pytest.mark.parametrize("trainer_mode", ["sync", "colocate_async"])
def test_groups_are_filtered_by_their_roots(queue, rewards, trainer_mode):
    buffer = build(trainer_mode, poll_interval=0.0, **FILTER)
    buffer._sync_metadata_from_transfer_queue()
    uids, counts = buffer._dapo_filtered_keys("train")
    assert uids == {"p"} and dict(counts) == {0.0: 1}
    assert "p_2_0" in buffer.partitions["train"]  # it is still there to be cleared with its prompt


def test_a_filtered_prompt_goes_with_its_reentry_rollouts(queue, rewards, monkeypatch):
    monkeypatch.setattr(tq, "kv_clear", lambda keys, partition_id: [queue.rows.pop(key) for key in keys])
    batch, metrics = build("sync", poll_interval=0.0, **FILTER).sample(1, "train", 1)
    assert sorted(batch.keys) == ["q_0_0", "q_1_0"] and not any(key.startswith("p") for key in queue.rows)
    assert metrics["training/filter_groups/evicted_samples"] == 1


def test_without_filter_nothing_is_filtered(queue, rewards):
    batch, _ = build(poll_interval=0.0, filter_groups={"enable": False, "metric": "reward"}).sample(1, "train", 2)
    assert len(batch.keys) == 5
