"""``gpo_tool_agent``: verl's tool agent loop that can be continued from each of its turns, or from inside one.

verl's own loop does all the work. It is extended at five of its methods: before a turn is generated the state is kept;
a call of a tool is noted; and a loop that continues a rollout begins with a state instead of the prompt. A turn that
is partly written is completed by the client that the continuation brings (:mod:`.sampler`): it sends the kept tokens to
the engine, and gives them back together with what the engine wrote, so that verl's loop sees one turn and parses it as
one.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, register
from verl.experimental.agent_loop.tool_agent_loop import AgentData, AgentState, ToolAgentLoop

from .output import KEEP_STATES, ReenterableOutput
from .states import Recording, Resumption, ToolCall

#: The loop's name in verl's registry: ``agent_name`` of the data, or ``rollout.agent.default_agent_loop``.
NAME = "gpo_tool_agent"


@register(NAME)
class ReenterableToolLoop(ToolAgentLoop):
    """verl's tool agent loop with re-entry. A subclass that keeps state of its own has ``snapshot`` and ``restore``.

    See :class:`verl_gpo.agents.RestorableTool` for these two methods, which this class does not have itself.
    """

    gpo_reenterable = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._recording: Recording | None = None
        self._resumption: Resumption | None = None
        self._answer_did_not_fit = False

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        keep = KEEP_STATES.get() and self._resumption is None
        self._recording = recording = Recording() if keep else None
        output = await super().run(sampling_params, **kwargs)
        if recording is None:
            return output
        recording.finish(output.prompt_ids, output.response_ids, output.response_mask)
        return ReenterableOutput.of(output, ToolReentry(self, recording, output, kwargs))

    async def _handle_pending_state(self, agent_data: AgentData, sampling_params: dict[str, Any]) -> AgentState:
        if self._resumption is None:
            return await super()._handle_pending_state(agent_data, sampling_params)
        await self._resumption.into(agent_data, self)
        return AgentState.GENERATING

    async def _handle_generating_state(
        self, agent_data: AgentData, sampling_params: dict[str, Any], *args: Any, **kwargs: Any
    ) -> AgentState:
        if self._recording is not None:
            await self._recording.begin_turn(agent_data, agent_data._active_tools, self)
        return await super()._handle_generating_state(agent_data, sampling_params, *args, **kwargs)

    async def _handle_processing_tools_state(self, agent_data: AgentData) -> AgentState:
        state = await super()._handle_processing_tools_state(agent_data)
        self._answer_did_not_fit = state is AgentState.TERMINATED
        return state

    async def _call_tool(self, tool_call: Any, tools_kwargs: dict[str, Any], agent_data: AgentData) -> Any:
        if self._recording is None:
            return await super()._call_tool(tool_call, tools_kwargs, agent_data)
        noted = self._recording.begin_call(tool_call, agent_data)
        noted.answer = await super()._call_tool(tool_call, tools_kwargs, agent_data)
        return noted.answer

    async def call_together(self, calls: Sequence[ToolCall], agent_data: AgentData) -> list[Any]:
        """Execute calls together, as verl executes the calls of one turn."""
        made = (self._call_tool(one.call, agent_data.tools_kwargs, agent_data) for one in calls)
        return list(await asyncio.gather(*made))

    def continuing(self, resumption: Resumption, client: Any, response_length: int, name: str) -> ReenterableToolLoop:
        """A loop like this one that begins from a state.

        Args:
            resumption: the state.
            client: the client of the engine.
            response_length: bound on the whole response.
            name: id of its requests, and of its trajectory for tools.
        """
        branch = copy.copy(self)
        branch._recording, branch._resumption, branch._answer_did_not_fit = None, resumption, False
        branch.server_manager, branch.response_length = client, response_length
        branch._make_request_id = lambda *_: name
        return branch


class ToolReentry:
    """Continues a rollout of :class:`ReenterableToolLoop`; see :class:`~verl_gpo.plugin.agents.output.Reentry`."""

    def __init__(
        self, loop: ReenterableToolLoop, recording: Recording, output: AgentLoopOutput, kwargs: dict[str, Any]
    ):
        self._loop, self._recording, self._output, self._kwargs = loop, recording, output, kwargs
        self.reason = recording.reason
        self.seconds = recording.seconds

    @property
    def states(self) -> list[Any]:
        """The states from which generation began."""
        return self._recording.states

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self._recording.calls()

    async def branch(
        self, kept: int, max_tokens: int, client: Any, name: str, sampling_params: dict
    ) -> AgentLoopOutput:
        output = self._output
        if kept >= len(output.response_ids) or not output.response_mask[kept]:
            raise ValueError(f"a rollout is continued where the policy writes, which it does not behind token {kept}")
        state = next(state for state in reversed(self.states) if state.tokens <= kept)
        log_probs, tokens = output.response_logprobs, state.tokens
        # The turn's tokens that are kept. What a template puts before a turn is put there again.
        own = [at for at in range(tokens, kept) if output.response_mask[at]]
        client.keep([output.response_ids[at] for at in own], log_probs and [log_probs[at] for at in own])
        resumption = Resumption(
            state,
            self._recording.rounds,
            output.prompt_ids,
            output.response_ids[:tokens],
            output.response_mask[:tokens],
            None if log_probs is None else log_probs[:tokens],
        )
        branch = self._loop.continuing(resumption, client, kept + max_tokens, name)
        made = await branch.run(sampling_params, **self._kwargs)
        return ReenterableOutput.of(made, answer_did_not_fit=branch._answer_did_not_fit)
