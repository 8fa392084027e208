"""Every setting of GPO's own as a Markdown table, for docs/configuration.md."""

from __future__ import annotations

from dataclasses import fields

from .gpo import PRESETS, GPOConfig


def reference_table() -> str:
    """Name, default (the preset ``paper``), what other presets change it to, range, reader, meaning."""
    head = ("`algorithm.gpo.`", "default", "in presets", "may be", "is read with", "meaning")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for known in fields(GPOConfig):
        changed = [
            f"`{preset}`: {_shown(block[known.name])}" for preset, block in PRESETS.items() if known.name in block
        ]
        may_be = known.metadata["allowed"].text.removeprefix("must be ")
        read = ["adv_estimator=gpo"] if known.metadata["owner"] == "estimator" else []
        read += map(str, known.metadata["read"])
        shown = (
            f"`{known.name}`",
            _shown(known.default),
            ", ".join(changed),
            may_be,
            "; ".join(read),
            known.metadata["help"],
        )
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in shown)} |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    return str(value).lower()
