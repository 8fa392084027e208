"""The states of a rollout from which generation began, and its tool calls; and a new trajectory in such a state."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verl.experimental.agent_loop.tool_agent_loop import AgentData

from . import restore

#: What a tool gives for a call: verl's response, a reward, metrics.
Answer = tuple[Any, Any, Any]


@dataclass
class ToolCall:
    """One call. ``answer`` is None until it has come back."""

    call: Any
    answer: Answer | None = None


@dataclass(frozen=True)
class Round:
    """The calls of one turn, which verl executes together.

    Attributes:
        turn: index of the policy's turn.
        messages: the conversation when they were made.
        calls: in the order in which verl starts them.
    """

    turn: int
    messages: tuple[dict, ...]
    calls: list[ToolCall] = field(default_factory=list)


@dataclass
class TurnState:
    """A state from which generation began: what verl's ``AgentData`` held, as far as the next turns depend on it.

    Token ids, mask and log-probs are the beginning of those of the whole rollout, so only their number is kept.

    Attributes:
        tokens: number of response tokens.
        messages: the conversation.
        media: images, videos, audios, and what was made of them.
        counts: turns of user (and tools) and of the assistant.
        scores: rewards of turns and of tools so far.
        extra_fields: a copy of what tools and engine put there.
        environments: name -> state of an environment (:func:`~verl_gpo.plugin.agents.restore.take`).
        rounds: number of rounds of calls before.
        ids: the token ids, until :meth:`Recording.finish` has compared them with the rollout's.
        mask: likewise.
    """

    tokens: int
    messages: tuple[dict, ...]
    media: dict[str, Any]
    counts: tuple[int, int]
    scores: tuple[tuple, tuple]
    extra_fields: dict[str, Any]
    environments: dict[str, Any]
    rounds: int
    ids: Sequence[int] | None = None
    mask: Sequence[int] | None = None


_MEDIA = ("image_data", "video_data", "audio_data", "mm_processor_kwargs", "mm_processor_output")


def _shallow(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


class Recording:
    """What a loop notes about one rollout while it runs.

    Attributes:
        states: the states from which generation began, in order.
        rounds: the rounds of calls, in order.
        reason: why the rollout cannot be continued, if it cannot.
        seconds: of CPU and of waiting for snapshots.
    """

    def __init__(self) -> None:
        self.states: list[TurnState] = []
        self.rounds: list[Round] = []
        self.reason: str | None = None
        self.seconds = 0.0

    async def begin_turn(self, agent_data: AgentData, tools: Mapping[str, Any], loop: Any) -> None:
        """Note the state from which the policy writes next."""
        if self.reason is None and restore.unrestorable(tools):
            self.reason = "environment"
        if self.reason is not None:
            return
        started = time.perf_counter()
        try:
            environments = await restore.take(tools, loop, agent_data)
            extra_fields = copy.deepcopy(agent_data.extra_fields)
        except Exception:
            restore.logger.exception("a snapshot failed; the prompt keeps its root rollouts and is not searched")
            self.reason = "snapshot"
            return
        self.states.append(
            TurnState(
                len(agent_data.response_mask),
                tuple(agent_data.messages),
                {name: _shallow(getattr(agent_data, name)) for name in _MEDIA},
                (agent_data.user_turns, agent_data.assistant_turns),
                (tuple(agent_data.turn_scores), tuple(agent_data.tool_rewards)),
                extra_fields,
                environments,
                len(self.rounds),
                agent_data.prompt_ids,
                agent_data.response_mask,
            )
        )
        self.seconds += time.perf_counter() - started

    def begin_call(self, call: Any, agent_data: AgentData) -> ToolCall:
        """Note that a call is made. Calls of one turn are made before any answer of theirs is part of the messages."""
        turn = agent_data.assistant_turns - 1
        if not self.rounds or self.rounds[-1].turn != turn:
            self.rounds.append(Round(turn, tuple(agent_data.messages)))
        self.rounds[-1].calls.append(ToolCall(call))
        return self.rounds[-1].calls[-1]

    def finish(self, prompt_ids: Sequence[int], response_ids: Sequence[int], mask: Sequence[int]) -> None:
        """Compare the states with the rollout that came out, and forget their tokens.

        A loop that rewrites what was said before, say to shorten it, has states that are no beginning of its rollout.
        """
        whole, mask = [*prompt_ids, *response_ids], list(mask)
        for state in self.states:
            same = list(state.ids) == whole[: len(state.ids)] and list(state.mask) == mask[: state.tokens]
            if not same or len(state.ids) != len(prompt_ids) + state.tokens:
                self.reason = self.reason or "rewritten"
            state.ids = state.mask = None

    def calls(self) -> list[dict[str, Any]]:
        """The calls for traces."""
        return [
            {
                "turn": made.turn,
                "tool": one.call.name,
                "arguments": one.call.arguments,
                "answer": None if one.answer is None else one.answer[0].text,
                "reward": None if one.answer is None else one.answer[1],
            }
            for made in self.rounds
            for one in made.calls
        ]


@dataclass(frozen=True)
class Resumption:
    """A state to begin from.

    Attributes:
        state: the state.
        rounds: the rounds of calls before it, for tools that are restored by executing them again.
        prompt_ids: token ids of the prompt.
        response_ids: ``(state.tokens,)`` tokens of the response before it.
        mask: which of them the policy wrote.
        log_probs: their log-probs; None if the engine gives none.
    """

    state: TurnState
    rounds: Sequence[Round]
    prompt_ids: Sequence[int]
    response_ids: Sequence[int]
    mask: Sequence[int]
    log_probs: Sequence[float] | None

    async def into(self, agent_data: AgentData, loop: Any) -> None:
        """Make a new trajectory's data what they were in the state, environments included.

        Raises:
            ReplayError: a call that was executed again was answered differently.
        """
        tools = agent_data._active_tools
        again = {name for name, tool in tools.items() if restore.how(tool) == restore.REPLAY}
        made = await self._replay(agent_data, loop, again) if again else {}
        state = self.state
        agent_data.prompt_ids = [*self.prompt_ids, *self.response_ids]
        agent_data.response_mask = list(self.mask)
        agent_data.response_logprobs = [] if self.log_probs is None else list(self.log_probs)
        agent_data.messages = list(state.messages)
        for name, value in state.media.items():
            setattr(agent_data, name, _shallow(value))
        agent_data.user_turns, agent_data.assistant_turns = state.counts
        agent_data.turn_scores, agent_data.tool_rewards = map(list, state.scores)
        # A tool that was replayed may have put a handle of its new session there.
        agent_data.extra_fields = {**copy.deepcopy(state.extra_fields), **made}
        await restore.put_back(tools, loop, agent_data, state.environments)

    async def _replay(self, agent_data: AgentData, loop: Any, tools: set[str]) -> dict[str, Any]:
        """Execute the calls of these tools again; what they put into ``extra_fields``."""
        for made in self.rounds[: self.state.rounds]:
            agent_data.messages = list(made.messages)
            agent_data.assistant_turns = made.turn + 1
            calls = [one for one in made.calls if one.call.name in tools]
            for one, answer in zip(calls, await loop.call_together(calls, agent_data), strict=True):
                if one.answer is None or not restore.same_answer(one.answer, answer):
                    raise restore.ReplayError(
                        f"{one.call.name}({one.call.arguments}) was answered differently when it was replayed: a tool "
                        "whose answers differ needs snapshot and restore"
                    )
        return agent_data.extra_fields
