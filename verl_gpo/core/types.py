"""The data types of GPO, and the Protocols that connect the procedure to a policy and to a reward.

Dimension suffixes used throughout ``core``:

====  =============================================
_N    rollout of a group
_K    step of a response (``K`` steps, ``K + 1`` states)
_M    Monte Carlo sample at one state
_S    curve drawn from the belief about a response's values
_T    token of a response
====  =============================================

A *state* ``s_k`` is a prompt and the first ``k`` steps of a response. The procedure never sees the prompt: it is the
same for all rollouts of a group, so a state is written as the tuple of response tokens that are kept (the *prefix*).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Tokens = tuple[int, ...]


class SamplingError(RuntimeError):
    """One continuation could not be generated: it was aborted, or came back empty."""


class StalledError(SamplingError):
    """One continuation was given up: the engine worked on others, and this one did not come back.

    Such draws are *censored*: mostly long answers are given up, so the continuations that came back are a biased sample
    of the state.

    Attributes:
        tokens: number of tokens that the engine had generated of it, as far as that is known.
    """

    def __init__(self, message: str, tokens: int = 0):
        super().__init__(message)
        self.tokens = tokens


class ScoringError(RuntimeError):
    """One response could not be scored: the reward function raised, timed out, or gave no finite number."""


def as_number(reward: Any) -> float:
    """A reward as a number; NaN for what is not one, which then counts as a reward that failed.

    Numbers, truth values, and numpy's and torch's numbers are accepted. A text is not, not even ``"1.0"``: verl could
    not store it.
    """
    if isinstance(reward, (str, bytes)):
        return math.nan
    try:
        return float(reward)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # torch raises the last for several elements
        return math.nan


@dataclass(frozen=True)
class Trajectory:
    """A complete response of the policy to a group's prompt.

    Attributes:
        token_ids: ``(T,)`` response tokens, without the prompt.
        log_probs: ``(T,)`` log-probs under the policy that sampled them, or None if the engine returned none.
        reward: outcome reward ``R(y)``; what is not a number becomes NaN (:func:`as_number`).
        source: anything that the caller wants to get back; the procedure does not use it.
        written: ``(T,)`` 1 where the policy wrote the token and 0 where its environment did
            (:mod:`~verl_gpo.core.turns`); None if the policy wrote all.
    """

    token_ids: Tokens
    log_probs: tuple[float, ...] | None
    reward: float
    source: Any = field(default=None, compare=False, repr=False)
    written: tuple[int, ...] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("log_probs", "written"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.token_ids):
                raise ValueError(f"{name} has {len(values)} entries for {len(self.token_ids)} tokens")
        object.__setattr__(self, "reward", as_number(self.reward))

    @property
    def written_tokens(self) -> int:
        """Number of tokens that the policy wrote."""
        return len(self.token_ids) if self.written is None else sum(self.written)


@dataclass(frozen=True, slots=True)
class Continuation:
    """The response tokens that the policy sampled after a state, and what its environment answered in between.

    Attributes:
        token_ids: ``(T,)`` new tokens, without the prefix.
        log_probs: ``(T,)`` their log-probs, or None.
        context_tokens: tokens of prompt and prefix that the request carried.
        cached_tokens: how many of them the engine found in its prefix cache, or None if it does not report this.
        source: anything that the sampler wants to get back.
        seconds: from the request to its answer, or None if it was not measured.
        written: ``(T,)`` as in :class:`Trajectory`.
        bounded: whether it ended because an answer of the environment did not fit into the allowed length.
    """

    token_ids: Sequence[int]
    log_probs: Sequence[float] | None = None
    context_tokens: int = 0
    cached_tokens: int | None = None
    source: Any = field(default=None, compare=False, repr=False)
    seconds: float | None = field(default=None, compare=False)
    written: Sequence[int] | None = field(default=None, kw_only=True)
    bounded: bool = field(default=False, kw_only=True)

    @property
    def written_tokens(self) -> int:
        """Number of tokens that the policy wrote."""
        return len(self.token_ids) if self.written is None else sum(self.written)


@dataclass(frozen=True, slots=True)
class ScoredContinuation:
    """A continuation and the outcome reward of the whole response, prefix included.

    ``cut`` says that it reached the maximal length of value continuations (``max_continuation_tokens``). Such a
    continuation never becomes a training row, and counts for a value only if the reward function scores partial text
    (``partial_rewards``).
    """

    continuation: Continuation
    reward: float
    cut: bool = field(default=False, kw_only=True)
    source: Any = field(default=None, compare=False, repr=False)

    def trajectory(self) -> Trajectory:
        """The root rollout; only valid for a continuation of the prompt itself."""
        log_probs, written = self.continuation.log_probs, self.continuation.written
        return Trajectory(
            tuple(self.continuation.token_ids),
            None if log_probs is None else tuple(log_probs),
            self.reward,
            written=None if written is None else tuple(written),
        )


class Sampler(Protocol):
    """Draws continuations of one prompt's states from the current policy."""

    async def sample(self, prefix: Tokens, max_tokens: int, seed: int, lane: int = 0) -> Continuation:
        """Continue the prompt and ``prefix`` by at most ``max_tokens`` tokens.

        A prefix ends where the policy writes next. If the policy has an environment, the sampler brings it to the state
        that it had there, and ``max_tokens`` bounds the policy's tokens and the environment's together.

        ``seed`` differs between any two requests of a prompt, for engines that sample deterministically. Requests of
        one ``lane`` should go to the same replica, where their prefixes are cached; another lane may use another one.

        Raises:
            StalledError: the continuation was given up.
            SamplingError: no usable continuation came back.
        """
        ...


class Scorer(Protocol):
    """The ordinary reward function, asked for one complete response at a time."""

    async def score(self, prefix: Tokens, continuation: Continuation) -> ScoredContinuation:
        """Reward of the response ``prefix + continuation``.

        Raises:
            ScoringError: no reward came back.
        """
        ...


class Splitter(Protocol):
    """Cuts a response into steps."""

    def __call__(self, token_ids: Sequence[int], log_probs: Sequence[float] | None = None) -> list[int]:
        """Return the ``K`` exclusive ends of the steps, increasing, the last ``len(token_ids)``; [] for no tokens.

        ``log_probs`` are those of the tokens, for splitters that cut where the policy was unsure.
        """
        ...
