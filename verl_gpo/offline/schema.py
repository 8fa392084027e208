"""Pairs as files: the column names of TRL, which LLaMA-Factory and OpenRLHF read as well, and exact token ids besides.

===========================  ==========================================================================
``pairs.parquet``            TRL's standard preference format: ``prompt``, ``chosen``, ``rejected``
``pairs_chat.parquet``       the same as messages; ``chosen`` and ``rejected`` are whole responses
``unpaired.parquet``         TRL's unpaired format, KTO's: ``prompt``, ``completion``, ``label``
``unpaired_chat.parquet``    the same as messages
``dataset_info.json``        names the first and the third to LLaMA-Factory, for its template ``empty``
===========================  ==========================================================================

A prompt is the rendered chat and the prefix that is kept. Texts hold what special tokens a rollout has: one that ended
by itself ends with the end token, one that was cut off does not. ``prompt_ids``, ``chosen_ids``, ``rejected_ids`` and
``completion_ids`` are the policy's own tokens, which :mod:`verl_gpo.offline.train` trains on. ``text_exact`` tells
whether a trainer that tokenizes prompt and continuation together finds the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..inference.task import Prompt
from .pairs import Pair, Unpaired

#: Name of a file -> its rows.
Rows = dict[str, list[dict[str, Any]]]

_IDS = pa.list_(pa.int32())
_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_ORIGIN = [
    ("index", pa.int64()),
    ("visit", pa.int64()),
    ("data_source", pa.string()),
    ("prefix_tokens", pa.int64()),
    ("step", pa.int64()),
    ("steps", pa.int64()),
    ("critical", pa.bool_()),
    ("advantage", pa.float64()),
    ("confidence", pa.float64()),
]

SCHEMAS: dict[str, pa.Schema] = {
    "pairs": pa.schema(
        [("prompt", pa.string()), ("chosen", pa.string()), ("rejected", pa.string())]
        + [("prompt_ids", _IDS), ("chosen_ids", _IDS), ("rejected_ids", _IDS), ("text_exact", pa.bool_())]
        + [("chosen_reward", pa.float64()), ("rejected_reward", pa.float64())]
        + [("chosen_finish", pa.string()), ("rejected_finish", pa.string())]
        + _ORIGIN
    ),
    "pairs_chat": pa.schema([("prompt", _MESSAGES), ("chosen", _MESSAGES), ("rejected", _MESSAGES)] + _ORIGIN),
    "unpaired": pa.schema(
        [("prompt", pa.string()), ("completion", pa.string()), ("label", pa.bool_())]
        + [("prompt_ids", _IDS), ("completion_ids", _IDS), ("text_exact", pa.bool_())]
        + [("reward", pa.float64()), ("finish", pa.string())]
        + _ORIGIN
    ),
    "unpaired_chat": pa.schema([("prompt", _MESSAGES), ("completion", _MESSAGES), ("label", pa.bool_())] + _ORIGIN),
}

#: LLaMA-Factory's description of the files (its ``data/README.md``).
DATASET_INFO = {
    "verl_gpo_pairs": {
        "file_name": "pairs.parquet",
        "ranking": True,
        "columns": {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    },
    "verl_gpo_unpaired": {
        "file_name": "unpaired.parquet",
        "columns": {"prompt": "prompt", "response": "completion", "kto_tag": "label"},
    },
}


class _Texts:
    """Token ids as text, special tokens kept."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer

    def all_of(self, token_ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def shown(self, token_ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def behind(self, prompt: str, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> str:
        """Text of a continuation: what it adds to its prompt's, since decoders drop the space before a first token.

        Where the prompt ends within a character there is no telling, and it is its own text.
        """
        text = self.all_of([*prompt_ids, *token_ids])
        return text[len(prompt) :] if text.startswith(prompt) else self.all_of(token_ids)

    def exact(self, text: str, token_ids: Sequence[int]) -> bool:
        """Whether the tokenizer finds the same ids in the text."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) == list(token_ids)


def _origin(pair: Pair, prompt: Prompt) -> dict[str, Any]:
    state = pair.state
    return {
        "index": pair.record.index,
        "visit": pair.record.visit,
        "data_source": prompt.data_source,
        "prefix_tokens": len(state.prefix),
        "step": state.step,
        "steps": state.steps,
        "critical": state.critical,
        "advantage": state.advantage,
        "confidence": state.confidence,
    }


def _messages(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def pair_rows(pairs: Sequence[Pair], prompts: Sequence[Prompt], tokenizer: Any) -> Rows:
    """Rows of ``pairs`` and ``pairs_chat``."""
    texts = _Texts(tokenizer)
    standard, chat = [], []
    for pair in pairs:
        row = prompts[pair.record.index]
        origin = _origin(pair, row)
        prompt = texts.all_of(pair.prompt_ids)
        chosen, rejected = (
            texts.behind(prompt, pair.prompt_ids, rollout.token_ids) for rollout in (pair.chosen, pair.rejected)
        )
        standard.append(
            {
                "prompt": prompt,
                "chosen": chosen,
                "rejected": rejected,
                "prompt_ids": pair.prompt_ids,
                "chosen_ids": pair.chosen.token_ids,
                "rejected_ids": pair.rejected.token_ids,
                "text_exact": texts.exact(prompt + chosen, pair.prompt_ids + pair.chosen.token_ids)
                and texts.exact(prompt + rejected, pair.prompt_ids + pair.rejected.token_ids),
                "chosen_reward": pair.chosen.reward,
                "rejected_reward": pair.rejected.reward,
                "chosen_finish": pair.chosen.finish,
                "rejected_finish": pair.rejected.finish,
                **origin,
            }
        )
        chat.append(
            {
                "prompt": row.messages,
                "chosen": _messages(texts.shown(pair.state.prefix + pair.chosen.token_ids)),
                "rejected": _messages(texts.shown(pair.state.prefix + pair.rejected.token_ids)),
                **origin,
            }
        )
    return {"pairs": standard, "pairs_chat": chat}


def unpaired_rows(rows: Sequence[Unpaired], prompts: Sequence[Prompt], tokenizer: Any) -> Rows:
    """Rows of ``unpaired`` and ``unpaired_chat``."""
    texts = _Texts(tokenizer)
    standard, chat = [], []
    for row in rows:
        pair, token_ids = row.pair, row.rollout.token_ids
        source = prompts[pair.record.index]
        origin = _origin(pair, source)
        prompt = texts.all_of(pair.prompt_ids)
        completion = texts.behind(prompt, pair.prompt_ids, token_ids)
        standard.append(
            {
                "prompt": prompt,
                "completion": completion,
                "label": row.label,
                "prompt_ids": pair.prompt_ids,
                "completion_ids": token_ids,
                "text_exact": texts.exact(prompt + completion, pair.prompt_ids + token_ids),
                "reward": row.rollout.reward,
                "finish": row.rollout.finish,
                **origin,
            }
        )
        chat.append(
            {
                "prompt": source.messages,
                "completion": _messages(texts.shown(pair.state.prefix + token_ids)),
                "label": row.label,
                **origin,
            }
        )
    return {"unpaired": standard, "unpaired_chat": chat}


def write(out: Path, rows: Rows) -> None:
    """Write ``NAME.parquet`` for each name in ``rows``, and ``dataset_info.json``."""
    for name, of_file in rows.items():
        new = out / f"{name}.new"
        pq.write_table(pa.Table.from_pylist(of_file, schema=SCHEMAS[name]), new)
        new.replace(out / f"{name}.parquet")
    (out / "dataset_info.json").write_text(json.dumps(DATASET_INFO, indent=1) + "\n", encoding="utf-8")
