"""Conversations with tools through vLLM alone: a ``Sampler`` whose answers have several turns.

It keeps the conversation and the environments' states wherever the policy began to write, so that a continuation of
such a state, or of one within the turn that began there, goes on in the same environment.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..core.stall import watched
from ..core.types import Continuation, SamplingError, Tokens
from .tools import Toolbox

#: Tool calls as Qwen's and Hermes' models write them, verl's format ``hermes``.
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)

Message = dict[str, Any]


@dataclass(frozen=True)
class Conversation:
    """What a continuation said, as messages; as text it is vLLM's finish reason.

    Attributes:
        finish: ``stop``, or ``length`` where the last turn was cut off.
        before: messages between the prompt and the turn in which the continuation began.
        messages: the messages from that turn on, the whole turn included.
        within: whether it began within a turn, so that the state has no messages of its own.
    """

    finish: str
    before: tuple[Message, ...]
    messages: tuple[Message, ...]
    within: bool

    def __str__(self) -> str:
        return self.finish


class _Point(NamedTuple):
    """A state in which the policy began to write: the messages so far, and the environments' states."""

    messages: tuple[Message, ...]
    states: Mapping[str, Any]


class ConversationSampler:
    """One prompt's sampler.

    Args:
        engine: as :class:`~verl_gpo.inference.engine.VLLMEngine`.
        prompt_ids: the prompt.
        toolbox: the tools.
        tools_kwargs: the row's ``extra_info.tools_kwargs``.
        max_turns: most turns of the policy.
        stall_timeout: see :func:`~verl_gpo.core.stall.watched`.
        template: arguments of the chat template.
    """

    def __init__(
        self,
        engine: Any,
        prompt_ids: Sequence[int],
        toolbox: Toolbox,
        tools_kwargs: Mapping[str, Any] | None = None,
        max_turns: int = 16,
        stall_timeout: float = 600.0,
        template: Mapping[str, Any] | None = None,
    ):
        self._engine, self._prompt_ids, self._toolbox = engine, list(prompt_ids), toolbox
        self._tools_kwargs, self._max_turns, self._stall_timeout = tools_kwargs, max_turns, stall_timeout
        self._template = dict(template or {})
        self._points: dict[Tokens, _Point] = {(): _Point((), {})}

    async def sample(self, prefix: Tokens, max_tokens: int, seed: int, lane: int = 0) -> Continuation:
        """Go on from a state of a conversation that this sampler led.

        Raises:
            SamplingError: the engine failed, or the chat template does not write answers behind a call.
        """
        begun = self._begun(tuple(prefix))
        point = self._points[begun]
        session = self._toolbox.start(self._tools_kwargs)
        session.restore(copy.deepcopy(point.states))
        messages, turn = list(point.messages), list(prefix[len(begun) :])
        ids, log_probs, written = list(prefix), [], []
        first: Continuation | None = None
        seconds = 0.0
        while True:
            left = max_tokens - len(written)
            request = self._engine.generate([*self._prompt_ids, *ids], left, seed)
            drawn = await watched(
                request, self._engine.clock, self._stall_timeout, left, lambda answer: len(answer.token_ids)
            )
            first = first or drawn
            seconds += drawn.seconds or 0.0
            ids += drawn.token_ids
            turn += drawn.token_ids
            written += [1] * len(drawn.token_ids)
            log_probs += drawn.log_probs or [0.0] * len(drawn.token_ids)
            finish, bounded = str(drawn.source), False
            message, calls = self._said(turn, finish)
            messages.append(message)
            turns = sum(one["role"] == "assistant" for one in messages)
            if not calls or finish == "length" or turns >= self._max_turns:
                break
            answers = [
                {"role": "tool", "name": name, "content": await session.call(name, given)} for name, given in calls
            ]
            between = self._between(message, answers)
            if len(written) + len(between) >= max_tokens:
                bounded = True
                break
            messages += answers
            ids += between
            written += [0] * len(between)
            log_probs += [0.0] * len(between)
            turn = []
            self._points[tuple(ids)] = _Point(tuple(messages), copy.deepcopy(session.snapshot()))
        said = Conversation(
            "length" if bounded else finish,
            point.messages,
            tuple(messages[len(point.messages) :]),
            len(begun) < len(prefix),
        )
        return Continuation(
            tuple(ids[len(prefix) :]),
            tuple(log_probs),
            first.context_tokens,
            first.cached_tokens,
            said,
            seconds,
            written=tuple(written),
            bounded=bounded,
        )

    def _begun(self, prefix: Tokens) -> Tokens:
        """The longest part of a prefix at whose end the policy began to write."""
        return max((known for known in self._points if prefix[: len(known)] == known), key=len)

    def _said(self, turn: Sequence[int], finish: str) -> tuple[Message, list[tuple[str, str]]]:
        """The message of a turn, and its calls as (name, arguments in JSON). What is no valid call remains text."""
        text = self._engine.decode(list(turn))
        end = self._engine.tokenizer.eos_token
        body = text.removesuffix(end) if end and finish != "length" else text
        calls: list[tuple[str, str]] = []
        for written in _CALL.findall(body):
            try:
                function = json.loads(written)
                calls.append((str(function["name"]), json.dumps(function["arguments"], ensure_ascii=False)))
            except (ValueError, KeyError, TypeError):
                continue
        if not calls:
            return {"role": "assistant", "content": body}, []
        made = [
            {"type": "function", "function": {"name": name, "arguments": json.loads(given)}} for name, given in calls
        ]
        return {"role": "assistant", "content": body[: body.index("<tool_call>")], "tool_calls": made}, calls

    def _between(self, message: Message, answers: Sequence[Message]) -> list[int]:
        """The tokens between two turns: the rest of the first one's frame, the answers, and the next one's header."""
        asked = [{"role": "user", "content": ""}, message]
        before = self._render(asked, False)
        after = self._render([*asked, *answers], True)
        if not after.startswith(before):
            raise SamplingError("the chat template changes a call when its answer follows")
        end = self._engine.tokenizer.eos_token
        frame = before.rpartition(end)[2] if end and end in before else ""
        return list(self._engine.tokenizer(frame + after[len(before) :], add_special_tokens=False)["input_ids"])

    def _render(self, messages: Sequence[Message], asked: bool) -> str:
        return self._engine.tokenizer.apply_chat_template(
            list(messages),
            tools=self._toolbox.schemas or None,
            add_generation_prompt=asked,
            tokenize=False,
            **self._template,
        )
