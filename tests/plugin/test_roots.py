"""Which prompts are re-entered, by verl's own registry of agent loops; a worker's slots; a prompt's seed."""

import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop import agent_loop
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from tests.core.fakes import CoinPolicy, root
from tests.core.fakes import run as run_procedure
from tests.plugin.fakes import ANCHOR, N_REENTRY, WRONG, DeclaredLoop, N, UndeclaredLoop
from verl_gpo.config import GPOConfig
from verl_gpo.core.advantage import reentry_uid
from verl_gpo.plugin.roots import SINGLE_TURN, RootGroup, prompt_seed, reenterable, slots_of_a_worker


@pytest.fixture
def loops(monkeypatch):
    """Two loops of a user's, registered as verl registers them, and forgotten afterwards."""
    monkeypatch.setattr(agent_loop, "_agent_loop_registry", registry := dict(agent_loop._agent_loop_registry))
    monkeypatch.setattr("verl_gpo.plugin.roots._agent_loop_registry", registry)
    agent_loop.register("declared")(DeclaredLoop)
    agent_loop.register("undeclared")(UndeclaredLoop)
    reenterable.cache_clear()
    yield
    reenterable.cache_clear()


# Which agent loops may be re-entered.


@pytest.mark.parametrize(
    ("name", "may"),
    [(SINGLE_TURN, True), ("tool_agent", False), ("declared", True), ("undeclared", False), ("no_such_loop", False)],
)
def test_a_loop_is_reenterable_where_it_is_verls_single_turn_or_says_so(loops, name, may):
    assert reenterable(name) is may


def test_prompts_of_a_loop_that_declares_it_are_reentered(loops, start):
    run = start().prompt(agent_name="declared")
    assert len(run.reentry_rows()) == N_REENTRY and run.record["skipped"] is None


def test_prompts_of_a_loop_that_does_not_are_left_alone(loops, start):
    run = start().prompt(agent_name="undeclared")
    assert run.only_roots_are_left() and run.record["skipped"] == "agent_loop"
    assert len(run.client.requests) == N


def test_a_tool_agent_that_called_no_tool_is_left_alone(start):
    # verl's own loop: it would parse a tool call of a continuation, and ours would train it away.
    run = start().prompt(agent_name="tool_agent")
    assert [row["num_turns"] for row in run.queue.rows().values()] == [2, 2]
    assert run.only_roots_are_left() and run.record["skipped"] == "agent_loop"
    assert len(run.client.requests) == N


# Which groups are.


def output(reward=1.0, mask=(1, 1), turns=2, **extra):
    return AgentLoopOutput(
        prompt_ids=[1],
        response_ids=[2, 3],
        response_mask=list(mask),
        reward_score=reward,
        num_turns=turns,
        metrics={},
        extra_fields={"reward_extra_info": extra} if extra else {},
    )


def group(*outputs, expected=None, name=SINGLE_TURN, failed=False):
    made = RootGroup(len(outputs) if expected is None else expected, 8, name, failed=failed)
    made.rollouts = {session: (one, {}) for session, one in enumerate(outputs)}
    return made


@pytest.mark.parametrize(
    ("made", "metric", "reason"),
    [
        (group(output(), output(0.0)), None, None),
        (group(output(), output(0.0), name="tool_agent"), None, "agent_loop"),
        (group(output(), expected=2), None, "root_failed"),
        (group(output(), output(), failed=True), None, "root_failed"),
        (group(output(), [output(), output()]), None, "several_outputs"),
        (group(output(), output(turns=3)), None, "multi_turn"),
        (group(output(), output(mask=(1, 0))), None, "multi_turn"),
        (group(output(), output()), "reward", "filter_groups"),
        (group(output(), output(0.0)), "reward", None),
        (group(output(1.0, acc=1.0), output(0.5, acc=1.0)), "acc", "filter_groups"),
        (group(output(1.0, acc=1.0), output(1.0, acc=0.0)), "acc", None),
        (group(output(), output()), "acc", "filter_groups"),  # no reward says so: the same for all
    ],
)
def test_why_a_group_is_not_reentered(made, metric, reason):
    assert made.not_reentered_because(metric) == reason


# How many requests.


def configured(workers=2, devices=8, nodes=1, tensor=1, **rollout):
    settings = {"tensor_model_parallel_size": tensor, "agent": {"num_workers": workers}, **rollout}
    return OmegaConf.create(
        {"actor_rollout_ref": {"rollout": settings}, "trainer": {"n_gpus_per_node": devices, "nnodes": nodes}}
    )


@pytest.mark.parametrize(
    ("config", "slots"),
    [
        (configured(), 256 * 8 // 2),
        (configured(tensor=2), 256 * 4 // 2),
        (configured(nodes=4, workers=16), 256 * 32 // 16),
        (configured(tensor=2, data_parallel_size=2, pipeline_model_parallel_size=2), 256 * 1 // 2),
        (configured(tensor=16), 256 // 2),  # one replica at least
        (configured(n_gpus_per_node=2, nnodes=3, workers=1), 256 * 6),  # the rollout's own machines
        (configured(workers=1000, devices=1), 1),
    ],
)
def test_slots_of_a_worker_are_its_part_of_what_all_replicas_may_have(config, slots):
    assert slots_of_a_worker(config, GPOConfig()) == slots


def test_slots_follow_the_setting():
    assert slots_of_a_worker(configured(), GPOConfig(max_in_flight=3)) == 3 * 8 // 2


# Seeds.


def test_a_prompts_seed_is_of_its_step_its_index_and_its_tokens():
    seed = prompt_seed(3, 17, [1, 2, 3])
    assert seed == prompt_seed(3, 17, (1, 2, 3)) and seed.startswith("3/17/")
    assert len({seed, prompt_seed(4, 17, [1, 2, 3]), prompt_seed(3, 18, [1, 2, 3]), prompt_seed(3, 17, [1, 2])}) == 4


def test_prompts_without_an_index_are_reset_to_different_steps():
    # A data set without extra_info.index: verl's sample_index is 0 for each of its prompts. Six steps.
    def chosen(seed):
        (reentry,) = run_procedure(CoinPolicy(lambda n: 0.5), [root(tokens=12)], seed=seed, search="random").reentries
        return reentry.critical.index

    steps = [chosen(prompt_seed(1, 0, [1, 2, number])) for number in range(8)]
    assert len(set(steps)) >= 4 and set(steps) <= set(range(6))
    assert steps == [chosen(prompt_seed(1, 0, [1, 2, number])) for number in range(8)]  # in each run the same
    assert len({chosen(prompt_seed(1, 0, [1, 2, 0])) for _ in range(8)}) == 1


def test_the_worker_seeds_eight_prompts_without_an_index_apart(start):
    run = start("algorithm.gpo.search=random", "algorithm.gpo.n_mc=null")
    run.client.answer = lambda state, number: "= 5" if state else (ANCHOR, WRONG)[number % 2]
    uids = {}
    for number in range(8):
        uid = f"p{number}"
        run.prompt(uid=uid, index=0, raw_prompt=[{"role": "user", "content": f"12 + {number}"}])
        uids[uid] = {row["uid"] for key, row in run.queue.rows().items() if key.startswith(f"{uid}_")} - {uid}
    states = [state for uid, found in uids.items() for state in range(4) if reentry_uid(uid, 0, state) in found]
    assert len(states) == 8 and len(set(states)) >= 3
    assert all(len(found) == 1 for found in uids.values())  # one reset state each


def test_a_group_begins_with_nothing_settled():
    made = RootGroup(2, 5, SINGLE_TURN)
    assert (made.settled, made.failed, made.rollouts) == (0, False, {}) and made.started > 0
