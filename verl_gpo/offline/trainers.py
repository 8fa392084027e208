"""TRL's trainers on exact token ids: each is TRL's own, except for the step that would tokenize text.

The text of a prompt and a continuation, tokenized together, may give other tokens than the policy wrote: tokens may
merge across the seam, and a policy may write several tokens for text that the tokenizer writes as one. So the step that
makes token ids from text is replaced by one that passes our token ids on: ``_prepare_dataset`` of the DPO and the KTO
trainer, ``tokenize_row`` of the CPO and the ORPO trainer (TRL 1.12.0). Losses, collators, reference models and metrics
are not changed. A continuation that was cut off gets no end token, which TRL would append.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer


class ExactDPOTrainer(DPOTrainer):
    """Takes the columns ``prompt_ids``, ``chosen_ids``, ``rejected_ids``."""

    def _prepare_dataset(self, dataset: Dataset, processing_class: Any, args: Any, dataset_name: str) -> Dataset:
        return dataset.select_columns(["prompt_ids", "chosen_ids", "rejected_ids"])


class ExactKTOTrainer(KTOTrainer):
    """Takes the columns ``prompt_ids``, ``completion_ids``, ``label``."""

    def _prepare_dataset(self, dataset: Dataset, processing_class: Any, args: Any, dataset_name: str) -> Dataset:
        dataset = dataset.select_columns(["prompt_ids", "completion_ids", "label"])
        if not self.calculate_KL:
            return dataset

        # As in TRL: the KL term is estimated on mismatched rows, each prompt of a device's batch with the continuation
        # of the row before it.
        def mismatched(batch: dict[str, list]) -> dict[str, list]:
            rows = batch["completion_ids"]
            return {"KL_completion_ids": rows[-1:] + rows[:-1]}

        return dataset.map(mismatched, batched=True, batch_size=args.per_device_train_batch_size)


def _concatenated(row: Mapping[str, Any]) -> dict[str, list[int]]:
    """A row as TRL's CPO and ORPO trainers tokenize it: labels are -100 on the prompt, which is not in the loss."""
    prompt = list(row["prompt_ids"])
    columns = {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
    for side in ("chosen", "rejected"):
        continuation = list(row[f"{side}_ids"])
        columns[f"{side}_input_ids"] = prompt + continuation
        columns[f"{side}_attention_mask"] = [1] * (len(prompt) + len(continuation))
        columns[f"{side}_labels"] = [-100] * len(prompt) + continuation
    return columns


class ExactCPOTrainer(CPOTrainer):
    """Takes the columns ``prompt_ids``, ``chosen_ids``, ``rejected_ids``; SimPO is one of its losses."""

    def tokenize_row(self, feature: Mapping[str, Any], model: Any = None) -> dict[str, list[int]]:
        return _concatenated(feature)


class ExactORPOTrainer(ORPOTrainer):
    """Takes the columns ``prompt_ids``, ``chosen_ids``, ``rejected_ids``."""

    def tokenize_row(self, feature: Mapping[str, Any], model: Any = None) -> dict[str, list[int]]:
        return _concatenated(feature)
