"""GPO's search and re-entry without verl: a policy of a few lines, searched as a training step searches one prompt.

    python -m recipes.toy.reenter

The policy writes three steps of two tokens. Only the second step matters: the policy turns left or right with equal
probability, and a right turn gets the reward 1. So ``V(s_0) = V(s_1) = 1/2``, and after a right turn
``V(s_2) = V(s_3) = 1``. The critical step of a rewarded response is step 1, and the reset state keeps step 0. The
program prints the values as estimated from 16 continuations of each state, the step that was chosen, and the rewards of
the new rollouts, of which about half are 1.
"""

from __future__ import annotations

import asyncio
import random

from verl_gpo.config import GPOConfig
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.types import Continuation, ScoredContinuation, Trajectory

WALK, LEFT, RIGHT, NEWLINE = 0, 1, 2, 3
NAMES = {WALK: "walk", LEFT: "left", RIGHT: "right", NEWLINE: "\n"}


class Policy:
    """Implements both Protocols of :mod:`verl_gpo.core.types`: it continues a prefix, and scores the whole response."""

    async def sample(self, prefix, max_tokens, seed, lane=0):
        turn = random.Random(seed).choice((LEFT, RIGHT))
        response = (WALK, NEWLINE, turn, NEWLINE, WALK, NEWLINE)
        return Continuation(response[len(prefix) :][:max_tokens])

    async def score(self, prefix, continuation):
        response = (*prefix, *continuation.token_ids)
        return ScoredContinuation(continuation, float(response[2] == RIGHT))


def lines(token_ids, log_probs=None):
    """A splitter: a step ends after a newline."""
    return [at + 1 for at, token in enumerate(token_ids) if token == NEWLINE]


async def main() -> None:
    roots = [Trajectory((WALK, NEWLINE, turn, NEWLINE, WALK, NEWLINE), None, float(turn == RIGHT)) for turn in (2, 1)]
    procedure = ReentryProcedure(GPOConfig(n_mc=16, n_reentry=8), lines, response_length=6)
    result = await procedure.run(roots, Policy(), Policy(), seed="a prompt")
    (reentry,) = result.reentries
    for step, (start, end) in enumerate(zip((0, *reentry.ends), reentry.ends, strict=False)):
        written = " ".join(NAMES[token] for token in roots[reentry.anchor].token_ids[start : end - 1])
        print(f"step {step}: {written:6} V before it {reentry.values[step].mean:.2f}")
    print(f"outcome {reentry.values[-1].mean:.2f}")
    print(f"critical step: {reentry.critical.index}, A = {reentry.critical.advantage:.2f}")
    (group,) = reentry.groups
    print(f"reset state: {len(group.prefix)} tokens are kept")
    print("rewards of the re-entry rollouts:", *(int(rollout.reward) for rollout in group.rollouts))


if __name__ == "__main__":
    asyncio.run(main())
