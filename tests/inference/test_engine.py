"""The engine's sampler with vLLM faked: what a request carries, what comes back of it, and what is lost."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest

from verl_gpo.core.stall import EngineClock
from verl_gpo.core.types import Continuation, SamplingError, StalledError
from verl_gpo.inference.engine import VLLMEngine, VLLMSampler


class FakeLLM:
    """vLLM's asynchronous engine: yields what it is given, and keeps its requests."""

    def __init__(self, *outputs, error=None):
        self.outputs, self.error, self.requests = outputs, error, []

    async def generate(self, prompt, params, request_id):
        self.requests.append((prompt, params, request_id))
        for output in self.outputs:
            yield output
        if self.error:
            raise self.error


def output(token_ids, reason="stop", cached=2):
    logprobs = [{token: SimpleNamespace(logprob=-0.5 * at), 999: None} for at, token in enumerate(token_ids)]
    best = SimpleNamespace(token_ids=token_ids, logprobs=logprobs, finish_reason=reason)
    return SimpleNamespace(outputs=[best], num_cached_tokens=cached)


def engine_of(llm, seeded=True):
    """A VLLMEngine without its constructor, which starts vLLM."""
    engine = object.__new__(VLLMEngine)
    engine._llm, engine._seeded, engine._numbers = llm, seeded, itertools.count()
    engine._params = lambda **own: own
    engine.clock = EngineClock()
    return engine


def test_a_continuation_has_the_log_probs_of_its_tokens_and_what_was_cached():
    engine = engine_of(FakeLLM(output([5, 6, 7])))
    drawn = asyncio.run(engine.generate([1, 2, 3, 4], 10))
    assert drawn == Continuation((5, 6, 7), (0.0, -0.5, -1.0), 4, 2)
    assert drawn.source == "stop" and drawn.seconds >= 0


def test_what_was_cut_off_at_the_limit_is_a_continuation_and_says_so():
    assert asyncio.run(engine_of(FakeLLM(output([5], "length"))).generate([1], 1)).source == "length"


@pytest.mark.parametrize(("seeded", "seed", "own"), [(True, 7, {"seed": 7}), (True, None, {}), (False, 7, {})])
def test_a_request_is_seeded_where_the_engine_can(seeded, seed, own):
    llm = FakeLLM(output([5]))
    engine = engine_of(llm, seeded)
    for _ in range(2):
        asyncio.run(engine.generate([1, 2], 3, seed))
    assert llm.requests == [({"prompt_token_ids": [1, 2]}, {"max_tokens": 3, **own}, number) for number in ("0", "1")]


@pytest.mark.parametrize(
    ("llm", "said"),
    [
        (FakeLLM(), "the engine returned no tokens"),
        (FakeLLM(output([])), "the engine returned no tokens"),
        (FakeLLM(output([5], "abort")), "the engine aborted the request: finish reason abort"),
        (FakeLLM(error=ValueError("too long")), r"ValueError\('too long'\)"),
    ],
)
def test_what_did_not_come_back_is_a_sampling_error(llm, said):
    with pytest.raises(SamplingError, match=said):
        asyncio.run(engine_of(llm).generate([1], 3))


def test_a_sampler_continues_its_prompt_and_tells_the_clock():
    llm = FakeLLM(output([5, 6]))
    engine = engine_of(llm)
    drawn = asyncio.run(VLLMSampler(engine, [1, 2]).sample((3, 4), 9, seed=11, lane=2))
    assert drawn.token_ids == (5, 6) and drawn.context_tokens == 4
    assert llm.requests[0][:2] == ({"prompt_token_ids": [1, 2, 3, 4]}, {"max_tokens": 9, "seed": 11})
    assert engine.clock.now(0.0) is not None and engine.clock._last is not None


def test_a_request_that_stalls_is_given_up_and_aborted():
    aborted = []

    class Silent(FakeLLM):
        async def generate(self, prompt, params, request_id):
            try:
                await asyncio.sleep(60)
                yield output([5])
            finally:
                aborted.append(request_id)

    engine = engine_of(Silent())

    async def go():
        async def others():
            while True:  # the engine is at work on others
                await asyncio.sleep(0.01)
                engine.clock.came_back(asyncio.get_running_loop().time(), 0, 0.0)

        work = asyncio.create_task(others())
        try:
            await VLLMSampler(engine, [1], stall_timeout=0.05).sample((), 5, 0)
        finally:
            work.cancel()

    with pytest.raises(StalledError, match="in which the engine answered others"):
        asyncio.run(go())
    assert aborted == ["0"]
