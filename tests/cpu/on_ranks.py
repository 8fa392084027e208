"""What a process of tests/cpu/test_engine_ranks.py does: one training batch on its share of the rows."""

from datetime import timedelta
from functools import partial

import torch
import torch.distributed as dist

#: (prompt, response) of two groups, whose rows share a prompt; the mask of each response; its advantage.
GROUPS = [
    ([4, 5, 6], [7, 8, 9, 4], [1, 1, 1, 1], 0.5),
    ([4, 5, 6], [7, 8, 5, 5, 9], [0, 0, 1, 1, 1], -1.0),  # a re-entry row, whose kept prefix has no loss
    ([4, 5, 6], [9], [1], 1.5),
    ([4, 5, 6], [7, 7], [1, 1], -0.25),
    ([8, 8, 4, 5, 6, 7, 9, 9], [6, 6], [1, 1], 2.0),
    ([8, 8, 4, 5, 6, 7, 9, 9], [5, 4, 6, 6, 5], [1, 1, 1, 1, 1], -0.5),
    ([8, 8, 4, 5, 6, 7, 9, 9], [4, 4, 4], [1, 1, 1], 0.75),
    ([5, 5, 5], [5], [0], 0.0),  # one of a batch's padding rows
]
#: With this limit the first of two ranks has fewer micro-batches of its own than the second (the test says so).
LIMIT = 16


def rows_of(rank, world):
    """The rows of a rank, one after the other as verl distributes them."""
    share = len(GROUPS) // world
    return GROUPS[rank * share : (rank + 1) * share]


def batch(rows, world):
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu

    def nested(values):
        return torch.nested.as_nested_tensor([torch.tensor(value) for value in values], layout=torch.jagged)

    columns = {
        "input_ids": nested([prompt + response for prompt, response, *_ in rows]),
        "position_ids": nested([list(range(len(prompt + response))) for prompt, response, *_ in rows]),
        "prompts": nested([prompt for prompt, *_ in rows]),
        "responses": nested([response for _, response, *_ in rows]),
        "response_mask": nested([mask for *_, mask, _ in rows]),
        "loss_mask": nested([mask for *_, mask, _ in rows]),
        "old_log_probs": nested([[-2.0] * len(response) for _, response, *_ in rows]),
        "advantages": nested([[advantage] * len(response) for _, response, _, advantage in rows]),
    }
    data = TensorDict(columns, batch_size=[len(rows)])
    tu.assign_non_tensor(
        data,
        temperature=1.0,
        use_remove_padding=False,
        use_fused_kernels=False,
        use_dynamic_bsz=True,
        max_token_len_per_gpu=LIMIT,
        calculate_entropy=True,
        global_batch_size=len(rows) * world,
    )
    return data


def build(kind, folder):
    """One of verl's engines or ours, for the model of a folder, as a worker builds it."""
    import verl.workers.engine.fsdp.transformer_impl as verls
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig

    import verl_gpo.cpu.engine as ours

    model = HFModelConfig(path=str(folder), use_remove_padding=False, override_config={"attn_implementation": "sdpa"})
    model.model_type = "language_model"
    settings = FSDPEngineConfig(
        strategy="fsdp2",
        mixed_precision={"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
        use_torch_compile=False,
    )
    optimizer = FSDPOptimizerConfig(lr=1e-3, total_training_steps=1, clip_grad=1e9)
    engine_class = {"verl": verls.FSDPEngineWithLMHead, "ours": ours.CPUEngineWithLMHead}[kind]
    engine = engine_class(model, settings, optimizer, CheckpointConfig())
    engine.initialize()
    return engine


def train(rank, world, folder, aggregation):
    """``{engine: (gradients, their norm, loss, number of micro-batches)}`` of one batch, verl's own loss."""
    from torch.distributed.tensor import DTensor
    from verl.workers.config import FSDPActorConfig
    from verl.workers.utils.losses import ppo_loss

    config = FSDPActorConfig(
        strategy="fsdp2", rollout_n=4, use_dynamic_bsz=True, loss_agg_mode=aggregation, entropy_coeff=0.01
    )
    found = {}
    for kind in ("verl", "ours"):
        engine = build(kind, folder)
        with engine.train_mode():
            engine.optimizer_zero_grad()
            output = engine.forward_backward_batch(batch(rows_of(rank, world), world), partial(ppo_loss, config), False)
            gradients = {
                name: (weight.grad.full_tensor() if isinstance(weight.grad, DTensor) else weight.grad).clone()
                for name, weight in engine.module.named_parameters()
            }
            norm = engine.optimizer_step()
        loss = torch.tensor(sum(output["loss"]))
        dist.all_reduce(loss, op=dist.ReduceOp.SUM)
        found[kind] = (gradients, float(norm), float(loss) / world, len(output["loss"]))
    return found


def in_process(rank, world, port, folder, aggregations):
    """Entry of a spawned process: trains for each way to aggregate the loss, and leaves what it found in the folder."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),  # ranks that wait for each other in vain
    )
    found = {aggregation: train(rank, world, folder / "model", aggregation) for aggregation in aggregations}
    torch.save(found, folder / f"{rank}-of-{world}.pt")
    dist.destroy_process_group()
