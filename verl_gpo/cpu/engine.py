"""verl's FSDP engine for the CPU: shared prefixes once, no padding, logits for what is learnt only, all cores.

verl's own engine runs on a CPU too, but it is written for FlashAttention: without that it pads every row to the longest
of its micro-batch, takes the vocabulary's logits for prompts as well, and computes each group's prompt in every row.
What this engine computes is the same up to rounding (``tests/cpu/test_engine.py``).

Imported by verl itself, as ``actor_rollout_ref.model.external_lib`` (:mod:`verl_gpo.cpu.settings`): it is too heavy to
be imported with the plugin.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import verl.workers.engine.fsdp.transformer_impl as impl
import verl.workers.utils.padding as impl_padding
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.workers.engine.base import EngineRegistry

from . import shared_prefix
from .detect import threads

_FLAG = "verl_gpo_shared_prefix"
#: What verl's engine can be asked for and this one does not do: then verl's path is taken.
_OTHER_OUTPUTS = ("distillation_use_topk", "distillation_only", "calculate_sum_pi_squared", "use_fused_kernels")
#: Logits whose entropy is taken at once: 100 MB for a vocabulary of 49,152.
_ENTROPY_ROWS = 512


def _rows(ids: torch.Tensor) -> list[np.ndarray]:
    return [row.numpy() for row in ids.unbind()]


class SharedPrefix:
    """What the engines for actors and critics have in common; mixed into verl's classes."""

    def __init__(self, *args: Any, **kwargs: Any):
        # Ray gives a worker one thread (OMP_NUM_THREADS=1), whatever it has to compute.
        torch.set_num_threads(threads() or torch.get_num_threads())
        super().__init__(*args, **kwargs)

    def _build_module(self) -> torch.nn.Module:
        module = super()._build_module()
        self._plain_attention = module.config._attn_implementation
        self._supported = shared_prefix.supports(module.config) and not self.model_config.get("use_fused_kernels")
        if self._supported:
            shared_prefix.register()
        return module

    def forward_backward_batch(self, data: TensorDict, loss_function: Any, forward_only: bool = False) -> Any:
        shares = (
            self._supported
            and data["input_ids"].is_nested
            and data["position_ids"].dim() == 2
            and not any(tu.get_non_tensor_data(data=data, key=key, default=False) for key in _OTHER_OUTPUTS)
        )
        tu.assign_non_tensor(data, **{_FLAG: shares})
        # The layers share one configuration object, and look up their attention in it at each call.
        self.module.config._attn_implementation = shared_prefix.ATTENTION if shares else self._plain_attention
        return super().forward_backward_batch(data, loss_function, forward_only)

    def prepare_model_inputs(self, micro_batch: TensorDict) -> tuple[dict[str, Any], dict[str, Any]]:
        if not tu.get_non_tensor_data(data=micro_batch, key=_FLAG, default=False):
            return super().prepare_model_inputs(micro_batch)
        ids = micro_batch["input_ids"]
        layout = shared_prefix.layout_of(_rows(ids))
        inputs = {
            "input_ids": ids.values()[layout.source].unsqueeze(0),
            "position_ids": layout.positions.unsqueeze(0),
            "attention_mask": None,
            "shared_prefix_layout": layout,
        }
        return inputs, {"layout": layout}

    @staticmethod
    def _learnt(micro_batch: TensorDict) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices into the rows' tokens, one after the other: of the tokens with a loss, and the rows they are of."""
        ends = micro_batch["input_ids"].offsets()[1:].tolist()
        learnt, rows = [], []
        for row, (end, mask) in enumerate(zip(ends, micro_batch["response_mask"].unbind(), strict=True)):
            own = (end - len(mask) + mask.nonzero().flatten()).to(torch.long)
            learnt.append(own)
            rows.append(torch.full_like(own, row))
        return torch.cat(learnt), torch.cat(rows)


class CPUEngineWithLMHead(SharedPrefix, impl.FSDPEngineWithLMHead):
    """An actor's or a reference's engine.

    Log-probabilities and entropies are 0 at tokens without a loss (``response_mask`` 0), where verl's are not.
    """

    def prepare_model_inputs(self, micro_batch: TensorDict) -> tuple[dict[str, Any], dict[str, Any]]:
        inputs, outputs = super().prepare_model_inputs(micro_batch)
        if "layout" in outputs:
            learnt, rows = self._learnt(micro_batch)
            if not len(learnt):  # a batch's padding: its loss is 0, and has to be computed from something
                learnt, rows = torch.tensor([1]), torch.tensor([0])
            # A token's probability comes from the one before it.
            inputs["logits_to_keep"] = outputs["layout"].node_of[learnt - 1]
            outputs |= {"learnt": learnt, "rows": rows}
        return inputs, outputs

    def prepare_model_outputs(
        self, output: Any, output_args: dict[str, Any], micro_batch: TensorDict, logits_processor_func: Any
    ) -> dict[str, torch.Tensor]:
        if "layout" not in output_args:
            return super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        ids, learnt = micro_batch["input_ids"], output_args["learnt"]
        logits = output.logits.squeeze(0).float()
        temperature = micro_batch["temperature"]
        if isinstance(temperature, torch.Tensor):
            logits = logits / temperature.float().clamp(min=1e-8)[output_args["rows"]].unsqueeze(-1)
        elif temperature != 1:
            logits = logits / max(temperature, 1e-8)

        def at_tokens(values: torch.Tensor) -> torch.Tensor:
            # As verl has them: the value of a token stands at the one before it.
            spread = values.new_zeros(len(ids.values())).index_put((learnt - 1,), values)
            return torch.nested.nested_tensor_from_jagged(spread, ids.offsets())

        found = {"log_probs": at_tokens(-F.cross_entropy(logits, ids.values()[learnt], reduction="none"))}
        if tu.get_non_tensor_data(data=micro_batch, key="calculate_entropy", default=False):
            with torch.set_grad_enabled(torch.is_grad_enabled() and _learns_from_entropy(logits_processor_func)):
                parts = [impl.verl_F.entropy_from_logits(part) for part in logits.split(_ENTROPY_ROWS)]
                found["entropy"] = at_tokens(torch.cat(parts))
        return found

    def forward_step(self, micro_batch: TensorDict, loss_function: Any, forward_only: bool) -> tuple[Any, dict]:
        """verl's, which also measures in training how far the probabilities are from those of ``old_log_probs``.

        In verl's bypass mode these are the rollout's, so ``actor/probs_diff/max`` and ``/mean`` say how well engine and
        model agree in a training step of one optimizer step; in others, how far the policy has moved as well.
        """
        loss, output = super().forward_step(micro_batch, loss_function, forward_only)
        old = micro_batch.get("old_log_probs", None)
        if not forward_only and old is not None:
            found = impl_padding.no_padding_2_padding(output["model_output"]["log_probs"], micro_batch)
            learnt = micro_batch["response_mask"].to_padded_tensor(0).bool()
            apart = (found.exp() - old.to_padded_tensor(0.0).exp())[learnt].abs()
            if len(apart):
                output["metrics"]["actor/probs_diff/max"] = apart.max().item()
                output["metrics"]["actor/probs_diff/mean"] = apart.mean().item()
        return loss, output


def _learns_from_entropy(loss_function: Any) -> bool:
    """Whether the loss, a partial of verl's with the actor's configuration, has a term with the entropy."""
    config = getattr(loss_function, "keywords", {}).get("config")
    return bool(getattr(config, "entropy_coeff", 1.0))


class CPUEngineWithValueHead(SharedPrefix, impl.FSDPEngineWithValueHead):
    """A critic's engine."""

    def prepare_model_outputs(
        self, output: Any, output_args: dict[str, Any], micro_batch: TensorDict, logits_processor_func: Any
    ) -> dict[str, torch.Tensor]:
        if "layout" not in output_args:
            return super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        values = output.logits.flatten()[output_args["layout"].node_of]
        return {"values": torch.nested.nested_tensor_from_jagged(values, micro_batch["input_ids"].offsets())}


def _most_of_the_ranks(number: int, group: Any) -> int:
    """The largest of the ranks' numbers. FSDP gathers weights in each micro-batch, so all ranks need as many."""
    most = torch.tensor([number])
    torch.distributed.all_reduce(most, op=torch.distributed.ReduceOp.MAX, group=group)
    return int(most)


def _keep_shared_prefixes_together() -> None:
    """Split a batch into micro-batches of rows that share their beginnings.

    Reason: verl 0.9.1 balances the micro-batches of a rank by length, which scatters a group over them. Here
    ``ppo_max_token_len_per_gpu`` bounds the tokens that are computed, shared ones counted once.
    We know of no upstream issue.
    Remove when: verl's engine has a method for its micro-batches that a subclass can override.
    """
    prepare_micro_batches = impl.prepare_micro_batches

    def prepare(
        data: TensorDict, dp_group: Any = None, **kwargs: Any
    ) -> tuple[list[TensorDict], list[list[int]] | None]:
        shares = tu.get_non_tensor_data(data=data, key=_FLAG, default=False)
        if not shares or not tu.get_non_tensor_data(data=data, key="use_dynamic_bsz", default=True):
            return prepare_micro_batches(data, dp_group=dp_group, **kwargs)
        limit = tu.get_non_tensor_data(data=data, key="max_token_len_per_gpu", default=None)
        parts = shared_prefix.micro_batches(_rows(data["input_ids"]), int(limit))
        parts = shared_prefix.in_at_least(parts, _most_of_the_ranks(len(parts), dp_group))
        return [tu.index_select_tensor_dict(data, part) for part in parts], parts

    impl.prepare_micro_batches = prepare


_keep_shared_prefixes_together()
for _model, _engine in (("language_model", CPUEngineWithLMHead), ("value_model", CPUEngineWithValueHead)):
    EngineRegistry.register(model_type=_model, backend=["fsdp", "fsdp2"], device="cpu")(_engine)
os.environ["VERL_ENGINE_DEVICE"] = "cpu"  # until now verl's own engines: :mod:`verl_gpo.cpu.verl_platform`
