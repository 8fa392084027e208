"""The settings of GPO, read from a mapping and validated once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from . import names
from .names import PRESETS
from .option import ConfigError
from .settings import Settings
from .splitters import check_option

_BEST = "must be replaced with learn_from=best, which is one rollout"


@dataclass(frozen=True)
class GPOConfig(Settings):
    """Settings of GPO. The defaults are the preset ``paper``."""

    def __post_init__(self) -> None:
        for known in fields(self):
            value, allowed = getattr(self, known.name), known.metadata["allowed"]
            if not allowed.accepts(value):
                raise ConfigError(_key(known.name), value, allowed.text)
        if self.rows == "matched" and self.n_reentry:
            if self.learn_from == "best":
                raise ConfigError(_key("rows"), self.rows, _BEST)
            if not self.anchors:
                raise ConfigError(_key("anchors"), 0, "must be a number of responses with rows=matched")
            if self.learn_from == "all":
                raise ConfigError(_key("learn_from"), "all", "must be another with rows=matched: its rows vary")
        self._check_rows_and_credit()
        if self.reward_low >= self.reward_high:
            raise ConfigError(_key("reward_high"), self.reward_high, f"must be above reward_low={self.reward_low:g}")
        # A number is as good as its text: YAML makes a number of 512.
        object.__setattr__(self, "splitter_option", str(self.splitter_option))
        reason = check_option(self.splitter, self.splitter_option or None)
        if reason:
            raise ConfigError(_key("splitter_option"), self.splitter_option, reason)

    def _check_rows_and_credit(self) -> None:
        """Refuse combinations from which nothing, or nothing sensible, would be learnt."""
        if not self.n_reentry and self.credit == "outcome" and self.enable and self.search != "none":
            allowed = f"must be at least 1 with credit=outcome: nothing would be learnt from search={self.search}"
            raise ConfigError(_key("n_reentry"), 0, allowed)
        if self.rows == "replaced":
            if self.n_reentry != 1:
                raise ConfigError(_key("n_reentry"), self.n_reentry, "must be 1 with rows=replaced: a row for a row")
            if self.learn_from not in ("fresh", "best"):
                raise ConfigError(_key("learn_from"), self.learn_from, "must be fresh or best with rows=replaced")
            if self.credit == "steps":
                allowed = "must be outcome with rows=replaced: the response that was searched is no row"
                raise ConfigError(_key("credit"), self.credit, allowed)
        if self.rows == "downsampled" and self.search != "none":
            allowed = f"is for search=none, and search is {self.search}"
            raise ConfigError(_key("rows"), self.rows, allowed)

    @classmethod
    def from_mapping(cls, block: Mapping[str, Any] | None, refuse_unread: bool = True) -> GPOConfig:
        """Build the configuration from the block ``algorithm.gpo``.

        Args:
            block: the fields that are set; None or {} for the defaults. Nulls count as not set.
            refuse_unread: off for those who compare searches by settings that not all of them read.

        Raises:
            ConfigError: an unknown key, a value that is not allowed, or a field that is set and not read.

        So ``{"search": "uniform", "stop_confidence": 0.5}`` ends in one line:
        ``algorithm.gpo.stop_confidence=0.5: is read with search=adaptive only, and search is uniform``.
        """
        given = _given(block)
        known = {field.name for field in fields(cls)}
        for key in given:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise ConfigError(_key(key), given[key], f"no such key; {hint}known are {', '.join(sorted(known))}")
        preset = given.get("preset", _default(cls, "preset"))
        base = dict(PRESETS.get(preset, {})) if isinstance(preset, str) else {}
        if "splitter" in given:  # a preset's option is that of its own splitter
            base.pop("splitter_option", None)
        config = cls(**{**base, **given})
        if config.learn_from == "best" and config.rows != "replaced":
            raise ConfigError(_key("rows"), config.rows, _BEST)
        if refuse_unread:
            for error in config.unread(given).values():
                raise error
        return config

    def unread(self, block: Mapping[str, Any]) -> dict[str, ConfigError]:
        """The fields that a block sets and that nothing reads, with what to say of each.

        None where ``enable`` is off: a baseline twin shares the command line of its run. What a preset sets is not set
        by the block.
        """
        given, found = _given(block), {}
        for known in fields(self) if self.enable else ():
            for condition in known.metadata["read"] if known.name in given else ():
                if known.name not in found and not condition.holds(self):
                    said = ", ".join(self._said(name, given) for name in condition.settings)
                    allowed = f"is read with {condition} only, and {said}"
                    found[known.name] = ConfigError(_key(known.name), given[known.name], allowed)
        return found

    def _said(self, name: str, given: Mapping[str, Any]) -> str:
        by_preset = name not in given and name in PRESETS[self.preset]
        value = getattr(self, name)
        return f"{name} is {'empty' if value == '' else value}{f' (preset {self.preset})' if by_preset else ''}"

    @property
    def reserved_rows(self) -> int:
        """Rows of each prompt, out of ``rollout.n``, that are kept for re-entry rollouts.

        What is not used of them goes to further roots of the same prompt, drawn after the search.
        """
        return self.anchors * self.n_reentry if self.rows == "matched" else 0

    @property
    def rows_vary(self) -> bool:
        """Whether the number of rows of a training step differs from ``prompts x rollout.n``."""
        return self.enable and self.rows not in ("matched", "replaced")


def _given(block: Mapping[str, Any] | None) -> dict[str, Any]:
    return {str(key): value for key, value in (block or {}).items() if value is not None}


def _key(name: str) -> str:
    return f"{names.BLOCK}.{name}"


def _default(cls: type, name: str) -> Any:
    found: Field = next(field for field in fields(cls) if field.name == name)
    assert found.default is not MISSING
    return found.default


def owned_by(owner: str) -> tuple[str, ...]:
    """The fields that are read by the ``rollout`` worker, or by the ``estimator``."""
    return tuple(known.name for known in fields(GPOConfig) if known.metadata["owner"] == owner)
