"""The CPU's engine against verl's own, on one model and one batch: the same log-probabilities, values and gradients."""

import copy

import pytest
import torch
from verl.plugin.platform import PlatformRegistry, get_platform, set_platform

from recipes.arithmetic.model import build_model, build_tokenizer

ROWS = [([4, 5, 6], [7, 8, 9, 4]), ([4, 5, 6], [7, 8, 5]), ([4, 5, 6], [9]), ([8, 8, 4, 5], [6, 6]), ([5] * 6, [5])]
# A re-entry row, whose kept prefix has no loss, and one of a batch's padding rows.
MASKS = [[1, 1, 1, 1], [0, 0, 1], [1], [1, 1], [0]]


@pytest.fixture(autouse=True)
def on_the_cpu():
    """verl computes on the CPU, whatever platform a test before has left."""
    before = get_platform()
    set_platform(PlatformRegistry.get("cpu")())
    yield
    set_platform(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    build_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def engines():
    """verl's engine classes and ours, in a process group of one."""
    import torch.distributed as dist
    import verl.workers.engine.fsdp.transformer_impl as verls

    import verl_gpo.cpu.engine as ours

    dist.init_process_group("gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
    yield {
        "language_model": (verls.FSDPEngineWithLMHead, ours.CPUEngineWithLMHead),
        "value_model": (verls.FSDPEngineWithValueHead, ours.CPUEngineWithValueHead),
    }
    dist.destroy_process_group()


def build(engine_class, folder, model_type, checkpointing=False):
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig

    model = HFModelConfig(
        path=str(folder),
        use_remove_padding=False,
        override_config={"attn_implementation": "sdpa"},
        enable_gradient_checkpointing=checkpointing,
    )
    model.model_type = model_type
    settings = FSDPEngineConfig(
        strategy="fsdp2",
        mixed_precision={"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
        use_torch_compile=False,
    )
    torch.manual_seed(0)  # a critic's head is new
    engine = engine_class(model, settings, FSDPOptimizerConfig(lr=1e-3, total_training_steps=1), CheckpointConfig())
    engine.initialize()
    return engine


def batch(temperature=1.0, entropy=True, limit=12):
    from tensordict import TensorDict
    from verl.utils import tensordict_utils as tu

    def nested(rows):
        return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)

    columns = {
        "input_ids": nested([prompt + response for prompt, response in ROWS]),
        "position_ids": nested([list(range(len(prompt + response))) for prompt, response in ROWS]),
        "prompts": nested([prompt for prompt, _ in ROWS]),
        "responses": nested([response for _, response in ROWS]),
        "response_mask": nested(MASKS),
        "loss_mask": nested(MASKS),
    }
    data = TensorDict(columns, batch_size=[len(ROWS)])
    settings = {"use_dynamic_bsz": True, "max_token_len_per_gpu": limit, "calculate_entropy": entropy}
    tu.assign_non_tensor(data, temperature=temperature, use_remove_padding=False, use_fused_kernels=False, **settings)
    return data


def loss(model_output, data, dp_group=None):
    """Any that looks at what has a loss only."""
    from verl.workers.utils.padding import no_padding_2_padding

    mask = data["response_mask"].to_padded_tensor(0.0)
    values = [no_padding_2_padding(column, data) for column in model_output.values()]
    return sum(((value * mask) ** 2).sum() for value in values), {}


def results(engine, data, forward_only):
    from torch.distributed.tensor import DTensor

    engine.module.zero_grad()
    mode = engine.eval_mode() if forward_only else engine.train_mode()
    with mode:
        output = engine.forward_backward_batch(data, loss, forward_only)
        gradients = {
            name: (weight.grad.full_tensor() if isinstance(weight.grad, DTensor) else weight.grad).clone()
            for name, weight in engine.module.named_parameters()
            if weight.grad is not None
        }
    return output, gradients


@pytest.mark.parametrize("model_type", ["language_model", "value_model"])
@pytest.mark.parametrize("temperature, checkpointing", [(1.0, False), (0.7, True)])
def test_results_are_those_of_verls_engine(engines, folder, model_type, temperature, checkpointing):
    verls, ours = (build(kind, folder, model_type, checkpointing) for kind in engines[model_type])
    learnt = torch.tensor([value for mask in MASKS for value in mask]).bool()
    data = batch(temperature)
    expected, _ = results(verls, copy.deepcopy(data), True)
    found, _ = results(ours, copy.deepcopy(data), True)
    assert set(found["model_output"]) == set(expected["model_output"])
    from verl.workers.utils.padding import no_padding_2_padding

    mask = data["response_mask"].to_padded_tensor(0.0).bool()
    for name, column in found["model_output"].items():
        column, wanted = no_padding_2_padding(column, data), no_padding_2_padding(expected["model_output"][name], data)
        torch.testing.assert_close(column[mask], wanted[mask], rtol=1e-5, atol=1e-5)
        assert mask.sum() == learnt.sum() and wanted[mask].abs().min() > 0

    expected, wanted = results(verls, copy.deepcopy(data), False)
    found, gradients = results(ours, copy.deepcopy(data), False)
    assert sum(found["loss"]) == pytest.approx(sum(expected["loss"]), rel=1e-5)
    assert set(gradients) == set(wanted) and any(gradient.abs().max() > 0 for gradient in gradients.values())
    for name, gradient in gradients.items():
        # Sums of products in another order: the error of a small entry is that of the large ones it was summed from.
        scale = wanted[name].abs().max().item()
        torch.testing.assert_close(gradient, wanted[name], rtol=0.0, atol=3e-6 * scale)


def test_micro_batches_hold_rows_that_share_their_prompt(engines, folder):
    engine = build(engines["language_model"][1], folder, "language_model")
    lengths = []
    forward = engine.module.forward
    engine.module.forward = lambda *args, **kwargs: (
        lengths.append(kwargs["input_ids"].shape[1]) or forward(*args, **kwargs)
    )
    results(engine, batch(limit=12), True)
    # In order: 4 5 6 | 7 8 5, 7 8 9 4, 9 are 3 + 3 + 2 + 1 tokens; 5 x 7 and 8 8 4 5 6 6 have nothing in common.
    assert lengths == [9, 7, 6]


def test_a_model_that_is_not_supported_is_computed_by_verl(engines, folder):
    engine = build(engines["language_model"][1], folder, "language_model")
    engine._supported = False
    verls = build(engines["language_model"][0], folder, "language_model")
    expected, found = (results(one, batch(), True)[0] for one in (verls, engine))
    for name, column in expected["model_output"].items():
        assert torch.equal(column.values(), found["model_output"][name].values())
    assert engine.module.config._attn_implementation == "sdpa"
