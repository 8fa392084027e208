"""Which file, or the command line, gives a setting that differs from verl's default."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from .configuration import Configuration, leaves, load, package_folder

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Setting:
    """A setting that differs from verl's default.

    Attributes:
        key, value: dotted key; value as written, interpolations unresolved.
        default: verl's; None where verl has no such key.
        origin: the file, relative to its configuration folder, or :data:`COMMAND_LINE`.
    """

    key: str
    value: Any
    default: Any
    origin: str


def changed_settings(configuration: Configuration) -> list[Setting]:
    """All settings that differ from verl's, by origin; those of hydra and nulls without a default are left out."""
    defaults = _stock(configuration.get("model_engine", "dp"))
    parsed = OverridesParser.create().parse_overrides(list(configuration.overrides))
    given = {item.key_or_group for item in parsed if not item.is_delete()}
    choices = {item.key_or_group: item.value() for item in parsed if isinstance(item.value(), str)}
    files = list(_files(configuration.folder / f"{configuration.name}.yaml", configuration.folder, choices))
    settings = []
    for key, value in leaves(configuration.config):
        default = defaults.get(key)
        if value == default or (value is None and key not in defaults) or key.startswith("hydra."):
            continue
        if any(key == item or key.startswith(f"{item}.") for item in given):
            origin = COMMAND_LINE
        else:
            origin = next((name for name, keys in reversed(files) if key in keys), "verl")
        settings.append(Setting(key, value, default, origin))
    order = [name for name, _ in files] + [COMMAND_LINE]
    return sorted(settings, key=lambda setting: order.index(setting.origin) if setting.origin in order else -1)


@functools.lru_cache(maxsize=4)
def _stock(engine: str) -> dict[str, Any]:
    """verl's own settings, with its default for each."""
    stock = load(package_folder("verl") / "trainer" / "config", "ppo_trainer", [f"model_engine={engine}"])
    return dict(leaves(stock.config))


def _files(path: Path, folder: Path, choices: dict[str, str]) -> Iterator[tuple[str, set[str]]]:
    """Our YAML files that take part, in the order in which they apply, with the keys of each."""
    roots = (folder, package_folder("verl_gpo") / "trainer" / "config")
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    own = {key for key, _ in leaves(content) if not key.startswith(("hydra.", "defaults"))}
    name = next(str(path.relative_to(root)) for root in roots if path.is_relative_to(root))
    for item in [*content.get("defaults", []), *([] if "_self_" in content.get("defaults", []) else ["_self_"])]:
        if item == "_self_":
            yield name, own
            continue
        if isinstance(item, str):
            found = _find(path.parent, f"{item}.yaml", roots)
        else:
            group, option = next(iter(item.items()))
            found = _find(folder, f"{group}/{choices.get(group, option)}.yaml", roots)
        if found is not None:
            yield from _files(found, folder, choices)


def _find(beside: Path, name: str, roots: tuple[Path, ...]) -> Path | None:
    return next((root / name for root in (beside, *roots) if (root / name).is_file()), None)
