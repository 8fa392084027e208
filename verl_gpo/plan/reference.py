"""``python -m verl_gpo.plan.reference``: every setting of GPO's own as a Markdown table, for docs/configuration.md."""

from __future__ import annotations

from dataclasses import fields

from ..config import GPOConfig


def reference_table() -> str:
    """Name, value under each preset, what it may be, meaning."""
    lines = ["| `algorithm.gpo.` | `paper` | `fast` | may be | meaning |", "|---|---|---|---|---|"]
    paper, fast = (GPOConfig.from_mapping({"preset": preset}) for preset in ("paper", "fast"))
    for option in fields(GPOConfig):
        one, other = (str(getattr(config, option.name)).lower() for config in (paper, fast))
        allowed = option.metadata["allowed"].text.removeprefix("must be ")
        shown = (f"`{option.name}`", one, other if other != one else "", allowed, option.metadata["help"])
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference_table())
