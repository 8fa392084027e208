"""One training step's rollouts in virtual time, for ``bench_scheduler``: the real scheduler and the real search.

Responses have lognormal lengths with a tail to 32,000 tokens, right answers are longer than wrong ones, and one
response of the batch runs to the limit in lines of 11 tokens. What verl's rollout worker and GPO's do around the search
is played here: prompts are spread over eight workers, each of which has its own scheduler, its share of the budget, and
what it remembers of the last training steps.
"""

from __future__ import annotations

import asyncio
import math
import random
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.bench_simulation import Cluster, Hardware, VirtualLoop
from verl_gpo.config import GPOConfig
from verl_gpo.core.budget import StepAccounts
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.result import GroupResult
from verl_gpo.core.scheduler import Scheduler
from verl_gpo.core.shadow import Shadow
from verl_gpo.core.types import Continuation, ScoredContinuation, Trajectory

LENGTH = 32_000
WORKERS = 8
PROMPT_TOKENS = 200
#: Priorities at the engine. verl numbers the roots from 0 on, and requests of the search have 0.
SEARCH, ROOT = 0, 1
#: A newline ends a step. Other tokens do not matter.
NEWLINE, WORD = 1, 2
STEP_TOKENS, LOOP_STEP_TOKENS = 60, 11
MEDIAN_TOKENS, SPREAD, SPREAD_OF_PROMPTS = 1200, 0.7, 0.6
#: The first token of a step is one of two words, and of the others the policy is nearly sure.
_SURE, _UNSURE = -1e-4, -0.7
_WORDS, _LOG_PROBS = array("i", [WORD]) * LENGTH, array("f", [-0.1]) * LENGTH


@dataclass
class Problem:
    """One prompt: the length of its responses, and the value of every state, which changes once.

    A right answer is 1.6 times as long as a wrong one. A search that loses long answers would therefore estimate wrong
    values.

    Attributes:
        number: of the prompt.
        scale: length of its responses in tokens; single responses vary around it.
        before, after: the value of states before and after the change.
        jump: where the value changes, as a share of ``scale``.
        loops: whether its first response repeats a line up to the limit.
    """

    number: int
    scale: float
    before: float
    after: float
    jump: float
    loops: bool = False

    def value(self, prefix_tokens: int) -> float:
        """The value of a state."""
        return self.after if prefix_tokens >= self.jump * self.scale else self.before

    def answer(self, prefix_tokens: int, rng: random.Random) -> tuple[int, float]:
        """Tokens of a continuation, and its reward."""
        right = rng.random() < self.value(prefix_tokens)
        length = int(self.scale * (1.6 if right else 1.0) * rng.lognormvariate(0.0, SPREAD))
        further = min(length, LENGTH) - prefix_tokens
        return (further if further > 0 else 20), float(right)


def problems(count: int, seed: int) -> list[Problem]:
    """Random prompts; the one in the middle of the list loops."""
    rng = random.Random(seed)
    made = [
        Problem(
            number,
            MEDIAN_TOKENS * rng.lognormvariate(0.0, SPREAD_OF_PROMPTS),
            rng.uniform(0.1, 0.6),
            rng.choice((0.0, 0.95)),
            rng.uniform(0.2, 0.8),
        )
        for number in range(count)
    ]
    made[count // 2].loops = True
    return made


def split(token_ids: Sequence[int], log_probs: Sequence[float] | None = None) -> list[int]:
    """Steps end at newlines."""
    ends = [at + 1 for at, token in enumerate(token_ids) if token == NEWLINE]
    return ends if ends and ends[-1] == len(token_ids) else [*ends, len(token_ids)]


class Memory:
    """What the workers remember of the training steps before, as ``plugin/lateness.py`` has it."""

    def __init__(self, config: GPOConfig):
        stretch = config.step_stretch
        self.chains = [Shadow(stretch) for _ in range(WORKERS)]
        self.accounts = [StepAccounts(config.step_token_budget, WORKERS) for _ in range(WORKERS)]
        matched = bool(config.reserved_rows)
        self._seconds = [Shadow(stretch * matched) for _ in range(WORKERS)]
        self._waits = [Shadow(max(stretch - 1.0, 0.0) * matched, 0.02) for _ in range(WORKERS)]

    def longest_wait(self, worker: int, step: int) -> float:
        return self._waits[worker].limit(step) if self._seconds[worker].limit(step) < math.inf else math.inf

    def note_roots(self, worker: int, step: int, longest: float, waited: float) -> None:
        self._waits[worker].note(step, longest, waited)
        self._seconds[worker].note(step, longest, 2 * waited)


@dataclass
class Measured:
    """The result of one system for a batch. Tokens are those generated, seconds are virtual."""

    seconds: float = 0.0
    tokens: float = 0.0
    search_tokens: float = 0.0
    in_shadow: float = 0.0
    occupancy: float = 0.0
    thinned: int = 0
    shortened: int = 0
    late: int = 0
    reentered: int = 0
    #: Mean length of a prompt's roots, of all prompts and of those that were searched less, or late.
    lengths: list[float] = field(default_factory=list)
    lengths_held_back: list[float] = field(default_factory=list)
    #: Differences of estimated and true values, over the states that were sampled.
    bias: list[float] = field(default_factory=list)
    #: prompt -> seconds of its search.
    waits: dict[int, float] = field(default_factory=dict)


class _Step:
    """One training step. See :func:`simulate`."""

    def __init__(self, config, replicas, hardware, n, shadow, memory, step, seed, only):
        self.config, self.hardware, self.n, self.shadow = config, hardware, n, shadow
        self.memory, self.number, self.seed, self.only = memory, step, seed, only
        self.cluster = Cluster(replicas, hardware)
        self.measured = Measured()
        self.reserved = config.reserved_rows if config else 0
        slots = max(1, config.max_in_flight * replicas // WORKERS) if config else 1
        self._schedulers = [Scheduler(slots) for _ in range(WORKERS)]
        self.engines = [ReentryProcedure(config, split, LENGTH, own) for own in self._schedulers if config]

    async def run(self, batch: Sequence[Problem]) -> Measured:
        await asyncio.gather(*(self._prompt(problem) for problem in batch))
        measured = self.measured
        measured.seconds = asyncio.get_running_loop().time()
        measured.occupancy = self.cluster.occupancy(measured.seconds, self.hardware)
        return measured

    def scheduler_of(self, problem: Problem) -> Scheduler:
        """That of the prompt's worker."""
        return self._schedulers[problem.number % WORKERS]

    async def _prompt(self, problem: Problem) -> None:
        policy = _Policy(problem, self)
        loop, worker, measured = asyncio.get_running_loop(), problem.number % WORKERS, self.measured
        started = self.n - self.reserved
        wait = self.memory.longest_wait(worker, self.number) if self.memory else math.inf
        tasks = [asyncio.ensure_future(policy.root(number)) for number in range(started)]
        _, running = await asyncio.wait(tasks, timeout=None if wait == math.inf else wait)
        late = bool(running)  # the rows kept for re-entry are started as roots
        if late:
            tasks += [asyncio.ensure_future(policy.root(number)) for number in range(started, self.n)]
        roots = list(await asyncio.gather(*tasks))
        waited, lengths = loop.time(), [len(root.token_ids) for root in roots]
        result = None
        if self.config and not late and (self.only is None or problem.number in self.only):
            shadow = self.memory.chains[worker]
            chain, speed = shadow.limit(self.number), shadow.speed(self.number)
            name = f"{self.seed}/{problem.number}"
            result = await self.engines[worker].run(
                roots,
                policy,
                policy,
                name,
                self.memory.accounts[worker].of(self.number),
                longest_chain=chain,
                passed=lambda: speed * loop.time(),
            )
            measured.waits[problem.number] = loop.time() - waited
            self._note(problem, result)
        mean = sum(lengths) / len(lengths)
        measured.lengths.append(mean)
        measured.late += late
        if late or (result and (result.late or result.shortened)):
            measured.lengths_held_back.append(mean)
        reentered = result is not None and any(reentry.rollouts for reentry in result.reentries)
        if self.reserved and not late and not reentered:
            await asyncio.gather(*(policy.root(number) for number in range(started, self.n)))
        if self.memory and self.only is None:
            if result and result.chain:
                self.memory.chains[worker].note(self.number, max(lengths), result.chain, policy.longest_root)
            self.memory.note_roots(worker, self.number, policy.longest_root, policy.first_roots)

    def _note(self, problem: Problem, result: GroupResult) -> None:
        measured = self.measured
        measured.thinned += result.thinned
        measured.shortened += result.shortened
        measured.late += result.late
        measured.reentered += any(reentry.rollouts for reentry in result.reentries)
        for reentry in result.reentries:
            for state, value in enumerate(reentry.values[1:-1], 1):
                if value.known and value.count:
                    measured.bias.append(value.mean - problem.value(reentry.ends[state - 1]))


class _Policy:
    """Sampler and scorer of one prompt on the cluster."""

    def __init__(self, problem: Problem, step: _Step):
        self._problem, self._step = problem, step
        self._name = f"{step.seed}/{problem.number}"
        self._done = 0
        #: Seconds of the longest root, and until the first roots had all come back.
        self.longest_root = self.first_roots = 0.0

    async def root(self, number: int) -> Trajectory:
        """Sample one root rollout."""
        problem, step, loop = self._problem, self._step, asyncio.get_running_loop()
        tokens, reward = problem.answer(0, random.Random(f"{self._name}/root/{number}"))
        line = STEP_TOKENS
        if problem.loops and number == 0:
            tokens, reward, line = LENGTH, 0.0, LOOP_STEP_TOKENS
        began = loop.time()
        root, scheduler = (self._name, number), step.scheduler_of(problem)
        scheduler.root_sent(root)
        await step.cluster.generate((self._name, 0), self._name, PROMPT_TOKENS, tokens, ROOT)
        scheduler.root_back(root)
        step.measured.tokens += tokens
        self.longest_root = max(self.longest_root, loop.time() - began)
        if number < step.n - step.reserved:
            self.first_roots = max(self.first_roots, loop.time())
        if step.config is None:
            return Trajectory((WORD,) * tokens, None, reward)
        lines = tokens // line + 1
        ids = ((WORD,) * (line - 1) + (NEWLINE,)) * lines
        log_probs = ((_UNSURE,) + (_SURE,) * (line - 1)) * lines
        return Trajectory(ids[:tokens], log_probs[:tokens], reward)

    async def sample(self, prefix: Sequence[int], max_tokens: int, seed: int, lane: int = 0) -> Continuation:
        step, context = self._step, PROMPT_TOKENS + len(prefix)
        tokens, reward = self._problem.answer(len(prefix), random.Random(f"{self._name}/{seed}"))
        tokens = min(tokens, max_tokens)
        cached = await step.cluster.generate((self._name, lane), self._name, context, tokens, SEARCH)
        step.measured.tokens += tokens
        step.measured.search_tokens += tokens
        if asyncio.get_running_loop().time() <= step.shadow:
            step.measured.in_shadow += tokens
        return Continuation(_WORDS[:tokens], _LOG_PROBS[:tokens], context, cached, source=reward)

    async def score(self, prefix: Sequence[int], continuation: Continuation) -> ScoredContinuation:
        return ScoredContinuation(continuation, continuation.source)


def simulate(
    config: GPOConfig | None,
    batch: Sequence[Problem],
    replicas: int,
    hardware: Hardware,
    n: int = 8,
    shadow: float = math.inf,
    memory: Memory | None = None,
    step: int = 0,
    seed: int = 0,
    only: Collection[int] | None = None,
) -> Measured:
    """One training step's rollouts.

    Args:
        config: settings of GPO; None for plain rollouts.
        batch: the prompts.
        replicas: of the engine.
        hardware: of each.
        n: rows of each prompt.
        shadow: the time at which plain rollouts end.
        memory: of the training steps before; this one is added to it. Required with ``config``.
        step: number of the training step.
        seed: of all random choices. Plain rollouts and GPO's roots have the same answers.
        only: the prompts that are searched; None for all. Then nothing is remembered.
    """
    loop = VirtualLoop()
    try:
        played = _Step(config, replicas, hardware, n, shadow, memory, step, seed, only)
        return loop.run_until_complete(played.run(batch))
    finally:
        loop.close()


def settings_of(block: dict[str, Any] | None, budget: int = 0) -> GPOConfig | None:
    """The configuration of a system; None for plain rollouts."""
    return None if block is None else GPOConfig.from_mapping({**block, "step_token_budget": budget or None})
