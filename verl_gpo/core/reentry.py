"""GPO's steps 1 to 4 for one prompt (arXiv 2509.16456): value states, choose the critical step, reset, sample again.

One call handles one prompt. It is a coroutine that waits for nothing but its own requests, so the prompts of a training
step overlap freely. It knows the policy and the reward by the Protocols of :mod:`verl_gpo.core.types` only.

A worked prompt, with a group of two roots and ``n_mc=2``, ``n_reentry=3``. Letters are tokens, ``/`` is a newline::

    root 0, the anchor   aaaa/ bbbb/ cccc/ =5.    reward 1    four steps; s_1 = aaaa/, s_2 = aaaa/bbbb/, ...
    root 1               aaaa/ =6.                reward 0    V(s_0) = (1 + 0) / 2 = 0.5, which costs nothing
    continuations        of s_1: =6. =6.          V(s_1) = 0
                         of s_2: =5. =5.          V(s_2) = 1
                         of s_3: =5. =5.          V(s_3) = 1, and V(s_4) = 1 is the anchor's own reward
    advantages           A = -0.5, 1, 0, 0        the critical step is m = 1, bbbb/
    reset state          s_1                      its prefix aaaa/ is kept: five tokens, mask 0
    re-entry rollouts    aaaa/|=5.                reward 1    mask 00000 111
                         aaaa/|x/=6.              reward 0    mask 00000 11111
                         aaaa/|=5.                reward 1    mask 00000 111

The three new rollouts are a group of their own: their baseline is the value of ``s_1``, never that of the prompt.
``tests/plugin/test_worker.py`` plays this prompt through verl's own worker; ``recipes/toy/reenter.py`` is an example
that runs without verl.

A request that fails is counted, and its continuation is missing from the estimate; the prompt goes on. With the same
seed and a policy that gives the same answers, every choice is the same, in whatever order the requests come back.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence

from ..config import GPOConfig
from .anchors import choose_anchors, is_skipped
from .budget import Account
from .draw import Draw
from .group import Group
from .learn import LEARN_FROM
from .result import GroupResult
from .scheduler import Scheduler
from .search import SEARCHES, Search
from .search.propose import ProposeSearch
from .shadow import Chain
from .types import Sampler, Scorer, Splitter, Trajectory


class ReentryProcedure:
    """Runs GPO's search and re-entry for one prompt after another or for many at once; all share the scheduler's slots.

    Args:
        config: see :class:`verl_gpo.config.GPOConfig`.
        splitter: response tokens to step ends.
        response_length: most tokens of a response, kept prefix included.
        scheduler: grants slots; None: one with ``max_in_flight`` of them, for a single replica.
        smallest_group: rollouts of a state that can be learnt from together: 2 where they are compared, otherwise 1.
            A smaller group is not drawn.
    """

    def __init__(
        self,
        config: GPOConfig,
        splitter: Splitter,
        response_length: int,
        scheduler: Scheduler | None = None,
        smallest_group: int = 2,
    ):
        self.config = config
        self.splitter = splitter
        self.response_length = response_length
        self.scheduler = scheduler or Scheduler(config.max_in_flight)
        self.smallest_group = smallest_group

    async def run(
        self,
        roots_N: Sequence[Trajectory],
        sampler: Sampler,
        scorer: Scorer,
        seed: str = "",
        step_account: Account | None = None,
        on_choice: Callable[[], None] = lambda: None,
        given: Sequence[int] = (),
        keep_tokens: bool = False,
        longest_chain: float = math.inf,
        passed: Callable[[], float] = lambda: 0.0,
    ) -> GroupResult:
        """Search the group's anchors for critical steps and sample new rollouts from the reset states.

        Args:
            roots_N: the rollouts that the group sampled from the prompt, with their rewards.
            sampler: continues this prompt's states.
            scorer: scores this prompt's responses.
            seed: names the prompt; together with ``config.seed`` it fixes every random choice.
            step_account: the budget of this training step; the tokens drawn count against it.
            on_choice: called between the phases ``value`` and ``reentry``, to show progress.
            given: steps of the responses that the data set says are decisive, for ``search=given``.
            keep_tokens: also keep the tokens of continuations that only give a value, to show them.
            longest_chain: tokens that may be generated one after another (:mod:`verl_gpo.core.shadow`). A prompt for
                which this is too little is searched in fewer rounds, or not re-entered. Re-entry rollouts that reach
                the limit are cut, and then the whole group is dropped, because the others are the short ones. Under
                ``rows=matched`` it bounds the search alone, because roots would have to take the place of the group.
            passed: the time since the roots were sent, in tokens.

        Returns:
            One :class:`Reentry` for each anchor. Anchors without tokens have no steps and so no critical one.
        """
        config = self.config
        result = GroupResult(effort=step_account.effort if step_account else "search")
        if is_skipped(roots_N, config.skip_groups, config.solved_reward):
            result.skipped = "skip_groups"
        elif result.effort == "none":
            result.skipped = "step_token_budget"
        distinct = config.rows != "replaced"  # there, each row is replaced by a rollout of its own
        anchors = choose_anchors(roots_N, config.anchors, config.anchor_outcome, config.solved_reward, distinct)
        if result.skipped or not anchors:
            return result
        account = Account(prompt_limit(config, roots_N), step_account)
        seeds, alone = f"{config.seed}/{seed}", config.scored == "continuation"
        draw = Draw(sampler, scorer, self.response_length, seeds, self.scheduler, account, alone)
        search, rounds = SEARCHES[config.search](), result.effort == "search"
        longest = max(1, *(root.written_tokens for root in roots_N))
        chain, pace = Chain(longest, longest_chain, passed), _Pace(config, search, longest)
        if search.looks and rounds and not chain.fits(pace.round + pace.reentry):
            rounds, result.shortened = False, True
        if search.looks and not rounds:
            # There are no tokens or no time for a search: the most probable step by roots and log-probs is taken.
            search = ProposeSearch()
        with _Stopwatch(result):
            group = Group(
                config,
                search,
                self.splitter,
                self.response_length,
                roots_N,
                anchors,
                seeds,
                given,
                account.left,
                self.smallest_group,
            )
            result.thinned = group.thinned
            planned = max(pace.rounds(view.steps) for view in group.views)
            result.chain = longest + planned * pace.round + pace.reentry

        started, usage = time.perf_counter(), result.usage["value"]
        keep = keep_tokens or LEARN_FROM[config.learn_from].keeps_tokens
        # Until the choice, no other prompt of the step may take what the re-entry rollouts will need.
        with account.holding(group.kept(account.left)):
            for done in itertools.count() if rounds else ():
                if not chain.fits(pace.round + pace.reentry):
                    result.shortened = done < planned
                    break
                if config.search_seconds and time.perf_counter() - started > config.search_seconds:
                    break
                with _Stopwatch(result):
                    wanted = group.next_round(account.left)
                if not wanted:
                    break
                drawn = await draw.together(wanted, group.prefix, usage, config.max_continuation_tokens, keep)
                chain.tokens += draw.longest
                with _Stopwatch(result):
                    group.observe(drawn)
        usage.seconds = time.perf_counter() - started

        started, usage = time.perf_counter(), result.usage["reentry"]
        with _Stopwatch(result):
            chosen = group.choose()
            missing = group.missing(chosen, account.left)
        on_choice()
        if config.reserved_rows:
            chain.limit = math.inf
        wanted = [one for one in missing if chain.fits(max(longest - one.prefix_length, 1))]
        added = await draw.together(wanted, group.prefix, usage, chain.room) if wanted else {}
        # A group whose long rollouts were cut is dropped as a whole: the others are the short ones.
        cut = [place for place, drawn in added.items() if any(sample.cut for sample in drawn.samples)]
        result.late = bool(cut) or len(wanted) < len(missing)
        with _Stopwatch(result):
            result.reentries = group.results(chosen, added, cut)
        usage.seconds = time.perf_counter() - started
        return result


class _Pace:
    """How many tokens have to be generated one after another, before anything is known but the longest root."""

    def __init__(self, config: GPOConfig, search: Search, longest: int):
        self._config, self._search = config, search
        self.round = min(longest, config.max_continuation_tokens or longest)
        self.reentry = longest if search.reenters and config.n_reentry else 0

    def rounds(self, steps: int) -> int:
        """Number of rounds of the search, as configured."""
        return self._search.rounds(self._config, steps)


def prompt_limit(config: GPOConfig, roots_N: Sequence[Trajectory]) -> float:
    """Tokens that search and re-entry of one prompt may cost; 0 for no limit."""
    ceiling = config.cost_ceiling * sum(root.written_tokens for root in roots_N)
    limits = [limit for limit in (ceiling, config.prompt_token_budget) if limit]
    return min(limits, default=0)


class _Stopwatch:
    """Adds the CPU seconds of a block without awaits to ``cpu_seconds`` of the result."""

    def __init__(self, result: GroupResult):
        self._result = result

    def __enter__(self) -> None:
        self._started = time.thread_time()

    def __exit__(self, *exception: object) -> None:
        self._result.cpu_seconds += time.thread_time() - self._started
