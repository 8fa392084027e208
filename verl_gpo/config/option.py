"""What a setting is: its default, what it may hold, and its help."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


class ConfigError(ValueError):
    """A setting that cannot work. The message is one line: the key, the value, what is allowed."""

    def __init__(self, key: str, value: Any, allowed: str):
        super().__init__(f"{key}={value!r}: {allowed}")


@dataclass(frozen=True)
class Allowed:
    """What a field may hold: the words for the error and the documentation, and the test."""

    text: str
    accepts: Callable[[Any], bool]


def integer(least: int) -> Allowed:
    return Allowed(
        f"must be an integer of at least {least}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def number(least: float = -math.inf, exclusive: bool = False) -> Allowed:
    bound = "" if least == -math.inf else f" {'above' if exclusive else 'of at least'} {least:g}"
    return Allowed(
        f"must be a number{bound}",
        lambda value: _is_number(value) and (value > least if exclusive else value >= least),
    )


def share() -> Allowed:
    return Allowed("must be a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)


def one_of(names: Iterable[str]) -> Allowed:
    names = tuple(names)
    return Allowed(f"must be one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


def text(what: str, empty: bool = False) -> Allowed:
    return Allowed(f"must be {what}", lambda value: isinstance(value, str) and (empty or bool(value)))


BOOLEAN = Allowed("must be true or false", lambda value: isinstance(value, bool))
#: YAML makes a number of 512, which is as good as its text.
TEXT_OR_NUMBER = Allowed("must be a text or a number", lambda value: isinstance(value, (str, int, float)))


def option(default: Any, allowed: Allowed, help_text: str) -> Any:
    """A field of the configuration."""
    return field(default=default, metadata={"allowed": allowed, "help": help_text})
