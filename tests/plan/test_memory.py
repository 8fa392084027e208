"""The memory estimate, against sums worked out by hand."""

import pytest

from verl_gpo.plan.architecture import KNOWN
from verl_gpo.plan.memory import GIB, estimate

MODEL = KNOWN["Qwen/Qwen2.5-0.5B-Instruct"]
N = MODEL.parameters


def test_all_weights_are_sixteen_bytes_each(configured):
    memory = estimate(configured(), MODEL, 80)
    assert (memory.states, memory.gradients) == (12 * N, 4 * N)
    assert memory.logits == 6 * 16384 * 151_936
    assert memory.rollout == 0.5 * 80 * GIB and memory.sampling == memory.states + memory.rollout
    assert memory.kv_tokens == int((memory.rollout - 2 * N) / MODEL.kv_bytes_per_token())


def test_they_are_divided_over_the_gpus_and_may_be_offloaded(configured):
    fsdp = "actor_rollout_ref.actor.fsdp_config"
    assert estimate(configured("trainer.n_gpus_per_node=8"), MODEL, 80).states == 12 * N / 8
    offloaded = configured(f"{fsdp}.param_offload=true", f"{fsdp}.optimizer_offload=true")
    assert estimate(offloaded, MODEL, 80).states == 0


def test_adapters_alone_are_trained_with_lora(configured):
    memory = estimate(configured("actor_rollout_ref.model.lora_rank=32"), MODEL, 80)
    adapters = MODEL.lora_parameters(32)
    assert memory.states == 4 * N + 12 * adapters and memory.gradients == 4 * adapters


def test_critic_and_reference_are_held_too(configured):
    critic = estimate(configured("algorithm.adv_estimator=gae"), MODEL, 80)
    assert critic.states == 24 * N and critic.gradients == 4 * N  # updated one after the other
    assert estimate(configured("actor_rollout_ref.actor.use_kl_loss=true"), MODEL, 80).states == 16 * N
    with_lora = configured("actor_rollout_ref.actor.use_kl_loss=true", "actor_rollout_ref.model.lora_rank=8")
    assert estimate(with_lora, MODEL, 80).states == 4 * N + 12 * MODEL.lora_parameters(8)


def test_weights_that_do_not_fit_leave_no_cache(configured):
    assert estimate(configured(), MODEL, 1).kv_tokens == 0


def test_a_micro_batch_holds_the_longest_row(configured):
    long = configured("data.max_response_length=40000")
    assert estimate(long, MODEL, 80).logits == 6 * 40_512 * 151_936
    counted = configured(
        "actor_rollout_ref.actor.use_dynamic_bsz=false", "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4"
    )
    assert estimate(counted, MODEL, 80).logits == pytest.approx(6 * 4 * 1024 * 151_936)
