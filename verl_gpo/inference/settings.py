"""``KEY=VALUE`` arguments of the command lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import yaml

from ..config import BLOCK, GPOConfig

#: Fields that hold text, which is taken as it is: a pattern such as ``[.!?]`` is a list for YAML.
_TEXTS = {option.name for option in fields(GPOConfig) if isinstance(option.default, str)}


def read_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` arguments; a key may carry its block, as in a verl command.

    Values are read as YAML, those of GPO's fields that hold text as they are, without a pair of quotes around them.

    >>> read_settings(["algorithm.gpo.n_mc=8", "splitter_option=[.!?]"])
    {'n_mc': 8, 'splitter_option': '[.!?]'}

    Raises:
        ValueError: an argument without ``=``, or a value that is no YAML.
    """
    settings = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found or not key:
            raise ValueError(f"{pair!r}: must be KEY=VALUE")
        name = key.removeprefix(f"{BLOCK}.")
        if name in _TEXTS:
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            settings[name] = value[1:-1] if quoted else None if value == "null" else value
            continue
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"{key}={value}: must be a value in YAML ({' '.join(str(error).split())})") from error
    return settings
