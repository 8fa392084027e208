"""A build's folder: the settings that it was drawn with, the pairs, and their cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..inference import jsonl
from ..inference.fingerprint import refuse
from . import schema
from .build_settings import REPORT, BuildSettings
from .explore import METHODS
from .pairs import Pair, Tally, select, unpair
from .records import Record, file_of, within_budget
from .seam import DIFFERENCES, Seam

_RUN = "run.json"


def check_run(settings: BuildSettings) -> None:
    """Refuse to mix records of different settings in one folder.

    Raises:
        ValueError: names what differs, there and here.
    """
    try:
        there = json.loads((settings.out / _RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any(settings.out.glob(f"{file_of(settings.out).stem}*.jsonl")):
            raise ValueError(f"--out={settings.out}: has records, but no {_RUN} with their settings") from None
        return
    except (OSError, ValueError) as error:
        raise ValueError(f"{settings.out / _RUN}: cannot be read ({error})") from error
    refuse(settings.out, there["settings"], settings.drawn_with, "records")


def write_run(settings: BuildSettings) -> None:
    """Write ``run.json``: model, data and settings."""
    record = {"model": settings.model, "prompts": len(settings.prompts), "settings": settings.drawn_with}
    jsonl.replace(settings.out / _RUN, [json.dumps(record, indent=1) + "\n"])


def check_records(settings: BuildSettings, records: Iterable[Record]) -> None:
    """Refuse records of other data or settings.

    Raises:
        ValueError: names the row.
    """
    for record in records:
        if record.settings != settings.hash:
            raise ValueError(f"{file_of(settings.out)}: row {record.index} was drawn with other settings")
        if record.index < len(settings.problems) and record.problem != settings.problems[record.index]:
            raise ValueError(f"--data: row {record.index} is not the one that --out={settings.out} holds records of")


def left_out(settings: BuildSettings, records: Iterable[Record]) -> dict[int, str]:
    """Row of the data -> the reason why the engine cannot process its prompt."""
    return {r.index: r.left_out for r in records if r.left_out and r.index < len(settings.prompts)}


def write_pairs(settings: BuildSettings, records: Sequence[Record], tokenizer: Any, console: Console) -> None:
    """Choose the pairs, write them in every schema with ``report.json``, and print the report."""
    wanted = [r for r in records if r.index < len(settings.prompts) and r.visit < settings.visits]
    used = within_budget([record for record in wanted if not record.left_out], settings.token_budget)
    tally = Tally()
    pairs = list(select(used, settings.method == "plain", settings.selection, tally))
    singles = unpair(pairs)
    tools = settings.toolbox.schemas if settings.toolbox else None
    seam, refused = Seam(tokenizer, settings.template, tools), Counter()
    rows = schema.pair_rows(pairs, settings.prompts, seam, refused)
    rows |= schema.unpaired_rows(singles, settings.prompts, seam)
    schema.write(settings.out, rows, settings.template, tools)
    report = summarise(settings, used, pairs, tally)
    report["tokens"]["unused"] = sum(record.cost for record in records) - report["tokens"]["total"]
    report["left_out"] = [{"row": row, "reason": reason} for row, reason in left_out(settings, records).items()]
    report["unpaired"] = {
        "desirable": sum(single.label for single in singles),
        "undesirable": sum(not single.label for single in singles),
    }
    exact = [row["text_exact"] for row in rows["pairs"]]
    report["text_exact"] = sum(exact) / len(exact) if exact else None
    differs = Counter(row["text_differs"] for row in rows["pairs"] if row["text_differs"])
    report["text_differs"] = {name: differs[name] for name in DIFFERENCES}
    report["chat_left_out"] = dict(refused)
    jsonl.replace(settings.out / REPORT, [json.dumps(report, indent=1) + "\n"])
    _print(report, settings.out, console)


def summarise(
    settings: BuildSettings, records: Sequence[Record], pairs: Sequence[Pair], tally: Tally
) -> dict[str, Any]:
    """Cost and results of the records that are used, as JSON."""
    prompts = {record.index for record in records}
    tokens = {purpose: sum(r.tokens[purpose] for r in records) for purpose in ("root", "value", "reentry")}
    roots = [rollout.reward for record in records for rollout in record.roots]
    prefixes = [len(pair.state.prefix) for pair in pairs]
    return {
        "method": settings.method,
        "selection": asdict(settings.selection),
        "token_budget": settings.token_budget or None,
        "tokens": {**tokens, "total": sum(tokens.values())},
        "prompts": len(prompts),
        "visits": len(records),
        "root_reward": float(np.mean(roots)) if roots else None,
        "states": tally.states,
        "states_with_pairs": tally.states_with_pairs,
        "rollouts_at_states": tally.rollouts,
        "truncated": tally.truncated,
        "repeated": tally.repeated,
        "duplicate_pairs": tally.duplicate_pairs,
        "failures": sum(record.failures for record in records),
        "pairs": len(pairs),
        "pairs_per_prompt": len(pairs) / len(prompts) if prompts else 0.0,
        "prompts_with_pairs": len(tally.prompts_with_pairs) / len(prompts) if prompts else 0.0,
        "prefix_tokens": float(np.mean(prefixes)) if prefixes else None,
        "pair_tokens": sum(len(p.chosen.token_ids) + len(p.rejected.token_ids) for p in pairs),
    }


def _print(report: dict[str, Any], out: Path, console: Console) -> None:
    tokens = report["tokens"]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(f"pairs of {METHODS[report['method']].partition(':')[0]}")
    table.add_column("", justify="right")
    rows = [
        ("prompts", f"{report['prompts']:,}"),
        ("prompts left out", f"{len(report['left_out']):,}"),
        ("pairs", f"{report['pairs']:,}"),
        ("pairs a prompt", f"{report['pairs_per_prompt']:.2f}"),
        ("prompts with pairs", f"{100 * report['prompts_with_pairs']:.1f}%"),
        ("states, and of them with pairs", f"{report['states']:,}, {report['states_with_pairs']:,}"),
        ("rollouts there", f"{report['rollouts_at_states']:,}"),
        ("cut off, repeated", f"{report['truncated']:,}, {report['repeated']:,}"),
        ("pairs whose text TRL tokenizes differently", _reasons(report["text_differs"])),
        ("pairs that cannot be written as messages", f"{sum(report['chat_left_out'].values()):,}"),
        ("tokens, all", f"{tokens['total']:,}"),
        ("tokens, root rollouts", f"{tokens['root']:,}"),
        ("tokens, search", f"{tokens['value']:,}"),
        ("tokens, rollouts from reset states", f"{tokens['reentry']:,}"),
        ("tokens drawn beyond the budget, not used", f"{tokens['unused']:,}"),
        ("rollouts and rewards that failed", f"{report['failures']:,}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)
    for reason, count in report["chat_left_out"].items():
        console.print(f"left out of pairs_chat.parquet: {count:,} pairs: {reason}", soft_wrap=True)
    files = ", ".join(f"{name}.parquet" for name in schema.SCHEMAS)
    console.print(f"written in {out}: {files}, {REPORT}", soft_wrap=True)


def _reasons(counts: Mapping[str, int]) -> str:
    named = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    return f"{sum(counts.values()):,}" + (f" ({named})" if named else "")
