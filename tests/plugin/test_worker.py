"""The real worker with verl's real single-turn loop; faked are the LLM server, the reward actor and the queue.

The prompt's anchor answers ``aaaa / bbbb / cccc / = 5``, four steps of 5 5 5 and 4 tokens. Its group has the rewards 1
and 0, so V(s_0) = .5. Continuations are scripted by the state they start from: after ``aaaa`` they answer wrong
(V = 0), after ``bbbb`` and after ``cccc`` right (V = 1). A = -.5 1 0 0: the critical step is the second, and the reset
state is ``aaaa``, a prefix of 5 tokens. From there the re-entry rollouts answer right, wrong, right.
"""

import asyncio
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import transfer_queue as tq
from tensordict import NonTensorStack
from verl.workers.rollout.replica import TokenOutput

from verl_gpo.core.advantage import reentry_uid
from verl_gpo.plugin.observe.metrics import REENTRY_TAG, TAG, step_metrics
from verl_gpo.plugin.worker import ReentryWorker

END = 257
LENGTH = 96
ANCHOR, WRONG = "aaaa\nbbbb\ncccc\n= 5", "aaaa\n= 6"
PREFIX = list(b"aaaa\n")
N, N_MC, N_REENTRY = 2, 2, 3
RESET_UID = reentry_uid("p", 0, 1)


def ids(text):
    return [*text.encode(), END]


class FakeQueue:
    """Rows, columns and tags in memory, merged as TransferQueue merges them, and the order of the writes."""

    def __init__(self):
        self.columns = defaultdict(dict)
        self.tags = defaultdict(dict)
        self.partitions = {}
        self.log = []
        self.fail_on = lambda keys, fields: False

    def _write(self, key, partition_id, columns, tag):
        assert self.partitions.setdefault(key, partition_id) == partition_id
        self.columns[key].update(columns)
        self.tags[key].update(tag)

    async def put(self, key, partition_id, fields=None, tag=None):
        assert fields is not None or tag is not None
        await asyncio.sleep(0)
        self.log.append((key, dict(tag or {})))
        self._write(key, partition_id, fields or {}, tag or {})

    async def batch_put(self, keys, partition_id, fields=None, tags=None):
        await asyncio.sleep(0)
        names = list(fields.keys()) if fields is not None else []
        if self.fail_on(keys, names):
            raise ConnectionError("the queue is gone")
        assert fields is None or len(fields) == len(keys)
        for row, key in enumerate(keys):
            columns = {}
            for name in names:
                value = fields.get(name)
                columns[name] = value.tolist()[row] if isinstance(value, NonTensorStack) else value[row]
            self.log.append((key, {"columns": names}))
            self._write(key, partition_id, columns, tags[row] if tags is not None else {})

    async def clear(self, keys, partition_id):
        for key in keys:
            self.log.append((key, {"cleared": True}))
            self.columns.pop(key, None)
            self.tags.pop(key, None)

    def install(self, monkeypatch):
        monkeypatch.setattr(tq, "init", lambda *args, **kwargs: None)
        monkeypatch.setattr(tq, "async_kv_put", self.put)
        monkeypatch.setattr(tq, "async_kv_batch_put", self.batch_put)
        monkeypatch.setattr(tq, "async_kv_clear", self.clear)

    def rows(self):
        return {key: columns for key, columns in self.columns.items() if columns}


class FakeClient:
    """Answers by the state that it is asked to continue. Every token has a log-prob that no other token has."""

    def __init__(self):
        self.prompt_length = None
        self.requests = []
        self.seen = Counter()
        self.fail = lambda state, number: None
        self.log_probs = True
        self._token = 0

    def answer(self, state, number):
        if state == "":
            return ANCHOR if number == 0 else WRONG
        if state == "aaaa\n":
            return "= 6" if number < N_MC else ("= 5", "x\n= 6", "= 5")[number - N_MC]
        return "= 5"

    async def generate(self, request_id, *, prompt_ids, sampling_params, **kwargs):
        if self.prompt_length is None:  # the first request is a root's
            self.prompt_length = len(prompt_ids)
        response = prompt_ids[self.prompt_length :]
        state = bytes(response).decode()
        number = self.seen[state]
        self.seen[state] += 1
        self.requests.append((state, request_id, list(prompt_ids), dict(sampling_params)))
        await asyncio.sleep(0)
        failure = self.fail(state, number)
        if isinstance(failure, Exception):
            raise failure
        if isinstance(failure, float):
            await asyncio.sleep(failure)
        if isinstance(failure, TokenOutput):
            return failure
        tokens = ids(self.answer(state, number))
        log_probs = [-(self._token + i + 1) / 1024 for i in range(len(tokens))] if self.log_probs else None
        self._token += len(tokens)
        extra = {"num_cached_tokens": len(prompt_ids) // 2, "min_global_steps": 3, "max_global_steps": 3}
        return TokenOutput(token_ids=tokens, log_probs=log_probs, stop_reason="completed", extra_fields=extra)

    def of(self, *states):
        return [request for request in self.requests if request[0] in states]


class FakeReward:
    """A reward actor's handle: ``handle.compute_score.remote(data)`` is awaited. Right is an answer of 5."""

    def __init__(self):
        self.compute_score = self
        self.fail = lambda text: False
        self.scored = []

    async def remote(self, data):
        await asyncio.sleep(0)
        length = int(data.non_tensor_batch["response_len"][0])
        text = bytes(token for token in data.batch["responses"][0][:length].tolist() if token < 256).decode()
        self.scored.append(text)
        if self.fail(text):
            raise RuntimeError("the reward is broken")
        right = float(text.endswith("= 5"))
        return {"reward_score": right, "reward_extra_info": {"acc": right}}


async def in_order(prompt):
    """verl tokenizes in threads: with a single one the first session asks first, as the fake client wants it."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await prompt


class Run:
    """One worker, driven as verl drives it."""

    def __init__(self, config, queue):
        self.queue, self.client, self.reward = queue, FakeClient(), FakeReward()
        self.worker = ReentryWorker(config, self.client, None, [self.reward])
        self.sampling_params = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "logprobs": True}

    def prompt(self, validate=False, **columns):
        prompt = {
            "uid": "p",
            "raw_prompt": [{"role": "user", "content": "12 + 3"}],
            "data_source": "test",
            "reward_model": {"style": "rule", "ground_truth": "5"},
            "index": 4,
            "global_steps": 3,
            "agent_name": "single_turn_agent",
            **columns,
        }
        trajectory = {"step": 3, "sample_index": 4, "rollout_n": 0, "validate": validate}
        asyncio.run(in_order(self.worker._run_prompt(prompt, dict(self.sampling_params), trajectory)))
        return self

    @property
    def record(self):
        return self.queue.tags["p_0_0"][TAG]

    @property
    def metrics(self):
        return step_metrics([self.record])

    def reentry_rows(self):
        return {key: row for key, row in self.queue.rows().items() if int(key.split("_")[1]) >= N}

    def only_roots_are_left(self):
        return sorted(self.queue.rows()) == ["p_0_0", "p_1_0"] and self.queue.tags["p"]["status"] == "finished"


@pytest.fixture(scope="module")
def composed():
    """Configurations by their overrides; the worker only reads them."""
    return {}


@pytest.fixture
def start(compose, run_overrides, composed, monkeypatch):
    def begin(*overrides):
        queue = FakeQueue()
        queue.install(monkeypatch)
        if overrides not in composed:
            composed[overrides] = compose(
                *run_overrides,
                f"actor_rollout_ref.rollout.n={N}",
                "actor_rollout_ref.rollout.calculate_log_probs=true",
                f"algorithm.gpo.n_mc={N_MC}",
                f"algorithm.gpo.n_reentry={N_REENTRY}",
                *overrides,
            )
        return Run(composed[overrides], queue)

    return begin


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
        kept = {1: 5, 2: 10, 3: 15}[int(row["uid"].rpartition(".")[2])]
        assert row["response_mask"].tolist()[:kept] == [0] * kept and all(row["response_mask"].tolist()[kept:])


def test_a_steps_budget_is_shared_out_and_starts_anew_each_step(start):
    run = start("algorithm.gpo.step_token_budget=9", "actor_rollout_ref.rollout.agent.num_workers=3")
    account = run.worker._account_of(1)
    assert account.limit == 3  # of 9 tokens for three workers
    account.settle(0, 3)
    # Two steps are in flight: each has its own, whoever asks in between.
    assert run.worker._account_of(2).effort == "search"
    assert run.worker._account_of(1) is account and account.effort == "none"


def test_a_spent_budget_leaves_the_roots(start):
    run = start("algorithm.gpo.step_token_budget=9")
    run.worker._account_of(3).settle(0, 9)
    run.prompt()
    assert run.only_roots_are_left() and run.record["skipped"] == "step_token_budget"


# ------------------------------------------------------------------------------------------------- matched rows

# Five rows a prompt, three of them kept for re-entry: the roots are those of the other tests, sessions 0 and 1.
MATCHED = ("algorithm.gpo.rows=matched", f"actor_rollout_ref.rollout.n={N + N_REENTRY}")


def uids_of(run):
    return {key: row["uid"] for key, row in run.queue.rows().items()}


def test_matched_rows_are_as_many_as_without_reentry(start):
    run = start(*MATCHED).prompt()
    # Re-entry rollouts keep clear of the roots' sessions.
    assert uids_of(run) == {"p_0_0": "p", "p_1_0": "p", **{f"p_{i}_0": RESET_UID for i in (5, 6, 7)}}
    assert run.metrics["gpo/rollouts/root"] == 2.0 and run.metrics["gpo/rollouts/reentry"] == 3.0


def test_without_critical_step_further_roots_take_the_place(start):
    run = start(*MATCHED)
    run.client.answer = lambda state, number: "= 6" if state else WRONG
    run.prompt()
    assert uids_of(run) == {f"p_{i}_0": "p" for i in range(5)}
    assert run.queue.tags["p"]["status"] == "finished"
    assert run.metrics["gpo/rollouts/root"] == 5.0 and run.metrics["gpo/rollouts/reentry"] == 0.0
    assert run.record["root_tokens"] == 5 * len(ids(WRONG))  # further roots count
    finished = [key for key, tag in run.queue.log if tag.get("status") == "finished"]
    assert finished == ["p"] and run.queue.log[-1][0] == "p"  # nothing is written after the prompt is finished


@pytest.mark.parametrize("lost", [1, 2])
def test_what_reentry_lacks_is_filled_with_roots(start, lost):
    """Of three re-entry rollouts one or two are lost. Two can be compared; one alone is of no use to a group."""
    run = start(*MATCHED)
    fails = lambda state, number: state == "aaaa\n" and number >= N_MC + N_REENTRY - lost  # noqa: E731
    run.client.fail = lambda state, number: ConnectionError("lost") if fails(state, number) else None
    run.client.answer = lambda state, number: FakeClient.answer(
        run.client, state, min(number, 1) if not state else number
    )
    run.prompt()
    roots, reentered = (3, 2) if lost == 1 else (5, 0)
    assert sorted(uids_of(run).values()) == sorted(["p"] * roots + [RESET_UID] * reentered)
    assert run.metrics["gpo/rollouts/reentry"] == reentered and run.metrics["gpo/rollouts/root"] == roots


def test_a_critic_needs_no_second_rollout(start):
    run = start("algorithm.adv_estimator=gae")
    run.client.fail = lambda state, number: ConnectionError("lost") if state == "aaaa\n" and number > N_MC else None
    run.prompt()
    assert [row["uid"] for row in run.reentry_rows().values()] == [RESET_UID]


def test_no_more_than_the_reserved_rows(start):
    """Of the five continuations that were drawn at the reset state, three are learnt from."""
    run = start(*MATCHED, "algorithm.gpo.learn_from=reuse", "algorithm.gpo.n_mc=5")
    run.client.answer = lambda state, number: (
        "= 5" if state not in ("", "aaaa\n") else ANCHOR if (state, number) == ("", 0) else WRONG
    )
    run.prompt()
    assert sorted(uids_of(run).values()) == ["p"] * N + [RESET_UID] * N_REENTRY


def test_a_further_root_that_fails_is_a_row_less(start):
    run = start(*MATCHED)
    run.client.answer = lambda state, number: "= 6" if state else WRONG
    run.client.fail = lambda state, number: ConnectionError("lost") if (state, number) == ("", 3) else None
    run.prompt()
    assert len(uids_of(run)) == 4 and run.record["failed"] is True
    assert run.queue.tags["p"]["status"] == "finished"


def test_matched_rows_of_a_group_that_is_not_searched(start):
    run = start(*MATCHED, "algorithm.gpo.skip_groups=mixed").prompt()
    assert sorted(uids_of(run).values()) == ["p"] * 5 and run.record["skipped"] == "skip_groups"


def test_matched_rows_are_all_roots_when_switched_off(start):
    run = start(*MATCHED, "algorithm.gpo.enable=false")
    run.client.answer = lambda state, number: WRONG
    run.prompt()
    assert uids_of(run) == {f"p_{i}_0": "p" for i in range(5)} and run.record["skipped"] == "off"


# ------------------------------------------------------------------------------------------------- filter_groups


@pytest.mark.parametrize("metric", ["reward", "acc"])
def test_a_group_that_verl_will_drop_is_not_searched(start, metric):
    on = ("algorithm.filter_groups.enable=true", f"algorithm.filter_groups.metric={metric}")
    run = start(*on)
    run.client.answer = lambda state, number: WRONG
    run.prompt()
    assert run.only_roots_are_left() and len(run.client.requests) == N
    assert run.record["skipped"] == "filter_groups"
    assert len(start(*on).prompt().reentry_rows()) == N_REENTRY  # a mixed group is


# -------------------------------------------------------------------------------------------- what is left alone


def test_validation_is_left_alone(start):
    run = start("actor_rollout_ref.rollout.val_kwargs.n=2").prompt(validate=True)
    assert sorted(run.queue.rows()) == ["p_0_0", "p_1_0"] and set(run.queue.partitions.values()) == {"val"}
    assert len(run.client.requests) == 2 and not any(TAG in tag for tag in run.queue.tags.values())


def test_switched_off_roots_are_counted_and_nothing_is_added(start):
    run = start("algorithm.gpo.enable=false").prompt()
    assert run.only_roots_are_left() and len(run.client.requests) == N
    record = run.queue.tags["p_0_0"][TAG]
    assert record["skipped"] == "off" and "usage" not in record
    assert len(record["root_rewards"]) == N and record["root_tokens"] > 0


def test_a_greedy_baseline_is_left_alone(start):
    run = start().prompt(__do_sample__=False, __rollout_n__=1)
    assert sorted(run.queue.rows()) == ["p_0_0"] and len(run.client.requests) == 1
    assert TAG not in run.queue.tags["p_0_0"]


def test_a_prompt_may_have_a_group_size_of_its_own(start):
    run = start().prompt(__rollout_n__=3)
    # V(s_0) = 1/3 and the same critical step; the re-entry rollouts are the sessions 3, 4 and 5.
    assert sorted(run.queue.rows()) == [f"p_{session}_0" for session in range(3 + N_REENTRY)]
    assert [run.queue.columns[f"p_{i}_0"]["uid"] for i in range(6)] == ["p"] * 3 + [RESET_UID] * 3


def test_a_group_without_critical_step_has_no_reentry_rows(start):
    run = start()
    run.client.answer = lambda state, number: "= 6" if state else WRONG
    run.prompt()
    assert run.only_roots_are_left()
    assert run.record["critical"] == [] and run.metrics["gpo/prompts/without_critical_step"] == 1.0


def test_without_log_probs_no_row_has_them(start):
    run = start()
    run.client.log_probs = False
    run.prompt()
    assert len(run.reentry_rows()) == N_REENTRY
    assert not any("rollout_log_probs" in row for row in run.queue.rows().values())


def test_several_turns_are_not_reentered(start, monkeypatch):
    from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

    single = SingleTurnAgentLoop.run

    def pretend(change):
        async def run(self, sampling_params, **kwargs):
            output = await single(self, sampling_params, **kwargs)
            change(output)
            return output

        monkeypatch.setattr(SingleTurnAgentLoop, "run", run)

    def more_turns(output):
        output.num_turns = 4

    def tool_tokens(output):
        output.response_mask[3] = 0

    for change in (more_turns, tool_tokens):
        pretend(change)
        run = start().prompt()
        assert run.only_roots_are_left() and len(run.client.requests) == N
        assert run.record["skipped"] == "multi_turn" and run.metrics["gpo/prompts/skipped"] == 1.0


# ------------------------------------------------------------------------------------------------------- failures

LOST = {
    "raises": ConnectionError("lost"),
    "aborted": TokenOutput(token_ids=[65], stop_reason="aborted"),
    "empty": TokenOutput(token_ids=[], stop_reason="completed"),
}


@pytest.mark.parametrize("how", LOST)
def test_a_lost_continuation_costs_its_estimate_only(start, how):
    run = start()
    # One of the two values of s_2 and one of the three re-entry rollouts are lost.
    lost = {("aaaa\nbbbb\n", 1), ("aaaa\n", N_MC + 1)}
    run.client.fail = lambda state, number: LOST[how] if (state, number) in lost else None
    run.prompt()
    assert sorted(run.queue.rows()) == ["p_0_0", "p_1_0", "p_2_0", "p_3_0"]
    assert run.record["reentry_rewards"] == [1.0, 1.0] and run.record["critical"][0][:3] == (1, 4, 1.0)
    assert run.metrics["gpo/failures/sampling"] == 2.0 and run.metrics["gpo/failures/scoring"] == 0.0
    assert (run.metrics["gpo/prompts/failed"], run.queue.tags["p"]["status"]) == (0.0, "finished")


def test_every_continuation_lost_leaves_the_roots(start):
    run = start()
    run.client.fail = lambda state, number: ConnectionError("lost") if state else None
    run.prompt()
    assert run.only_roots_are_left()
    assert run.record["critical"] == [] and run.metrics["gpo/failures/sampling"] == 3.0 * N_MC


def test_a_lost_reward_costs_its_estimate_only(start):
    run = start()
    run.reward.fail = lambda text: "x\n" in text  # the second re-entry rollout's
    run.prompt()
    assert [row["rm_scores"][-1].item() for row in run.reentry_rows().values()] == [1.0, 1.0]
    assert run.metrics["gpo/failures/scoring"] == 1.0 and run.metrics["gpo/failures/sampling"] == 0.0
    assert run.record["usage"]["reentry"]["tokens"] == 4 + 6 + 4  # it was generated all the same


def test_a_reward_that_never_comes_is_given_up(start):
    run = start("algorithm.gpo.reward_timeout=3")
    remote = run.reward.remote

    async def slow(data):
        if len(run.reward.scored) >= N:
            run.reward.scored.append("late")
            await asyncio.sleep(30)
        return await remote(data)

    run.reward.remote = slow
    run.prompt()
    assert run.only_roots_are_left() and run.metrics["gpo/failures/scoring"] == 3.0 * N_MC


@pytest.mark.parametrize("what", ["rows", "group ids"])
def test_a_queue_that_fails_leaves_the_roots(start, what):
    run = start()

    def fails(keys, names):
        reentry = int(keys[0].split("_")[1]) >= N
        return reentry and (names == ["uid"] if what == "group ids" else keys == [f"p_{N + 1}_0"])

    run.queue.fail_on = fails
    run.prompt()
    assert run.only_roots_are_left()
    cleared = sorted(key for key, event in run.queue.log if "cleared" in event)
    assert cleared == (["p_2_0", "p_4_0"] if what == "rows" else ["p_2_0", "p_3_0", "p_4_0"])
    assert run.record["failed"] is True and run.metrics["gpo/prompts/failed"] == 1.0
    assert run.metrics["gpo/rollouts/root"] == 2.0


def test_an_engine_that_fails_leaves_the_roots(start):
    run = start()

    async def broken(*args, **kwargs):
        raise ZeroDivisionError

    run.worker._procedure.run = broken
    run.prompt()
    assert run.only_roots_are_left() and run.record["failed"] is True


def test_a_failed_root_means_no_reentry(start):
    run = start()
    run.client.fail = lambda state, number: ConnectionError("lost") if (state, number) == ("", 1) else None
    run.prompt()
    assert len(run.queue.rows()) == 1 and len(run.client.requests) == N
    assert run.queue.tags["p"]["status"] == "failure"  # verl's own report of it
    (key,) = run.queue.rows()
    assert run.queue.tags[key][TAG]["skipped"] == "root_failed"


def test_all_roots_failed(start):
    run = start()
    run.client.fail = lambda state, number: ConnectionError("lost")
    run.prompt()
    assert not run.queue.rows() and run.queue.tags["p"]["status"] == "failure"
    assert run.worker._groups == {}


def test_metrics_that_cannot_be_written_cost_nothing_else(start, monkeypatch):
    run = start()
    put = run.queue.put

    async def refuse_records(key, partition_id, fields=None, tag=None):
        if tag is not None and TAG in tag:
            raise ConnectionError("the queue is gone")
        await put(key, partition_id, fields, tag)

    monkeypatch.setattr(tq, "async_kv_put", refuse_records)
    run.prompt()
    assert len(run.reentry_rows()) == N_REENTRY and run.queue.tags["p"]["status"] == "finished"


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
