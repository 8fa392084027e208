"""Keys that verl would refuse only after Ray has started.

Hydra refuses an override with a typo, but accepts any key that is added with ``+`` or is in a YAML file. Blocks that
verl turns into dataclasses (``_target_``) have a fixed set of keys, so any other key can be refused at once.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from ...config import ConfigError

#: Blocks that verl turns into dataclasses, with the blocks inside. ``algorithm`` and ``reward`` name one, too, but verl
#: reads them as they are, and they also hold the keys of estimators and reward managers.
_MADE = ("actor_rollout_ref", "critic")


def check_known(config: DictConfig) -> None:
    """Refuse keys that are neither in verl's own configuration nor fields of their block's dataclass.

    Raises:
        ConfigError: the first such key.
    """
    verls = stock(str(config.get("model_engine", "dp")))
    given = OmegaConf.to_container(config, resolve=False)
    unknown = (found for block in _MADE for found in _unknown(given.get(block), verls.get(block), f"{block}."))
    for key, value, known in unknown:
        close = difflib.get_close_matches(key.rpartition(".")[2], known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ConfigError(key, value, f"no such key; {hint}known are {', '.join(sorted(known))}")


@functools.lru_cache(maxsize=4)
def stock(engine: str) -> Any:
    """The full configuration that verl ships in one file: some of its blocks have keys that their dataclass lacks."""
    spec = importlib.util.find_spec("verl")
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path()
    path = folder / "trainer" / "config" / f"_generated_ppo_{'' if engine == 'dp' else f'{engine}_'}trainer.yaml"
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False) if path.is_file() else {}


def _unknown(node: Any, stock: Any, prefix: str) -> Iterator[tuple[str, Any, list[str]]]:
    if not isinstance(node, dict):
        return
    stock = stock if isinstance(stock, dict) else {}
    if "_target_" in node:
        target = get_class(node["_target_"])
        known = [field.name for field in fields(target)] if is_dataclass(target) else []
        for name, value in node.items():
            if known and name not in known and name not in stock and name != "_target_":
                yield f"{prefix}{name}", value, known
    for name, value in node.items():
        yield from _unknown(value, stock.get(name), f"{prefix}{name}.")
