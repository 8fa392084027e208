"""``python -m verl_gpo.plan.reference``: every setting of GPO's own as a Markdown table, for docs/configuration.md."""

from __future__ import annotations

from dataclasses import fields

from ..config import PRESETS, GPOConfig


def reference_table(allowed: bool = True) -> str:
    """Name, value under each preset (of the others than the first only what they change), meaning.

    Args:
        allowed: also what it may be.
    """
    head = ("`algorithm.gpo.`", *(f"`{preset}`" for preset in PRESETS), *(["may be"] if allowed else []), "meaning")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    configs = [GPOConfig.from_mapping({"preset": preset}) for preset in PRESETS]
    for option in fields(GPOConfig):
        first, *others = (str(getattr(config, option.name)).lower() for config in configs)
        may_be = [option.metadata["allowed"].text.removeprefix("must be ")] if allowed else []
        changed = [other if other != first else "" for other in others]
        shown = (f"`{option.name}`", first, *changed, *may_be, option.metadata["help"])
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference_table())
