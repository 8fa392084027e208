"""Estimates the GPU memory of a run from sizes: states of the training, a micro-batch, and the rollout engine.

The estimate leaves out fragmentation and the memory of libraries. ``ASSUMPTIONS`` is printed with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .architecture import Architecture
from .configuration import Configuration
from .numbers import gpus, model_parallel, uses_critic, uses_reference

GIB = 2**30
_BYTES = {"fp32": 4, "float32": 4, "bf16": 2, "bfloat16": 2, "fp16": 2, "float16": 2}

ASSUMPTIONS = (
    "weights, gradients and Adam's two moments divided evenly over all GPUs",
    "gradients and moments in fp32; with LoRA for the adapters on all linear layers alone",
    "a full micro-batch; block inputs kept, one block recomputed at a time",
    "logits: bf16, their gradient and one copy (6 bytes a token and entry of the vocabulary), divided by Megatron's "
    "tensor parallelism or by sequence parallelism",
    "nothing for fragmentation, NCCL and CUDA's own: leave 10 %",
)


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU.

    Attributes:
        states: weights and optimizer states of actor, critic and reference, which stay on the GPU.
        gradients: during the update.
        gathered: weights of the block in use and of the embeddings, whole.
        activations, logits: of one micro-batch.
        rollout: the engine's share of the GPU.
        engine_weights: the policy in the engine, on this GPU.
        kv_tokens: tokens whose keys and values fit into the rest of one engine's memory; 0 if its weights do not fit.
    """

    states: float
    gradients: float
    gathered: float
    activations: float
    logits: float
    rollout: float
    engine_weights: float
    kv_tokens: int

    @property
    def training(self) -> float:
        """Peak while training; the engine sleeps."""
        return self.states + self.gradients + self.gathered + self.activations + self.logits

    @property
    def sampling(self) -> float:
        """Peak while sampling."""
        return self.states + self.rollout


def estimate(configuration: Configuration, model: Architecture, gpu_gib: float) -> Memory:
    """Memory of one GPU of ``gpu_gib`` GiB."""
    world = gpus(configuration)
    states = gradients = 0.0
    for part in ("actor", *(["critic"] if uses_critic(configuration) else [])):
        kept, gradient = _trained(configuration, part, model, world)
        states, gradients = states + kept, max(gradients, gradient)
    # With LoRA the reference is the actor without its adapter.
    separate = uses_reference(configuration) and not _lora_rank(configuration, "actor_rollout_ref")
    if separate and not configuration.get("actor_rollout_ref.ref.fsdp_config.param_offload", False):
        states += 4 * model.parameters / world
    # If the micro-batch is not limited by tokens, two whole rows are assumed.
    row = configuration.integer("data.max_prompt_length") + configuration.integer("data.max_response_length")
    actor = "actor_rollout_ref.actor"
    if configuration.get(f"{actor}.use_dynamic_bsz"):
        tokens = max(configuration.integer(f"{actor}.ppo_max_token_len_per_gpu"), row)
    else:
        tokens = (configuration.get(f"{actor}.ppo_micro_batch_size_per_gpu", 2)) * row
    shared = model_parallel(configuration) if _megatron(configuration) else 1
    hidden, inner = model.hidden_size, model.intermediate_size
    checkpointed = configuration.get("actor_rollout_ref.model.enable_gradient_checkpointing", True)
    kept = model.num_hidden_layers if checkpointed else 8 * model.num_hidden_layers
    activations = 2 * tokens * (kept * hidden + 8 * hidden + 3 * inner) / shared
    gathered = 2 * (2 * model.block_parameters + model.embedding_parameters) / shared
    util = configuration.number("actor_rollout_ref.rollout.gpu_memory_utilization", 0.5)
    parallel = configuration.integer("actor_rollout_ref.rollout.tensor_model_parallel_size")
    rollout = util * gpu_gib * GIB
    weights = 2 * model.parameters / parallel
    return Memory(
        states=states,
        gradients=gradients,
        gathered=gathered,
        activations=activations,
        logits=6 * tokens * model.vocab_size / shared,
        rollout=rollout,
        engine_weights=weights,
        kv_tokens=max(0, int((rollout - weights) * parallel / model.kv_bytes_per_token())),
    )


def _megatron(configuration: Configuration) -> bool:
    return configuration.get("actor_rollout_ref.actor.strategy") == "megatron"


def _lora_rank(configuration: Configuration, block: str) -> int:
    return configuration.get(f"{block}.model.lora_rank", 0) or configuration.get(f"{block}.model.lora.rank", 0)


def _trained(configuration: Configuration, part: str, model: Architecture, world: int) -> tuple[float, float]:
    """Bytes of the states that stay on a GPU, and of the gradients, of the actor or the critic."""
    block, settings = {
        "actor": ("actor_rollout_ref", "actor_rollout_ref.actor.fsdp_config"),
        "critic": ("critic", "critic.fsdp"),
    }[part]
    if _megatron(configuration):
        settings = {"actor": "actor_rollout_ref.actor.megatron", "critic": "critic.megatron"}[part]
    rank = _lora_rank(configuration, block)
    trained = model.lora_parameters(rank) if rank else model.parameters
    frozen = model.parameters if rank else 0
    # FSDP keeps fp32 weights; Megatron bf16 weights on each model-parallel rank, and fp32 ones in the optimizer.
    stored = _BYTES.get(configuration.get(f"{settings}.model_dtype", "fp32"), 4)
    if _megatron(configuration):
        weights = 2 * (trained + frozen) / model_parallel(configuration) + 4 * trained / world
        gradients = 4 * trained / model_parallel(configuration)
    else:
        weights = stored * (trained + frozen) / world
        gradients = 4 * trained / world
    moments = 8 * trained / world
    if configuration.get(f"{settings}.param_offload", False):
        weights = 0.0
    if configuration.get(f"{settings}.optimizer_offload", False):
        moments = 0.0
    return weights + moments, gradients
