"""Traces of the arithmetic task, made by the real engine and a policy that slips as often as it is told to.

Characters are tokens. The true values are known, so what the engine finds can be shown beside what is right.
"""

import asyncio
import random

from recipes.arithmetic.reward import compute_score
from recipes.arithmetic.task import ArithmeticSpec, generate_problems, parse_problem, sample_solution, true_values
from verl_gpo.config import GPOConfig
from verl_gpo.core.reentry import ReentryProcedure
from verl_gpo.core.types import Continuation, ScoredContinuation, Trajectory
from verl_gpo.traces.record import trace_record

SLIP = 0.3
RULE = "argmin"


def encode(text):
    return tuple(map(ord, text))


def decode(token_ids):
    return "".join(map(chr, token_ids))


def lines(token_ids, log_probs=None):
    """A splitter: a step a line."""
    text = decode(token_ids)
    return [i + 1 for i, character in enumerate(text[:-1]) if character == "\n"] + [len(text)] if text else []


class Policy:
    """Goes on from the value that the last line holds, and slips on hard steps."""

    def __init__(self, problem):
        self.problem = problem

    async def sample(self, prefix, max_tokens, seed, lane=0):
        rng = random.Random(seed)
        done = decode(prefix).splitlines()
        state = tuple(map(int, done[-1][2:])) if done else self.problem.start
        written = []
        for operation in self.problem.operations[len(done) :]:
            state = operation.slipped(state) if operation.is_hard and rng.random() < SLIP else operation.right(state)
            written.append(f"{operation.label}{operation.sign}{''.join(map(str, state))}")
        written.append(f"= {''.join(map(str, state))}")
        return Continuation(encode("\n".join(written)), None, len(prefix) + 40, len(prefix), seconds=0.25)

    async def score(self, prefix, continuation):
        return ScoredContinuation(continuation, self.reward(decode((*prefix, *continuation.token_ids))))

    def reward(self, text):
        return compute_score("verl_gpo/arithmetic", text, self.problem.answer)["score"]


def records(count, seed=0, prompts_a_step=8, **settings):
    """``count`` records, eight prompts a training step."""
    settings = {"n_mc": 6, "rule": RULE, "anchor_outcome": "any", **settings}
    config = GPOConfig.from_mapping(settings)
    engine = ReentryProcedure(config, lines, 200)
    made = []
    for number, problem in enumerate(generate_problems(ArithmeticSpec(), count, seed)):
        rng, policy = random.Random(f"{seed}/{number}"), Policy(problem)
        texts = [sample_solution(problem, rng, SLIP) for _ in range(8)]
        roots = [Trajectory(encode(text), None, policy.reward(text)) for text in texts]
        result = asyncio.run(engine.run(roots, policy, policy, str(number)))
        about = {"uid": f"uid-{number}", "global_step": 1 + number // prompts_a_step, "sample_index": number}
        about |= {
            "data_source": "verl_gpo/arithmetic",
            "ground_truth": problem.answer,
            "rule": RULE,
            "search": "uniform",
        }
        made.append(trace_record(roots, result, decode, problem.prompt, **about))
    return made


def truth(row):
    """What the arithmetic task knows of a trajectory (``--truth``)."""
    problem = parse_problem(row["prompt"])
    known = true_values(problem, "".join(step["text"] for step in row["steps"]), 1 - SLIP)
    critical = known.loses_most if row["rule"] == "argmin" else known.gains_most
    return {"true_values": list(known.values), "true_critical": critical}
