"""``KEY=VALUE`` arguments of the command lines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import yaml

from ..config import BLOCK, GPOConfig

#: Fields with text, which is not read as YAML: a pattern such as ``[.!?]`` would be a list.
_TEXTS = {option.name for option in fields(GPOConfig) if isinstance(option.default, str)}

_NULL = ("", "~", "null")
#: Arguments that a user may not give to the chat template, because they decide how prompts are tokenized.
_NOT_TEMPLATE = ("tokenize", "add_generation_prompt", "return_dict", "return_tensors")


def read_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` arguments; a key may carry its block, as in a verl command.

    Values are read as YAML, except GPO's fields with text: these are taken as they are, without quotes around them.

    >>> read_settings(["algorithm.gpo.n_mc=8", "splitter_option=[.!?]"])
    {'n_mc': 8, 'splitter_option': '[.!?]'}

    A value that YAML cannot read is text; the setting's own check decides whether text is allowed.

    Raises:
        ValueError: an argument without ``=``.
    """
    settings = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found or not key:
            raise ValueError(f"{pair!r}: must be KEY=VALUE")
        key = key.removeprefix(f"{BLOCK}.")
        settings[key] = _value(key, value)
    return settings


def _value(key: str, value: str) -> Any:
    if key in _TEXTS:
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        return value[1:-1] if quoted else None if value in _NULL else value
    try:
        return yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):  # YAML raises ValueError for an impossible date
        return value


def read_template(pairs: Sequence[str]) -> dict[str, Any]:
    """Arguments of the chat template, verl's ``data.apply_chat_template_kwargs``, as ``KEY=VALUE``.

    Raises:
        ValueError: an argument without ``=``, or one that decides how a prompt is tokenized.
    """
    option = "--apply-chat-template-kwargs"
    try:
        template = read_settings(pairs)
    except ValueError as error:
        raise ValueError(f"{option} {error}") from error
    for key in _NOT_TEMPLATE:
        if key in template:
            raise ValueError(f"{option} {key}: must be an argument of the template, such as enable_thinking=false")
    return template


def add_template_option(parser: argparse.ArgumentParser) -> None:
    """The option that :func:`read_template` reads, the same for every command."""
    parser.add_argument(
        "--apply-chat-template-kwargs",
        dest="template",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="argument of the chat template, as verl's data.apply_chat_template_kwargs; may be repeated",
    )
