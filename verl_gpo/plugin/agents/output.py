"""What an agent loop gives with a rollout, so that the rollout can be continued from one of its turns."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

from pydantic import PrivateAttr
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

#: Whether the loops that run in this context keep the states of their rollouts. Only roots that may be searched need
#: them: neither validation rollouts nor continuations do.
KEEP_STATES: ContextVar[bool] = ContextVar("verl_gpo_keep_states", default=False)


class Reentry(Protocol):
    """Continues one rollout. A loop of a user's own that is no subclass of ours returns an object like this.

    Attributes:
        reason: why the rollout cannot be continued, as a metric's name may contain it; None if it can.
        calls: the tool calls that were made, for traces: mappings with ``turn`` (from 0), ``tool``, ``arguments`` (as
            the policy wrote them), ``answer`` and ``reward``.
        seconds: what keeping the states has cost.
    """

    reason: str | None
    calls: list[dict[str, Any]]
    seconds: float

    async def branch(
        self, kept: int, max_tokens: int, client: Any, name: str, sampling_params: dict
    ) -> AgentLoopOutput:
        """What the loop would have done after the first ``kept`` response tokens, with a new sample of what follows.

        Args:
            kept: tokens of the response that are kept; the next token is one that the policy wrote.
            max_tokens: most tokens after them, answers of tools included.
            client: replaces the loop's client of the engine: what the engine is asked for goes through it.
            name: unique name of this continuation, also for requests.
            sampling_params: those of the rollout.

        Returns:
            The output for the whole response, kept tokens included, as the loop would have given it.
        """
        ...


class ReenterableOutput(AgentLoopOutput):
    """verl's output with the means to continue it, which verl neither sees nor stores.

    Attributes:
        answer_did_not_fit: of a continuation: it ended because an answer did not fit into the allowed length.
    """

    _reentry: Reentry | None = PrivateAttr(default=None)
    _answer_did_not_fit: bool = PrivateAttr(default=False)

    @classmethod
    def of(
        cls, output: AgentLoopOutput, reentry: Reentry | None = None, answer_did_not_fit: bool = False
    ) -> ReenterableOutput:
        """The same output; the fields that count as set, which decide the columns of a row, are the same, too."""
        made = cls.model_construct(_fields_set=set(output.model_fields_set), **dict(output))
        made._reentry, made._answer_did_not_fit = reentry, answer_did_not_fit
        return made

    @property
    def answer_did_not_fit(self) -> bool:
        return self._answer_did_not_fit


def reentry_of(output: Any) -> Reentry | None:
    """What a loop gave with its output to continue it; None if it gave nothing."""
    return getattr(output, "_reentry", None)
