"""Composes a recipe's configuration in a second, as verl's entry point would.

verl's YAML files are found without importing verl, which takes about 15 seconds on a slow host.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class PlanError(ValueError):
    """A configuration that cannot be composed or cannot work. One line: the key, what is wrong, what is allowed."""


def package_folder(name: str) -> Path:
    """Folder of an installed package, which is not imported.

    Raises:
        PlanError: it is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise PlanError(f"{name} is not installed in this environment")
    return Path(spec.submodule_search_locations[0])


@dataclass(frozen=True)
class Configuration:
    """A composed configuration: ``config`` is what verl would be given."""

    config: DictConfig

    def get(self, key: str, default: Any = None) -> Any:
        """Value of a dotted key; ``default`` where it is absent or null.

        Raises:
            PlanError: it cannot be resolved.
        """
        try:
            value = OmegaConf.select(self.config, key)
        except OmegaConfBaseException as error:
            raise PlanError(f"{key}: {_first_line(error)}") from error
        return default if value is None else value

    def number(self, key: str, default: float) -> float:
        """Value of a key that has to be a number above 0.

        Raises:
            PlanError: it is anything else.
        """
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise PlanError(f"{key}={value!r}: must be a number above 0")
        return float(value)

    def integer(self, key: str) -> int:
        """Value of a key that has to be an integer of at least 1.

        Raises:
            PlanError: it is anything else.
        """
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise PlanError(f"{key}={value!r}: must be an integer of at least 1")
        return value


def folder_of(config_path: str) -> Path:
    """The folder that ``--config-path`` means: a path, or a package as ``pkg://name``.

    Raises:
        PlanError: a package that is not installed.
    """
    if not config_path.startswith("pkg://"):
        return Path(config_path)
    package, *inner = config_path.removeprefix("pkg://").split(".")
    return package_folder(package).joinpath(*inner)


def load(folder: Path, name: str, overrides: Sequence[str] = ()) -> Configuration:
    """Compose ``folder/name.yaml`` with ``overrides``.

    Raises:
        PlanError: a file that is missing, an override with a typo, an interpolation that leads nowhere.
    """
    folder = folder.expanduser().resolve()
    if not (folder / f"{name}.yaml").is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml"))) or "none"
        raise PlanError(f"--config-name {name}: no {name}.yaml in {folder}; there are {known}")
    try:
        return Configuration(_compose(folder, name, overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise PlanError(_explain(error, folder, name, overrides)) from error


def _compose(folder: Path, name: str, overrides: Sequence[str]) -> DictConfig:
    paths = [package_folder("verl_gpo") / "trainer" / "config", package_folder("verl") / "trainer" / "config"]
    searchpath = ",".join(f"file://{path}" for path in paths)
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(folder), version_base=None):
        config = compose(name, overrides=[f"hydra.searchpath=[{searchpath}]", *overrides])
    # A value that is missing, or refers to a missing one, would fail in the driver, after Ray has started.
    OmegaConf.to_container(config, resolve=True)
    return config


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]


def _explain(error: Exception, folder: Path, name: str, overrides: Sequence[str]) -> str:
    """Hydra's error in one line, with the key that was probably meant, if the same block has a similar one."""
    if isinstance(error, OverrideParseException):
        said = str(error.__cause__ or error).strip().splitlines()[0]
        return f"{error.override}: Hydra cannot read it ({said}); a value with signs in it is quoted, \"KEY='VALUE'\""
    found = re.search(r"Could not override '([^']+)'", str(error))
    if found is None:
        lines = [line.strip() for line in str(error).splitlines() if line.strip() and "provider=" not in line]
        return " ".join(lines[:6])
    key = found.group(1)
    said = next((item for item in overrides if item.lstrip("+~").startswith(key)), key)
    groups = [item for item in overrides if item.partition("=")[0] in ("setup", "algo", "training", "model_engine")]
    block, close = _compose(folder, name, groups), []
    path: list[str] = []
    for part in key.split("."):
        if not isinstance(block, DictConfig):
            break
        if part not in block:
            close = difflib.get_close_matches(part, map(str, block), n=1)
            break
        path, block = [*path, part], block.get(part)
    return f"{said}: no such key{f'; did you mean {chr(46).join([*path, *close])}?' if close else ''}"
