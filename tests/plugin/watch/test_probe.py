"""What processes say of themselves."""

from types import SimpleNamespace

from verl_gpo.plugin.watch.probe import State, probe


def engine(errored=False, requests=0, processes=()):
    manager = SimpleNamespace(processes=processes)
    return SimpleNamespace(
        errored=errored,
        output_processor=SimpleNamespace(request_states=dict.fromkeys(range(requests))),
        engine_core=SimpleNamespace(resources=SimpleNamespace(engine_manager=manager)),
    )


def test_a_rollout_worker_speaks_for_itself():
    assert probe(SimpleNamespace(gpo_state=lambda: State(waits="3 rewards"))).waits == "3 rewards"


def test_a_rollout_server_speaks_for_its_engine():
    server = SimpleNamespace(engine=engine(requests=2), _submission_paused=True)
    assert probe(server) == State(waits="2 requests in the engine, new requests wait until generation is resumed")
    assert probe(SimpleNamespace(engine=engine())) == State()


def test_an_engine_that_died_is_named_with_its_exit_code():
    alive = SimpleNamespace(name="EngineCore_DP0", pid=6, exitcode=None)
    killed = SimpleNamespace(name="EngineCore_DP1", pid=7, exitcode=-9)
    dead = probe(SimpleNamespace(engine=engine(True, processes=[alive, killed]))).dead
    assert dead == "the rollout engine (EngineCore_DP1, process 7, exit code -9)"
    assert probe(SimpleNamespace(engine=engine(True))).dead == "the rollout engine (it stopped after an error)"
    assert probe(SimpleNamespace(engine=SimpleNamespace(errored=True))).dead


def test_another_actor_says_nothing():
    assert probe(object()) == State() == probe(SimpleNamespace(engine=None))  # a server before it is launched


def test_the_real_engine_has_what_the_probe_reads():
    """The names are vLLM's own and private in part; a later vLLM may have others."""
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.core_client import BackgroundResources
    from vllm.v1.engine.output_processor import OutputProcessor

    assert isinstance(AsyncLLM.errored, property)
    assert "engine_manager" in BackgroundResources.__dataclass_fields__
    assert "request_states" in OutputProcessor.__init__.__code__.co_names
