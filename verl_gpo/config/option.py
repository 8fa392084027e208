"""What a setting is: its default, what it may hold, its help, who owns it, and when it is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
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


def probability() -> Allowed:
    return Allowed("must be a number above 0 and at most 1", lambda value: _is_number(value) and 0 < value <= 1)


def zero_or(least: float) -> Allowed:
    return Allowed(
        f"must be 0, or a number of at least {least:g}",
        lambda value: _is_number(value) and (value == 0 or value >= least),
    )


def one_of(names: Iterable[str]) -> Allowed:
    names = tuple(names)
    return Allowed(f"must be one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


def text(what: str, empty: bool = False) -> Allowed:
    return Allowed(f"must be {what}", lambda value: isinstance(value, str) and (empty or bool(value)))


BOOLEAN = Allowed("must be true or false", lambda value: isinstance(value, bool))
#: YAML makes a number of 512, which is as good as its text.
TEXT_OR_NUMBER = Allowed("must be a text or a number", lambda value: isinstance(value, (str, int, float)))


@dataclass(frozen=True)
class When:
    """A condition under which a field is read: one of these settings has one of these values.

    Attributes:
        settings: name -> values; () for any that is not empty.
        text: in words, where listing the values says less.
    """

    settings: Mapping[str, tuple[str, ...]]
    text: str = ""

    def holds(self, config: Any) -> bool:
        """Whether a configuration fulfils it."""
        found = ((getattr(config, name), values) for name, values in self.settings.items())
        return any(value in values if values else bool(value) for value, values in found)

    def __str__(self) -> str:
        parts = [f"{name}={_listed(values)}" if values else f"a {name}" for name, values in self.settings.items()]
        return self.text or ", or ".join(parts)


def _listed(values: tuple[str, ...]) -> str:
    return " or ".join(filter(None, [", ".join(values[:-1]), values[-1]]))


def when(**settings: tuple[str, ...]) -> When:
    """:class:`When`, e.g. ``when(search=("adaptive",))``."""
    return When(settings)


def option(default: Any, allowed: Allowed, help_text: str, *read: When, owner: str = "rollout") -> Any:
    """A field of the configuration.

    Args:
        default: the paper's value.
        allowed: what it may hold.
        help_text: one line for the documentation.
        read: conditions that all hold where the field is read; none for a field that always is.
        owner: who reads it: the ``rollout`` worker, or the ``estimator`` gpo.
    """
    return field(default=default, metadata={"allowed": allowed, "help": help_text, "read": read, "owner": owner})
