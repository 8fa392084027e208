"""What the worker asks for, which rows it stores, and what they are learnt from; tests/plugin/fakes.py has the case."""

import asyncio
from collections import Counter

import pytest
import torch

from tests.plugin.fakes import ANCHOR, LENGTH, N_MC, N_REENTRY, PREFIX, RESET_UID, WRONG, N, ids
from verl_gpo.core.advantage import reentry_uid
from verl_gpo.plugin.observe.metrics import REENTRY_TAG, TAG

# ------------------------------------------------------------------------------------------------- what is stored


def test_rows_of_a_prompt(start):
    run = start().prompt()
    assert sorted(run.queue.rows()) == [f"p_{session}_0" for session in range(N + N_REENTRY)]
    assert [run.queue.columns[f"p_{i}_0"]["uid"] for i in range(5)] == ["p", "p", *[RESET_UID] * 3]
    assert {run.queue.partitions[key] for key in run.queue.rows()} == {"train"}
    # The six Monte Carlo continuations were asked for and scored, and none of them is stored.
    assert len(run.client.requests) == N + 3 * N_MC + N_REENTRY
    assert len(run.reward.scored) == N + 3 * N_MC + N_REENTRY  # and no row is scored twice


def test_a_reentry_row_is_prefix_and_continuation(start):
    rows = start().prompt().reentry_rows()
    continuations = [ids(text) for text in ("= 5", "x\n= 6", "= 5")]
    assert [row["responses"].tolist() for row in rows.values()] == [PREFIX + tokens for tokens in continuations]
    for row, tokens in zip(rows.values(), continuations, strict=True):
        assert row["response_mask"].tolist() == [0] * len(PREFIX) + [1] * len(tokens)
        assert torch.equal(row["loss_mask"], row["response_mask"])
        assert row["input_ids"].tolist() == row["prompts"].tolist() + row["responses"].tolist()
        assert row["position_ids"].tolist() == list(range(len(row["input_ids"])))


def test_log_probs_of_a_reentry_row_are_the_prefix_ones_then_its_own(start):
    run = start().prompt()
    anchor = run.queue.columns["p_0_0"]["rollout_log_probs"]
    assert len(anchor) == len(ids(ANCHOR)) and len(set(anchor.tolist())) == len(anchor)
    seen = set()
    for row in run.reentry_rows().values():
        log_probs = row["rollout_log_probs"]
        assert len(log_probs) == len(row["responses"])
        assert torch.equal(log_probs[: len(PREFIX)], anchor[: len(PREFIX)])
        own = log_probs[len(PREFIX) :].tolist()
        assert not seen & set(own) and not set(own) & set(anchor.tolist())  # each continuation's, not another's
        assert own == sorted(own, reverse=True)  # in the order of its tokens
        seen |= set(own)


def test_reward_of_a_reentry_row_stands_on_its_last_token(start):
    for row, reward in zip(start().prompt().reentry_rows().values(), (1.0, 0.0, 1.0), strict=True):
        assert row["rm_scores"].tolist() == [0.0] * (len(row["responses"]) - 1) + [reward]
        assert row["extra_fields"]["reward_extra_info"] == {"acc": reward}


def test_all_rows_have_the_same_columns_and_tags(start):
    run = start().prompt()
    assert len({frozenset(row) for row in run.queue.rows().values()}) == 1
    assert len({frozenset(run.queue.tags[key]) - {TAG, REENTRY_TAG} for key in run.queue.rows()}) == 1
    assert [REENTRY_TAG in run.queue.tags[f"p_{session}_0"] for session in range(5)] == [False] * 2 + [True] * 3
    extra = {frozenset(row["extra_fields"]) for row in run.queue.rows().values()}
    assert len(extra) == 1, extra
    assert {"rollout_log_probs", "rm_scores", "uid", "raw_prompt", "data_source"} <= set(run.queue.columns["p_0_0"])


def test_tags_of_a_reentry_row_tell_its_own_lengths(start):
    run = start().prompt()
    for key, row in run.reentry_rows().items():
        tag = run.queue.tags[key]
        assert (tag["status"], tag["global_steps"]) == ("success", 3)
        assert (tag["prompt_len"], tag["response_len"]) == (len(row["prompts"]), len(row["responses"]))
        assert tag["seq_len"] == len(row["input_ids"])
        assert (tag["min_global_steps"], tag["max_global_steps"]) == (3, 3)


def test_the_prompt_is_finished_after_its_reentry_rows_are_complete(start):
    log = start().prompt().queue.log
    finished = log.index(("p", {"status": "finished"}))
    assert finished == len(log) - 1 and log[0] == ("p", {"status": "running"})
    regrouped = [i for i, (_, what) in enumerate(log) if what == {"columns": ["uid"]}]
    assert len(regrouped) == N_REENTRY and max(regrouped) < finished
    assert sum(TAG in what for _, what in log[:finished]) == 1


def test_anchors_that_agree_up_to_the_reset_state_share_its_group(start):
    def answer(state, number):
        if state == "":
            return (ANCHOR, "aaaa\nbbbb\n= 5")[number]
        return "= 6" if state == "aaaa\n" and number < N_MC else "= 5"

    run = start("algorithm.gpo.anchors=2")
    run.client.answer = answer
    # V = 1 0 1 .. in both: both are reset to "aaaa", which is valued once.
    reentered = run.prompt().reentry_rows()
    assert [row["uid"] for row in reentered.values()] == [RESET_UID] * N_REENTRY
    assert len(run.client.of("aaaa\n")) == N_MC + N_REENTRY


def test_root_rows_are_what_they_are_without_reentry(start):
    with_reentry, without = start().prompt(), start("algorithm.gpo.enable=false").prompt()
    assert sorted(without.queue.rows()) == ["p_0_0", "p_1_0"]
    for key, row in without.queue.rows().items():
        other = with_reentry.queue.columns[key]
        assert set(row) == set(other)
        for name in ("responses", "response_mask", "rollout_log_probs", "rm_scores", "input_ids"):
            assert torch.equal(row[name], other[name])
        assert (row["uid"], row["num_turns"], row["session_id"]) == (other["uid"], other["num_turns"], int(key[2]))


# ----------------------------------------------------------------------------------------------- what is asked for


def test_requests_carry_the_prefix_the_room_that_is_left_and_one_sticky_id(start):
    run = start().prompt()
    roots, others = run.client.requests[:N], run.client.requests[N:]
    prompt_ids = roots[0][2]
    assert Counter(request[0] for request in others) == {
        "aaaa\n": N_MC + N_REENTRY,
        "aaaa\nbbbb\n": N_MC,
        "aaaa\nbbbb\ncccc\n": N_MC,
    }
    for state, _, context, params in others:
        assert context == prompt_ids + list(state.encode())
        assert params == {**run.sampling_params, "max_tokens": LENGTH - len(state)}
    assert len({request_id for _, request_id, _, _ in others}) == 1
    assert not {request_id for _, request_id, _, _ in others} & {request_id for _, request_id, _, _ in roots}


def test_under_full_determinism_each_request_has_its_own_id_and_seed(start):
    override = "actor_rollout_ref.rollout.full_determinism=true"
    one, other = start(override).prompt(), start(override).prompt()
    ids_and_seeds = [(request[1], request[3]["seed"]) for request in one.client.requests[N:]]
    count = 3 * N_MC + N_REENTRY
    assert len({request_id for request_id, _ in ids_and_seeds}) == count
    assert len({seed for _, seed in ids_and_seeds}) == count
    assert [r[3]["seed"] for r in other.client.requests[N:]] == [seed for _, seed in ids_and_seeds]  # and repeats


def test_the_record_counts_what_was_done(start):
    record = start().prompt().record
    assert record["root_rewards"] == [1.0, 0.0] and record["root_tokens"] == len(ids(ANCHOR)) + len(ids(WRONG))
    assert record["reentry_rewards"] == record["reentry_accuracies"] == [1.0, 0.0, 1.0]
    assert record["steps"] == [4] and [critical[:3] for critical in record["critical"]] == [(1, 4, 1.0)]
    assert 0.0 < record["critical"][0][3] < 1.0  # two continuations a state leave room for doubt
    assert (record["skipped"], record["failed"]) == (None, False)
    value, reentry = record["usage"]["value"], record["usage"]["reentry"]
    assert (value["requests"], value["tokens"]) == (6, 6 * 4)  # "= 5" and the end token
    assert (reentry["requests"], reentry["tokens"]) == (3, 4 + 6 + 4)
    assert 0.4 < value["cached_tokens"] / value["context_tokens"] <= 0.5  # half of each, rounded down


def test_the_record_stands_on_the_first_root_row_alone(start):
    run = start().prompt()
    assert [key for key, tag in run.queue.tags.items() if TAG in tag] == ["p_0_0"]
    assert run.queue.tags["p_0_0"]["status"] == "success"  # beside verl's own tags


# --------------------------------------------------------------------------------------------- what is learnt from


def test_reuse_stores_the_continuations_that_valued_the_reset_state(start):
    run = start("algorithm.gpo.learn_from=reuse").prompt()
    # V = .5 0 1 1 | 1: reset to "aaaa", whose two continuations were both wrong.
    assert [row["rm_scores"][-1].item() for row in run.reentry_rows().values()] == [0.0] * N_MC
    assert {row["uid"] for row in run.reentry_rows().values()} == {RESET_UID}
    assert len(run.client.requests) == N + 3 * N_MC  # nothing was drawn for it
    assert run.metrics["gpo/tokens/learnt_share"] == (2 * 4) / (6 * 4)


@pytest.mark.parametrize("steps", ["ab", 3, {"1": 2}, [1.5], [None], None])
def test_a_field_of_that_name_that_holds_something_else_is_no_given_step(start, steps):
    run = start("algorithm.gpo.n_mc=2").prompt(extra_info={"hard_steps": steps, "index": 4})
    assert "gpo/critical/given" not in run.metrics and run.metrics["gpo/critical/found"] == 1.0


def test_a_given_step_is_reset_to_without_a_search(start):
    run = start("algorithm.gpo.search=given", "algorithm.gpo.n_mc=null").prompt(
        extra_info={"hard_steps": [1], "index": 4}
    )
    assert {row["uid"] for row in run.reentry_rows().values()} == {RESET_UID}
    assert run.metrics["gpo/requests/value"] == 0 and run.metrics["gpo/critical/given"] == 1.0
    assert len(run.reentry_rows()) == N_REENTRY
    nothing = start("algorithm.gpo.search=given", "algorithm.gpo.n_mc=null").prompt()
    assert nothing.reentry_rows() == {} and nothing.metrics["gpo/critical/found"] == 0


def test_all_stores_every_valued_state_as_a_group_of_its_own(start):
    run = start("algorithm.gpo.learn_from=all").prompt()
    groups = Counter(row["uid"] for row in run.reentry_rows().values())
    assert groups == {reentry_uid("p", 0, k): N_MC for k in (1, 2, 3)}
    assert run.metrics["gpo/tokens/learnt_share"] == 1.0
    for row in run.reentry_rows().values():
        kept = {reentry_uid("p", 0, k): 5 * k for k in (1, 2, 3)}[row["uid"]]
        assert row["response_mask"].tolist()[:kept] == [0] * kept and all(row["response_mask"].tolist()[kept:])


def test_a_steps_budget_is_shared_out_and_starts_anew_each_step(start):
    run = start("algorithm.gpo.step_token_budget=9", "actor_rollout_ref.rollout.agent.num_workers=3")
    account = run.worker._accounts.of(1)
    assert account.limit == 3  # of 9 tokens for three workers
    account.settle(0, 3)
    # Two steps are in flight: each has its own, whoever asks in between.
    assert run.worker._accounts.of(2).effort == "search"
    assert run.worker._accounts.of(1) is account and account.effort == "none"


def test_a_spent_budget_leaves_the_roots(start):
    run = start("algorithm.gpo.step_token_budget=9")
    run.worker._accounts.of(3).settle(0, 9)
    run.prompt()
    assert run.only_roots_are_left() and run.record["skipped"] == "step_token_budget"


def test_prompts_do_not_mix(start):
    run = start()

    async def both():
        prompts = [
            {
                "uid": uid,
                "raw_prompt": [{"role": "user", "content": "12 + 3"}],
                "data_source": "test",
                "global_steps": 3,
                "agent_name": "single_turn_agent",
                "__rollout_n__": N,
            }
            for uid in ("p", "q")
        ]
        run.client.answer = lambda state, number: {"": WRONG}.get(state, "= 5")
        trajectory = {"step": 3, "sample_index": 4, "rollout_n": 0, "validate": False}
        await asyncio.gather(*(run.worker._run_prompt(p, run.sampling_params, trajectory) for p in prompts))

    asyncio.run(both())
    # All roots are wrong, V(s_0) = 0; after "aaaa" all are right: the first step gains most, so the prefix is empty.
    uids = {key: row["uid"] for key, row in run.queue.rows().items()}
    for uid in ("p", "q"):
        mine = {key: group for key, group in uids.items() if key.startswith(uid)}
        assert mine == {f"{uid}_{i}_0": uid if i < N else reentry_uid(uid, 0, 0) for i in range(N + N_REENTRY)}
        assert TAG in run.queue.tags[f"{uid}_0_0"]
    assert run.worker._groups == {}


@pytest.mark.parametrize("rows", ["added", "matched"])
def test_every_root_holds_a_slot_until_it_is_back(rows, start):
    run = start(f"algorithm.gpo.rows={rows}")
    scheduler, sent = run.worker._scheduler, []
    original = scheduler.root_sent
    scheduler.root_sent = lambda root: (sent.append(root), original(root))
    run.prompt()
    assert len(sent) == len(set(sent)) == len(run.queue.rows()) - len(run.reentry_rows()) > 0
    assert scheduler._roots == set()
