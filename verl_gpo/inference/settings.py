"""``KEY=VALUE`` arguments of the command lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from ..config import BLOCK


def read_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` arguments, the values as YAML; a key may carry its block, as in a verl command.

    Raises:
        ValueError: an argument without ``=``.
    """
    settings = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found or not key:
            raise ValueError(f"{pair!r}: must be KEY=VALUE")
        settings[key.removeprefix(f"{BLOCK}.")] = yaml.safe_load(value)
    return settings
