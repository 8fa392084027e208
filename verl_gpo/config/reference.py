"""Every setting of GPO's own as a Markdown table, for docs/configuration.md."""

from __future__ import annotations

from dataclasses import fields

from .gpo import PRESETS, GPOConfig


def reference_table() -> str:
    """Name, value under each preset (of the others than the first only what they change), range, reader, meaning."""
    head = ("`algorithm.gpo.`", *(f"`{preset}`" for preset in PRESETS), "may be", "is read with", "meaning")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    configs = [GPOConfig.from_mapping({"preset": preset}) for preset in PRESETS]
    for known in fields(GPOConfig):
        first, *others = (str(getattr(config, known.name)).lower() for config in configs)
        changed = [other if other != first else "" for other in others]
        may_be = known.metadata["allowed"].text.removeprefix("must be ")
        read = ["adv_estimator=gpo"] if known.metadata["owner"] == "estimator" else []
        read += map(str, known.metadata["read"])
        shown = (f"`{known.name}`", first, *changed, may_be, "; ".join(read), known.metadata["help"])
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in shown)} |")
    return "\n".join(lines)
