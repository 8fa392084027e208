"""Every choice of GPO's own, in one frozen dataclass.

In a verl configuration the fields form the block ``algorithm.gpo``. A field that is absent or null takes the preset's
value, so ``algorithm.gpo.preset=fast algorithm.gpo.n_mc=8`` means what it says. This module imports no framework.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from .core.critical import RULES

#: Where the fields stand in a verl configuration; every error names its key in full.
BLOCK = "algorithm.gpo"

RESETS = ("before", "after")

#: What each preset changes against the defaults, which are the paper's.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "fast": {"n_mc": 2, "max_steps": 8},
}


class ConfigError(ValueError):
    """A setting that cannot work. The message is one line: the key, the value, what is allowed."""

    def __init__(self, key: str, value: Any, allowed: str):
        super().__init__(f"{key}={value!r}: {allowed}")


@dataclass(frozen=True)
class _Allowed:
    """What a field may hold: the words for the error and the documentation, and the test."""

    text: str
    accepts: Callable[[Any], bool]


def _integer(least: int) -> _Allowed:
    return _Allowed(
        f"must be an integer of at least {least}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least,
    )


def _number(least: float, exclusive: bool = False) -> _Allowed:
    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return (value > least if exclusive else value >= least) and value != float("inf")

    return _Allowed(f"must be a number {'above' if exclusive else 'of at least'} {least:g}", accepts)


def _one_of(names: Any) -> _Allowed:
    names = tuple(names)
    return _Allowed(f"must be one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


_BOOLEAN = _Allowed("must be true or false", lambda value: isinstance(value, bool))


def _option(default: Any, allowed: _Allowed, text: str) -> Any:
    return field(default=default, metadata={"allowed": allowed, "help": text})


@dataclass(frozen=True)
class GPOConfig:
    """Settings of GPO. The defaults are the preset ``paper``."""

    preset: str = _option(
        "paper",
        _one_of(PRESETS),
        "Where fields that are not set take their value: `paper`, or `fast` for a cheaper search.",
    )
    enable: bool = _option(
        True, _BOOLEAN, "Off: no search and no re-entry, the run is the base optimizer's own (the baseline twin)."
    )
    anchors: int = _option(1, _integer(1), "Responses of each group in which a critical step is looked for.")
    min_step_tokens: int = _option(4, _integer(1), "Shorter lines are merged with the lines after them.")
    max_steps: int = _option(0, _integer(0), "Upper bound on the steps of a response, by merging neighbours; 0: none.")
    n_mc: int = _option(4, _integer(1), "Monte Carlo continuations at each valued state.")
    rule: str = _option(
        "argmax",
        _one_of(RULES),
        "Which step is critical: the one that gains most (`argmax`), changes most (`abs`), loses most (`argmin`), "
        "or any (`random`, which needs no values: the ablation).",
    )
    min_advantage: float = _option(
        0.0, _number(0.0), "The critical step's importance has to exceed this, else the response has none."
    )
    reset: str = _option(
        "before", _one_of(RESETS), "Reset to the state before the critical step (the paper's), or to the one after it."
    )
    n_reentry: int = _option(4, _integer(1), "New rollouts sampled from each reset state.")
    max_prefix_tokens: int = _option(
        0, _integer(0), "Longest prefix that is kept, in tokens; 0: up to one token less than the response length."
    )
    reentry_weight: float = _option(1.0, _number(0.0), "Factor on the advantages of re-entry rollouts.")
    request_timeout: float = _option(
        600.0, _number(0.0, exclusive=True), "Seconds after which one continuation or one reward counts as failed."
    )
    seed: int = _option(0, _integer(0), "Seed of the random rule, and of requests under full determinism.")

    def __post_init__(self) -> None:
        for option in fields(self):
            value, allowed = getattr(self, option.name), option.metadata["allowed"]
            if not allowed.accepts(value):
                raise ConfigError(f"{BLOCK}.{option.name}", value, allowed.text)

    @classmethod
    def from_mapping(cls, block: Mapping[str, Any] | None) -> GPOConfig:
        """Build the configuration from the block ``algorithm.gpo``.

        Args:
            block: the fields that are set; None or {} for the defaults. Nulls count as not set.

        Raises:
            ConfigError: an unknown key, or a value that is not allowed.
        """
        given = {str(key): value for key, value in (block or {}).items() if value is not None}
        known = {option.name for option in fields(cls)}
        for key in given:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise ConfigError(
                    f"{BLOCK}.{key}", given[key], f"no such key; {hint}known are {', '.join(sorted(known))}"
                )
        preset = given.get("preset", _default(cls, "preset"))
        base = PRESETS.get(preset, {}) if isinstance(preset, str) else {}
        return cls(**{**base, **given})

    def prefix_budget(self, response_length: int) -> int:
        """Longest prefix, in tokens, that may be kept in a response of at most ``response_length`` tokens."""
        longest = response_length - 1
        return min(self.max_prefix_tokens, longest) if self.max_prefix_tokens else longest


def _default(cls: type, name: str) -> Any:
    option: Field = next(f for f in fields(cls) if f.name == name)
    assert option.default is not MISSING
    return option.default


def reference_table() -> str:
    """The configuration reference as a Markdown table, generated from the dataclass."""
    lines = ["| `algorithm.gpo.` | `paper` | `fast` | meaning |", "|---|---|---|---|"]
    paper, fast = GPOConfig.from_mapping({"preset": "paper"}), GPOConfig.from_mapping({"preset": "fast"})
    for option in fields(GPOConfig):
        one, other = (str(getattr(c, option.name)).lower() for c in (paper, fast))
        lines.append(f"| `{option.name}` | {one} | {other if other != one else ''} | {option.metadata['help']} |")
    return "\n".join(lines)
