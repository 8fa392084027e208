"""Writes pairs as files with TRL's column names, which LLaMA-Factory and OpenRLHF read, too, and with exact token ids.

===========================  ==========================================================================
``pairs.parquet``            TRL's standard preference format: ``prompt``, ``chosen``, ``rejected``
``pairs_chat.parquet``       the same as messages; ``chosen`` and ``rejected`` are whole responses
``unpaired.parquet``         TRL's unpaired format, KTO's: ``prompt``, ``completion``, ``label``
``unpaired_chat.parquet``    the same as messages
``dataset_info.json``        names the first and the third to LLaMA-Factory, for its template ``empty``
===========================  ==========================================================================

A prompt is the rendered chat and the prefix that is kept. Texts contain the special tokens of a rollout: a rollout that
ended by itself ends with the end token, one that was cut off does not. ``prompt_ids``, ``chosen_ids``, ``rejected_ids``
and ``completion_ids`` are the policy's own tokens, on which :mod:`verl_gpo.offline.train` trains. ``text_exact`` says
whether TRL's trainers get the same tokens from the text, and ``text_differs`` why not: a key of
:data:`verl_gpo.offline.seam.DIFFERENCES`. A row is in the chat files only if the chat template writes the response
exactly as the policy did; rows that it would change are only in the other files.

In a conversation with tools a prompt of the chat files is the conversation up to the state, and the continuations are
the rest of it, messages of tools included; the column ``tools`` has their schemas. In the other files the columns
``chosen_written``, ``rejected_written`` and ``completion_written`` are 0 for the tokens that the policy did not write.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..inference.task import Prompt
from .pairs import Pair, Unpaired
from .records import Rollout
from .seam import Seam, Written

#: Name of a file -> its rows.
Rows = dict[str, list[dict[str, Any]]]

_IDS = pa.list_(pa.int32())
_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
#: Messages with tool calls, whose arguments differ from tool to tool: ``datasets`` reads this type as mappings.
_CONVERSATION = pa.list_(pa.json_())
_WRITTEN = pa.list_(pa.int8())
_EXACT = [("text_exact", pa.bool_()), ("text_differs", pa.string())]
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
        + [("prompt_ids", _IDS), ("chosen_ids", _IDS), ("rejected_ids", _IDS), *_EXACT]
        + [("chosen_reward", pa.float64()), ("rejected_reward", pa.float64())]
        + [("chosen_finish", pa.string()), ("rejected_finish", pa.string())]
        + _ORIGIN
    ),
    "pairs_chat": pa.schema(
        [("prompt", _MESSAGES), ("chosen", _MESSAGES), ("rejected", _MESSAGES), _EXACT[0]] + _ORIGIN
    ),
    "unpaired": pa.schema(
        [("prompt", pa.string()), ("completion", pa.string()), ("label", pa.bool_())]
        + [("prompt_ids", _IDS), ("completion_ids", _IDS), *_EXACT]
        + [("reward", pa.float64()), ("finish", pa.string())]
        + _ORIGIN
    ),
    "unpaired_chat": pa.schema(
        [("prompt", _MESSAGES), ("completion", _MESSAGES), ("label", pa.bool_()), _EXACT[0]] + _ORIGIN
    ),
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


def pair_rows(pairs: Sequence[Pair], prompts: Sequence[Prompt], seam: Seam, refused: Counter[str]) -> Rows:
    """Rows of ``pairs`` and ``pairs_chat``.

    Args:
        refused: counts why pairs are left out of the chat file.
    """
    standard, chat = [], []
    for pair in pairs:
        row = prompts[pair.record.index]
        origin = _origin(pair, row)
        prompt = seam.text(pair.prompt_ids)
        sides = {"chosen": pair.chosen, "rejected": pair.rejected}
        texts = {side: seam.behind(prompt, pair.prompt_ids, rollout.token_ids) for side, rollout in sides.items()}
        differs = _differs(
            seam.difference(prompt, texts[side], pair.prompt_ids, rollout.token_ids) for side, rollout in sides.items()
        )
        standard.append(
            {
                "prompt": prompt,
                **texts,
                "prompt_ids": pair.prompt_ids,
                "chosen_ids": pair.chosen.token_ids,
                "rejected_ids": pair.rejected.token_ids,
                **differs,
                "chosen_reward": pair.chosen.reward,
                "rejected_reward": pair.rejected.reward,
                "chosen_finish": pair.chosen.finish,
                "rejected_finish": pair.rejected.finish,
                **origin,
            }
        )
        if pair.chosen.messages is None:
            asked = row.messages
            whole = {
                side: seam.written(row.messages, pair.record.prompt_ids, pair.state.prefix + rollout.token_ids)
                for side, rollout in sides.items()
            }
            messages = {side: _messages(one.content) for side, one in whole.items()}
        else:
            asked = [*row.messages, *(pair.state.messages or ())]
            whole = {side: _said_in_turns(seam, pair, asked, rollout) for side, rollout in sides.items()}
            messages = {side: list(rollout.messages or ()) for side, rollout in sides.items()}
            standard[-1] |= {f"{side}_written": rollout.written for side, rollout in sides.items()}
        reason = next((one.refused for one in whole.values() if one.refused), "")
        if not reason and messages["chosen"] == messages["rejected"]:
            reason = "chosen and rejected are the same text"
        if reason:
            refused[reason] += 1
            continue
        exact = all(one.exact for one in whole.values())
        chat.append({"prompt": asked, **messages, "text_exact": exact, **origin})
    return {"pairs": standard, "pairs_chat": chat}


def unpaired_rows(rows: Sequence[Unpaired], prompts: Sequence[Prompt], seam: Seam) -> Rows:
    """Rows of ``unpaired`` and ``unpaired_chat``."""
    standard, chat = [], []
    for row in rows:
        pair, token_ids = row.pair, row.rollout.token_ids
        source = prompts[pair.record.index]
        origin = _origin(pair, source)
        prompt = seam.text(pair.prompt_ids)
        completion = seam.behind(prompt, pair.prompt_ids, token_ids)
        standard.append(
            {
                "prompt": prompt,
                "completion": completion,
                "label": row.label,
                "prompt_ids": pair.prompt_ids,
                "completion_ids": token_ids,
                **_differs([seam.difference(prompt, completion, pair.prompt_ids, token_ids)]),
                "reward": row.rollout.reward,
                "finish": row.rollout.finish,
                **origin,
            }
        )
        if row.rollout.messages is None:
            asked = source.messages
            whole = seam.written(asked, pair.record.prompt_ids, pair.state.prefix + token_ids)
            said = _messages(whole.content)
        else:
            asked = [*source.messages, *(pair.state.messages or ())]
            whole, said = _said_in_turns(seam, pair, asked, row.rollout), list(row.rollout.messages)
            standard[-1]["completion_written"] = row.rollout.written
        if not whole.refused:
            chat.append(
                {
                    "prompt": asked,
                    "completion": said,
                    "label": row.label,
                    "text_exact": whole.exact,
                    **origin,
                }
            )
    # Two continuations may be the same text as messages, and one text must not be both desirable and undesirable.
    labels: dict[str, set[bool]] = {}
    for one in chat:
        labels.setdefault(_said(one), set()).add(one["label"])
    return {"unpaired": standard, "unpaired_chat": [one for one in chat if len(labels[_said(one)]) == 1]}


def _said_in_turns(seam: Seam, pair: Pair, asked: list[dict[str, Any]], rollout: Rollout) -> Written:
    """How the rest of a conversation with tools is written as messages."""
    if pair.state.messages is None:
        return Written("", False, "the state lies within a turn")
    return seam.conversation(asked, list(rollout.messages or ()), pair.prompt_ids, rollout.token_ids)


def _said(row: Mapping[str, Any]) -> str:
    return json.dumps([row["prompt"], row["completion"]])


def _differs(differences: Iterable[str | None]) -> dict[str, Any]:
    """The columns that say whether and why the text gives other tokens: the first reason of the continuations."""
    reason = next((difference for difference in differences if difference), None)
    return {"text_exact": reason is None, "text_differs": reason}


def write(out: Path, rows: Rows, template: Mapping[str, Any], tools: Sequence[Mapping[str, Any]] | None = None) -> None:
    """Write ``NAME.parquet`` for each name in ``rows``, and ``dataset_info.json``.

    Args:
        template: arguments of the chat template, which the chat files carry in TRL's column for them.
        tools: schemas of the tools of conversations, which the chat files carry in TRL's column for them; None if the
            policy had no tools.
    """
    for name, of_file in rows.items():
        if tools is None:
            table = pa.Table.from_pylist(of_file, schema=SCHEMAS[name])
        elif name.endswith("_chat"):
            table = _conversations(of_file, name, tools)
        else:
            sides = [one for one in ("chosen", "rejected", "completion") if one in SCHEMAS[name].names]
            masks = [pa.field(f"{side}_written", _WRITTEN) for side in sides]
            table = pa.Table.from_pylist(of_file, schema=pa.schema([*SCHEMAS[name], *masks]))
        if template and name.endswith("_chat"):
            values = pa.array([dict(template)] * len(of_file), type=pa.array([dict(template)]).type)
            table = table.append_column("chat_template_kwargs", values)
        new = out / f"{name}.new"
        pq.write_table(table, new)
        new.replace(out / f"{name}.parquet")
    (out / "dataset_info.json").write_text(json.dumps(DATASET_INFO, indent=1) + "\n", encoding="utf-8")


def _conversations(rows: Sequence[Mapping[str, Any]], name: str, tools: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A chat file of conversations with tools."""
    sides = [one.name for one in SCHEMAS[name] if one.type == _MESSAGES]
    texts = [{**row, **{side: list(map(json.dumps, row[side])) for side in sides}} for row in rows]
    plain = {side: pa.field(side, pa.list_(pa.string())) for side in sides}
    table = pa.Table.from_pylist(texts, schema=pa.schema([plain.get(one.name, one) for one in SCHEMAS[name]]))
    for side in sides:
        column = table.column(side).cast(_CONVERSATION)
        table = table.set_column(table.column_names.index(side), pa.field(side, _CONVERSATION), column)
    return table.append_column("tools", pa.array([json.dumps(list(tools))] * len(rows), type=pa.string()))
