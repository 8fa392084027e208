"""Values that cannot work are refused in one line that names the key, before anything starts."""

import pytest

from verl_gpo.config import ConfigError
from verl_gpo.plugin.checks.validate import check
from verl_gpo.plugin.checks.values import check_gpus, check_values

ROLLOUT = "actor_rollout_ref.rollout"
COUNT = "must be an integer of at least 1"

BAD = {
    "data.max_response_length=null": f"data.max_response_length=None: {COUNT}",
    "data.max_response_length=1e3": f"data.max_response_length=1000.0: {COUNT}",
    "data.max_prompt_length=0": f"data.max_prompt_length=0: {COUNT}",
    "data.train_batch_size=abc": f"data.train_batch_size='abc': {COUNT}",
    "data.train_files=null": "data.train_files=None: must be a parquet file, or a list of them",
    "data.train_files=[]": "data.train_files=[]: must be a parquet file, or a list of them",
    "data.val_files=null": "data.val_files=None: must be a parquet file, or a list of them",
    "actor_rollout_ref.model.path=null": "actor_rollout_ref.model.path=None: must be given",
    "actor_rollout_ref.actor.ppo_mini_batch_size=-4": f"actor_rollout_ref.actor.ppo_mini_batch_size=-4: {COUNT}",
    "actor_rollout_ref.actor.ppo_epochs=true": f"actor_rollout_ref.actor.ppo_epochs=True: {COUNT}",
    "actor_rollout_ref.actor.optim.lr=-1e-6": "actor_rollout_ref.actor.optim.lr=-1e-06: must be a number of at least 0",
    "actor_rollout_ref.actor.optim.lr=.nan": "actor_rollout_ref.actor.optim.lr=nan: must be a number of at least 0",
    f"{ROLLOUT}.name=null": f"{ROLLOUT}.name=None: must be the name of a rollout engine, such as vllm or sglang",
    f"{ROLLOUT}.n=0": f"{ROLLOUT}.n=0: {COUNT}",
    f"{ROLLOUT}.temperature=0": f"{ROLLOUT}.temperature=0: must be a number above 0: otherwise all "
    "rollouts of a prompt are the same",
    f"{ROLLOUT}.temperature=warm": f"{ROLLOUT}.temperature='warm': must be a number above 0: otherwise all "
    "rollouts of a prompt are the same",
    f"{ROLLOUT}.top_p=0": f"{ROLLOUT}.top_p=0: must be a number above 0 and at most 1",
    f"{ROLLOUT}.gpu_memory_utilization=60": f"{ROLLOUT}.gpu_memory_utilization=60: must be a number above 0 and at "
    "most 1",
    f"{ROLLOUT}.tensor_model_parallel_size=0": f"{ROLLOUT}.tensor_model_parallel_size=0: {COUNT}",
    f"{ROLLOUT}.max_num_seqs=many": f"{ROLLOUT}.max_num_seqs='many': {COUNT}, or null",
    f"{ROLLOUT}.max_model_len=96": f"{ROLLOUT}.max_model_len=96: must be above 96, data.max_response_length: a prompt "
    "needs room as well",
    "trainer.n_gpus_per_node=0": f"trainer.n_gpus_per_node=0: {COUNT}",
    "trainer.nnodes=0": f"trainer.nnodes=0: {COUNT}",
    "trainer.total_epochs=0.5": f"trainer.total_epochs=0.5: {COUNT}",
    "trainer.total_training_steps=0": f"trainer.total_training_steps=0: {COUNT}, or null",
    "trainer.logger=null": "trainer.logger=None: must be the name of a logger, or a list of them",
    "trainer.resume_mode=resume": "trainer.resume_mode='resume': must be one of auto, disable, resume_path",
    "trainer.resume_mode=resume_path": "trainer.resume_from_path=None: must be a checkpoint's folder, "
    ".../global_step_N, to resume from",
    "trainer.resume_from_path=/ckpt/global_step_3": "trainer.resume_from_path='/ckpt/global_step_3': is read with "
    "trainer.resume_mode=resume_path only",
}


@pytest.mark.parametrize("override", BAD)
def test_a_value_that_cannot_work_is_refused_by_name(merged, override):
    with pytest.raises(ConfigError) as refused:
        check(merged(override))
    assert str(refused.value) == BAD[override]


def test_an_engine_that_nobody_named_is_asked_for(compose, run_overrides):
    overrides = [item for item in run_overrides if not item.startswith(f"{ROLLOUT}.name")]
    with pytest.raises(ConfigError, match=f"^{ROLLOUT}.name=None: must be the name of a rollout engine"):
        check(compose(*overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        (f"{ROLLOUT}.max_model_len=97",),
        (f"{ROLLOUT}.top_p=1", "actor_rollout_ref.actor.optim.lr=0"),
        ("data.train_files=[a.parquet,b.parquet]", "trainer.logger=[console,file]"),
        ("trainer.resume_mode=resume_path", "trainer.resume_from_path=/ckpt/global_step_3/"),
        ("trainer.resume_mode=disable", "trainer.total_training_steps=3"),
    ],
)
def test_what_can_work_passes(merged, overrides):
    check_values(merged(*overrides))


@pytest.mark.parametrize(
    ("gpus", "nodes", "parallel", "allowed"),
    [
        (8, 1, (2, 1, 1), True),
        (3, 2, (2, 1, 1), True),
        (3, 1, (2, 1, 1), False),
        (8, 1, (2, 2, 2), True),
        (4, 1, (8, 1, 1), False),
    ],
)
def test_engines_share_the_gpus_evenly(merged, gpus, nodes, parallel, allowed):
    sizes = zip(("tensor_model", "data", "pipeline_model"), parallel, strict=True)
    config = merged(
        f"trainer.n_gpus_per_node={gpus}",
        f"trainer.nnodes={nodes}",
        *(f"{ROLLOUT}.{kind}_parallel_size={size}" for kind, size in sizes),
    )
    if allowed:
        check_gpus(config)
        return
    engine = parallel[0] * parallel[1] * parallel[2]
    said = f"^trainer.n_gpus_per_node={gpus}: {gpus * nodes} GPUs cannot be divided into rollout engines of {engine} "
    with pytest.raises(ConfigError, match=said):
        check_gpus(config)
