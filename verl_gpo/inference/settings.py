"""``KEY=VALUE`` arguments of the command lines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import yaml

from ..config import BLOCK

#: Keys whose values are text: YAML would make a list of the pattern ``[.!?]``, and a mapping of ``\\d: ``.
_TEXT = frozenset(["splitter_option"])
_NULL = ("", "~", "null")
#: What the arguments of a chat template cannot be: how prompts are tokenized is not theirs to say.
_NOT_TEMPLATE = ("tokenize", "add_generation_prompt", "return_dict", "return_tensors")


def read_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` arguments, the values as YAML; a key may carry its block, as in a verl command.

    A value that YAML cannot read is text, and so is that of a key that takes text, unless YAML's quotes are around it.

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
    try:
        read = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):  # a date that there is not is a ValueError
        return value
    if key in _TEXT:
        quoted = isinstance(read, str) and value[:1] in ("'", '"')
        return None if value in _NULL else read if quoted else value
    return read


def read_template(pairs: Sequence[str]) -> dict[str, Any]:
    """Arguments of the chat template, verl's ``data.apply_chat_template_kwargs``, as ``KEY=VALUE``.

    Raises:
        ValueError: an argument without ``=``, or one that says how a prompt is tokenized.
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
