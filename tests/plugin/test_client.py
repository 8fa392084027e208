"""verl's real LLM client over fake server and balancer actors: lanes, stalls that abort, rows that are made late."""

import asyncio
import inspect
from types import SimpleNamespace

import pytest
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput
from verl.workers.rollout.llm_server import LLMServerClient
from verl.workers.rollout.replica import TokenOutput

from verl_gpo.core.stall import EngineClock
from verl_gpo.core.types import Continuation, SamplingError, ScoringError, StalledError
from verl_gpo.plugin.client import LLMClientSampler, RewardLoopScorer


class Remote:
    """A method of a Ray actor: ``handle.method.remote(...)`` is awaited, and goes on when nobody awaits it any more."""

    def __init__(self, function):
        self._function = function

    def remote(self, *args, **kwargs):
        return asyncio.ensure_future(asyncio.shield(asyncio.ensure_future(self._function(*args, **kwargs))))


class Server:
    """A server that holds the requests whose context ends in 99 until they are aborted."""

    def __init__(self):
        self.generate, self.__ray_call__ = Remote(self._generate), Remote(self._call)
        self.engine = self
        self.requests, self.aborted = [], []
        self._held = {}

    async def _generate(self, request_id, prompt_ids, sampling_params, **media):
        self.requests.append((request_id, tuple(prompt_ids), dict(sampling_params)))
        if prompt_ids[-1] == 99:
            self._held[request_id] = asyncio.get_running_loop().create_future()
            await self._held[request_id]
        await asyncio.sleep(0.01)
        return TokenOutput(token_ids=[5, 6], log_probs=[-0.5, -0.25], stop_reason="completed", extra_fields={})

    async def _call(self, function, *args):
        loop = asyncio.get_running_loop()
        self.output_handler = SimpleNamespace(get_loop=lambda: loop)
        return await asyncio.to_thread(function, self, *args)  # as Ray does

    async def abort(self, request_id):
        """The engine's own."""
        self.aborted.append(request_id)
        self._held[request_id].set_result(None)


class Balancer:
    """Sends each sticky id to a server of its own."""

    def __init__(self):
        self.servers = {}
        self.require_acquire_fields = Remote(self._none)
        self.require_release_fields = Remote(self._none)
        self.acquire_server, self.release_server = Remote(self._acquire), Remote(self._none)

    async def _none(self, **kwargs):
        return []

    async def _acquire(self, request_id, **kwargs):
        return request_id, self.servers.setdefault(request_id, Server())


def sampler_of(balancer, stall_timeout=600.0, deterministic=False):
    config = SimpleNamespace(
        actor_rollout_ref=SimpleNamespace(rollout=SimpleNamespace(name="vllm", full_determinism=deterministic))
    )
    client = LLMServerClient(config, balancer)
    return LLMClientSampler(client, root(), {"temperature": 1.0}, EngineClock(), stall_timeout, deterministic)


def root():
    return AgentLoopOutput(
        prompt_ids=[1, 2], response_ids=[3, 4, 5], response_mask=[1, 1, 1], metrics=AgentLoopMetrics(), num_turns=2
    )


def test_requests_of_a_lane_share_a_server_and_other_lanes_have_another():
    async def go():
        balancer = Balancer()
        sampler = sampler_of(balancer)
        for prefix, lane in (((), 0), ((3,), 0), ((3, 4), 1)):
            await sampler.sample(prefix, 7, 0, lane)
        return [[context for _, context, _ in server.requests] for server in balancer.servers.values()]

    assert asyncio.run(go()) == [[(1, 2), (1, 2, 3)], [(1, 2, 3, 4)]]


def test_a_request_that_stalls_is_aborted_in_its_engine_and_the_cache_is_kept():
    async def go():
        balancer = Balancer()
        sampler = sampler_of(balancer, stall_timeout=0.2)
        lost = asyncio.ensure_future(sampler.sample((99,), 4, 0))
        while not lost.done():
            await sampler.sample((), 4, 0)
        await asyncio.sleep(0.05)
        (server,) = balancer.servers.values()
        (name,) = [name for name, context, _ in server.requests if context[-1] == 99]
        assert server.aborted == [name]
        with pytest.raises(StalledError, match="given up after"):
            lost.result()

    asyncio.run(go())


def test_whoever_cancels_a_prompt_aborts_its_requests():
    async def go():
        balancer = Balancer()
        task = asyncio.ensure_future(sampler_of(balancer).sample((99,), 4, 0))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
        (server,) = balancer.servers.values()
        assert server.aborted == [name for name, *_ in server.requests]

    asyncio.run(go())


def test_vllms_engine_aborts_a_request_by_the_name_that_it_was_given():
    """And keeps it under another one, by which verl's server does not find it."""
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.input_processor import InputProcessor

    request = SimpleNamespace(external_req_id=None, request_id="name")
    InputProcessor.assign_request_id(request)
    assert request.external_req_id == "name" and request.request_id != "name"
    assert list(inspect.signature(AsyncLLM.abort).parameters)[:2] == ["self", "request_id"]


def test_another_engine_aborts_by_its_servers_own_method():
    async def go():
        balancer = Balancer()
        sampler = sampler_of(balancer)
        sampler._client.config.actor_rollout_ref.rollout.name = "sglang"
        task = asyncio.ensure_future(sampler.sample((99,), 4, 0))
        await asyncio.sleep(0.05)
        (server,) = balancer.servers.values()
        asked = []

        async def abort_request(name, reset_prefix_cache):
            asked.append((name, reset_prefix_cache))

        server.abort_request = Remote(abort_request)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
        assert asked == [(name, False) for name, *_ in server.requests] and server.aborted == []

    asyncio.run(go())


def test_one_request_does_not_change_the_client_of_others():
    async def go():
        balancer = Balancer()
        sampler = sampler_of(balancer)
        client = sampler._client
        await asyncio.gather(*(sampler.sample((), 4, seed) for seed in range(3)))
        names = [name for server in balancer.servers.values() for name, *_ in server.requests]
        assert len(set(names)) == 3
        assert "_vllm_request_id" not in vars(client) and "_acquire_server" not in vars(client)

    asyncio.run(go())


def test_under_full_determinism_the_engine_gets_the_seed_and_a_name_of_its_own():
    async def go():
        balancer = Balancer()
        sampler = sampler_of(balancer, deterministic=True)
        await sampler.sample((), 4, 11)
        await sampler.sample((), 4, 12)
        return [request for server in balancer.servers.values() for request in server.requests]

    first, second = asyncio.run(go())
    assert first[0].endswith("-11") and second[0].endswith("-12")
    assert (first[2]["seed"], second[2]["seed"]) == (11, 12)


@pytest.mark.parametrize(("tokens", "reason"), [([5], "aborted"), ([], "completed")])
def test_what_was_broken_off_or_is_empty_is_lost(tokens, reason):
    class Broken:
        async def generate(self, **request):
            return TokenOutput(token_ids=tokens, log_probs=None, stop_reason=reason, extra_fields={})

    sampler = LLMClientSampler(Broken(), root(), {}, EngineClock(), 600.0, False)
    with pytest.raises(SamplingError, match=f"stop reason {reason}, {len(tokens)} tokens"):
        asyncio.run(sampler.sample((), 4, 0))


class Worker:
    """verl's worker, as far as the scorer asks it: it scores by the number of tokens."""

    def __init__(self, score=len):
        self._score, self.scored = score, []

    async def _compute_score(self, outputs, kwargs):
        (output,) = outputs
        self.scored.append(output)
        output.reward_score = self._score(output.response_ids)
        output.extra_fields["reward_extra_info"] = {"acc": 1.0}


def continuation():
    source = TokenOutput(token_ids=[8, 9], log_probs=None, stop_reason="completed", extra_fields={"global_steps": 3})
    return Continuation((8, 9), (-0.5, -0.25), source=source)


def test_a_row_is_made_when_it_is_stored():
    worker = Worker()
    scorer = RewardLoopScorer(worker, root(), {})
    scored = asyncio.run(scorer.score((3, 4), continuation()))
    assert scored.reward == 4.0 and scored.continuation.source is None
    assert worker.scored[0].response_ids == [3, 4, 8, 9]
    row = scorer.row((3, 4), (-1.0, -2.0, -3.0), scored)
    assert (row.response_ids, row.response_mask) == ([3, 4, 8, 9], [0, 0, 1, 1])
    assert row.response_logprobs == [-1.0, -2.0, -0.5, -0.25] and row.reward_score == 4.0
    assert row.extra_fields["reward_extra_info"] == {"acc": 1.0} and row.extra_fields["global_steps"] == 3


def test_a_row_replays_the_routes_of_its_own_tokens():
    """Routes are kept by position: prompt (7, 7), prefix (3, 4), and the first of two new tokens."""
    own = [[[position]] for position in range(5)]
    before = root().model_copy(update={"routed_experts": [[[9]]] * 6, "prompt_ids": [7, 7]})
    source = TokenOutput(token_ids=[8, 9], routed_experts=own, extra_fields={})
    scorer = RewardLoopScorer(Worker(), before, {})
    scored = asyncio.run(scorer.score((3, 4), Continuation((8, 9), None, source=source)))
    row = scorer.row((3, 4), None, scored).as_dict()
    assert row["routed_experts"].flatten().tolist() == [0, 1, 2, 3, 4, 0]
    plain = asyncio.run(scorer.score((3, 4), continuation()))
    assert scorer.row((3, 4), None, plain).routed_experts is None


def test_without_log_probs_on_either_side_a_row_has_none():
    scorer = RewardLoopScorer(Worker(), root(), {})
    scored = asyncio.run(scorer.score((3,), continuation()))
    assert scorer.row((3,), None, scored).response_logprobs is None


def test_without_a_reward_the_scoring_has_failed():
    class Broken(Worker):
        async def _compute_score(self, outputs, kwargs):
            raise RuntimeError("the reward is broken")

    with pytest.raises(ScoringError, match="the reward is broken"):
        asyncio.run(RewardLoopScorer(Broken(), root(), {}).score((), continuation()))
    for odd in ("right", "1.0", {"score": 1.0}, [1.0, 0.0]):
        with pytest.raises(ScoringError, match="is not a number"):
            asyncio.run(RewardLoopScorer(Worker(lambda ids, odd=odd: odd), root(), {}).score((), continuation()))
    with pytest.raises(ScoringError, match="no score"):
        asyncio.run(RewardLoopScorer(Worker(lambda ids: None), root(), {}).score((), continuation()))
