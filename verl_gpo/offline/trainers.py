"""TRL's trainers on exact token ids: each is TRL's own, except for the step that would tokenize text.

The text of a prompt and a continuation, tokenized together, may give other tokens than the policy wrote: tokens may
merge across the seam, and a policy may write several tokens for text that the tokenizer writes as one. So the step that
makes token ids from text is replaced by one that passes our token ids on: ``_prepare_dataset`` of the DPO and the KTO
trainer, ``tokenize_row`` of the CPO and the ORPO trainer (TRL 1.12.0). Losses, collators, reference models and metrics
are not changed. A continuation that was cut off gets no end token, which TRL would append.

In a conversation with tools the columns ``chosen_written``, ``rejected_written`` and ``completion_written`` say which
tokens the policy wrote. The others, which tools and the chat template wrote, are context and not in the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer


class Masked:
    """TRL's collator, with the tokens left out of the loss that the policy did not write.

    Args:
        collator: gives rows of prompt and continuation that begin with the prompt, side by side: all rows of the first
            side, then all of the second one.
        sides: columns of the continuations, without ``_ids``.
    """

    def __init__(self, collator: Any, sides: Sequence[str]):
        self._collator, self._sides = collator, sides

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self._collator(examples)
        for mask, sides in (("completion_mask", self._sides), ("KL_completion_mask", ("KL_completion",))):
            rows = [(len(one["prompt_ids"]), one.get(f"{side}_written")) for side in sides for one in examples]
            if mask in batch and rows[0][1] is not None:
                for row, (start, written) in zip(batch[mask], rows, strict=True):
                    room = max(len(row) - start, 0)
                    row[start : start + len(written)] *= torch.tensor(written[:room], dtype=row.dtype)
        return batch


def _columns(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The columns of token ids, with those that say which tokens the policy wrote if there are any."""
    masks = [name.replace("_ids", "_written") for name in names if name.endswith("_ids")]
    return dataset.select_columns([*names, *(name for name in masks if name in dataset.column_names)])


class ExactDPOTrainer(DPOTrainer):
    """Takes the columns ``prompt_ids``, ``chosen_ids``, ``rejected_ids``."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.data_collator = Masked(self.data_collator, ("chosen", "rejected"))

    def _prepare_dataset(self, dataset: Dataset, processing_class: Any, args: Any, dataset_name: str) -> Dataset:
        return _columns(dataset, ["prompt_ids", "chosen_ids", "rejected_ids"])

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns = [*self._signature_columns, "chosen_written", "rejected_written"]


class ExactKTOTrainer(KTOTrainer):
    """Takes the columns ``prompt_ids``, ``completion_ids``, ``label``."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.data_collator = Masked(self.data_collator, ("completion",))

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns = [*self._signature_columns, "completion_written", "KL_completion_written"]

    def _prepare_dataset(self, dataset: Dataset, processing_class: Any, args: Any, dataset_name: str) -> Dataset:
        dataset = _columns(dataset, ["prompt_ids", "completion_ids", "label"])
        if not self.calculate_KL:
            return dataset

        # As in TRL: the KL term is estimated on mismatched rows, each prompt of a device's batch with the continuation
        # of the row before it.
        def mismatched(batch: dict[str, list]) -> dict[str, list]:
            names = [name for name in ("completion_ids", "completion_written") if name in batch]
            return {f"KL_{name}": batch[name][-1:] + batch[name][:-1] for name in names}

        return dataset.map(mismatched, batched=True, batch_size=args.per_device_train_batch_size)


def _concatenated(row: Mapping[str, Any]) -> dict[str, list[int]]:
    """A row as TRL's CPO and ORPO trainers tokenize it: labels are -100 on the prompt, which is not in the loss."""
    prompt = list(row["prompt_ids"])
    columns = {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
    for side in ("chosen", "rejected"):
        continuation = list(row[f"{side}_ids"])
        columns[f"{side}_input_ids"] = prompt + continuation
        columns[f"{side}_attention_mask"] = [1] * (len(prompt) + len(continuation))
        written = row.get(f"{side}_written") or [1] * len(continuation)
        labels = [token if own else -100 for token, own in zip(continuation, written, strict=True)]
        columns[f"{side}_labels"] = [-100] * len(prompt) + labels
    return columns


class ExactCPOTrainer(CPOTrainer):
    """Takes the columns ``prompt_ids``, ``chosen_ids``, ``rejected_ids``; SimPO is one of its losses."""

    def tokenize_row(self, feature: Mapping[str, Any], model: Any = None) -> dict[str, list[int]]:
        return _concatenated(feature)


class ExactORPOTrainer(ORPOTrainer):
    """Takes the columns ``prompt_ids``, ``chosen_ids``, ``rejected_ids``."""

    def tokenize_row(self, feature: Mapping[str, Any], model: Any = None) -> dict[str, list[int]]:
        return _concatenated(feature)
