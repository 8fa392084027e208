"""verl's real tool agent loop in the real worker: rows of several turns, and what keeps a prompt from being searched.

The policy asks ``count`` to add 1 or 2 twice, and ends. The answer is right if the count came to 4: so a rollout that
has added 1 first cannot win any more, and the first turn decides.
"""

import json
import re

import pytest
import torch

from tests.plugin.agents.world import CHAT, Counter, Keeper, Replayed
from tests.plugin.fakes import FakeQueue, Run
from verl_gpo.core.credit import split_credits
from verl_gpo.core.search.view import AnchorView
from verl_gpo.plugin.observe.metrics import TAG
from verl_gpo.traces.reader import read_traces

N = 2


class Agent:
    """A client that plays the policy: the first root adds 2 and 1, the second 1 and 1; continuations add 2 and 2."""

    def __init__(self, run):
        self.requests, self.tokenizer, self._run = [], run.worker.tokenizer, run
        self.roots, self.end = {}, self.tokenizer.eos_token_id

    def _adds(self, request_id, turn):
        if len(self.roots) < N or request_id in self.roots:
            number = self.roots.setdefault(request_id, len(self.roots))
            return ((2, 1), (1, 1))[number][turn]
        return 2

    async def generate(self, request_id, *, prompt_ids, sampling_params, **kwargs):
        from verl.workers.rollout.replica import TokenOutput

        self.requests.append((request_id, list(prompt_ids), dict(sampling_params)))
        context = self.tokenizer.decode(prompt_ids)
        turn = context.count("[tool]")
        text = "so"
        if turn < 2:
            call = {"name": "count", "arguments": {"by": self._adds(request_id, turn)}}
            text = f"<tool_call>{json.dumps(call)}</tool_call>"
        begun = context.rpartition("[assistant]")[2]
        assert text.startswith(begun)
        tokens = [*self.tokenizer.encode(text[len(begun) :], add_special_tokens=False), self.end]
        tokens = tokens[: sampling_params.get("max_tokens", 1000)]
        log_probs = [-(len(prompt_ids) + i) / 1024 for i in range(len(tokens))]
        extra = {"num_cached_tokens": 2, "min_global_steps": 3, "max_global_steps": 3}
        return TokenOutput(token_ids=tokens, log_probs=log_probs, stop_reason="completed", extra_fields=extra)


class Reward:
    def __init__(self, tokenizer):
        self.compute_score, self.tokenizer, self.seen = self, tokenizer, []

    async def remote(self, data):
        length = int(data.non_tensor_batch["response_len"][0])
        text = self.tokenizer.decode(data.batch["responses"][0][:length].tolist())
        right = float(re.findall(r"count=(\d+)", text)[-1:] == ["4"])
        self.seen.append((int(data.non_tensor_batch["__num_turns__"][0]), text))
        return {"reward_score": right, "reward_extra_info": {"acc": right}}


@pytest.fixture
def begin(compose, run_overrides, monkeypatch):
    def made(*tools, overrides=()):
        queue = FakeQueue()
        queue.install(monkeypatch)
        config = compose(
            *run_overrides,
            f"actor_rollout_ref.rollout.n={N}",
            "actor_rollout_ref.rollout.calculate_log_probs=true",
            "data.max_response_length=300",
            "actor_rollout_ref.rollout.max_model_len=500",
            "actor_rollout_ref.rollout.multi_turn.format=hermes",
            "algorithm.gpo.n_mc=2",
            "algorithm.gpo.n_reentry=3",
            "algorithm.gpo.splitter=turn",
            "algorithm.gpo.rule=abs",
            *overrides,
        )
        run = Run(config, queue)
        run.worker.tokenizer.chat_template = CHAT
        run.worker.tools = list(tools) or [Counter()]
        run.client = run.worker.llm_client = Agent(run)
        run.reward = Reward(run.worker.tokenizer)
        run.worker.reward_loop_worker_handles = [run.reward]
        return run

    return made


def prompt(run, **columns):
    return run.prompt(agent_name="gpo_tool_agent", tools_kwargs={}, **columns)


def answered(row):
    """Positions of the answers of tools and of what the template puts around them, by the text."""
    text = "".join(chr(token) if token < 256 else "#" for token in row["responses"].tolist())
    answers = [range(m.start(), m.end()) for m in re.finditer(r"\n\[tool\].*?\[assistant\]", text)]
    assert len(answers) == 2
    return [i for answer in answers for i in answer]


def test_rows_of_several_turns(begin):
    run = prompt(begin())
    roots, rows = [run.queue.columns[f"p_{i}_0"] for i in range(N)], run.reentry_rows()
    assert [run.record["skipped"], run.record["failed"]] == [None, False]
    # Root 0 adds 2, then 1. V(s_0) = 0, V(s_1) = 1 (2 + 2), V(s_2) = 0 (3), V(s_3) = 0: the second turn loses most,
    # as much as the first gains: one of them.
    assert [state[0] for state in run.record["critical"]] in ([0], [1])
    anchor = roots[0]
    assert len(rows) == 3 and len({row["uid"] for row in rows.values()}) == 1
    for row in rows.values():
        kept = len(anchor["responses"]) if run.record["critical"][0][0] == 0 else None
        mask, own = row["response_mask"].tolist(), anchor["response_mask"].tolist()
        state = [0, own.index(0) + own[own.index(0) :].index(1)][run.record["critical"][0][0]]
        assert kept is None or kept > state
        assert row["responses"][:state].tolist() == anchor["responses"][:state].tolist()
        assert mask[:state] == [0] * state and mask[state] == 1 and 0 in mask[state:]
        # A token that the policy did not write has mask 0 and log-prob 0.
        outside = [i for i, bit in enumerate(mask) if not bit and i >= state]
        assert outside == [i for i in answered(row) if i >= state]
        log_probs = row["rollout_log_probs"].tolist()
        assert len(log_probs) == len(mask) and all(log_probs[i] == 0.0 for i in outside)
        assert log_probs[:state] == anchor["rollout_log_probs"].tolist()[:state]
        assert row["num_turns"] == anchor["num_turns"] == 6
        assert torch.equal(row["loss_mask"], row["response_mask"])
        # Rewards per turn, of the whole trajectory, and the outcome on the last token.
        assert row["extra_fields"]["tool_rewards"] == [0.5, 1.0]
        assert row["rm_scores"].tolist()[-1] == 1.0
    assert len({frozenset(row) for row in run.queue.rows().values()}) == 1
    extra = {frozenset(row["extra_fields"]) for row in run.queue.rows().values()}
    assert len(extra) == 1, extra


def test_every_reward_sees_the_turns_of_its_trajectory(begin):
    run = prompt(begin())
    assert len(run.reward.seen) > N + 4 and {turns for turns, _ in run.reward.seen} == {6}


def test_metrics_count_what_the_policy_wrote(begin):
    run = prompt(begin())
    masks = [run.queue.columns[f"p_{i}_0"]["response_mask"] for i in range(N)]
    assert run.record["root_tokens"] == int(sum(mask.sum() for mask in masks))
    assert run.record["turns"] == [3, 3] and run.record["snapshot_seconds"] > 0
    assert run.metrics["gpo/turns"] == 3.0 and run.metrics["gpo/seconds/snapshot"] > 0
    written = sum(int(row["response_mask"].sum()) for row in run.reentry_rows().values())
    assert run.record["reentry_tokens"] == written


def test_a_trace_has_turns_and_calls(begin, tmp_path):
    run = begin(overrides=[f"algorithm.gpo.trace_dir={tmp_path}"])
    prompt(run)
    run.worker._traces._writer.close()
    (record,) = read_traces(tmp_path)
    (anchor,) = record["anchors"]
    assert [step["turn"] for step in anchor["steps"]] == [0, 1, 2]
    assert [call["answer"].split()[0] for call in anchor["calls"]] == ["count=2", "count=3"]
    assert anchor["steps"][1]["before"].startswith("\n[tool]count=2") and anchor["steps"][0]["before"] == ""


@pytest.mark.parametrize("search", ["random", "tool_entropy", "adaptive", "informative", "bisection", "propose"])
def test_every_search_re_enters_at_turns(begin, search, monkeypatch):
    entered = []
    prefix = AnchorView.prefix
    monkeypatch.setattr(AnchorView, "prefix", lambda view, state: entered.append((view, state)) or prefix(view, state))
    own = ["algorithm.gpo.rule=null"] if search in ("random", "tool_entropy", "informative") else []
    own += ["algorithm.gpo.n_mc=null"] if search in ("random", "tool_entropy", "informative", "propose") else []
    run = prompt(begin(overrides=[f"algorithm.gpo.search={search}", *own]))
    assert run.record["failed"] is False and run.record["usage"]["value"]["sampling_failures"] == 0
    assert run.record["usage"]["reentry"]["sampling_failures"] == 0
    if search == "tool_entropy":  # log-probs fall with the position: the last answer
        (row, *_), own = run.reentry_rows().values(), run.queue.columns["p_0_0"]["response_mask"].tolist()
        assert row["response_mask"].tolist().index(1) == len(own) - own[::-1].index(0)


@pytest.mark.parametrize(("tool", "reason"), [(Keeper(), "environment"), (Replayed(), None)])
def test_a_tool_that_cannot_be_restored_keeps_the_roots(begin, tool, reason):
    tool.name = "count"
    run = prompt(begin(tool))
    assert run.record["skipped"] == reason
    if reason:
        assert run.only_roots_are_left() and run.metrics[f"gpo/skipped/{reason}"] == 1.0


def test_validation_and_a_twin_keep_no_states(begin, monkeypatch):
    from verl_gpo.plugin.agents import loop

    made = []
    recording = loop.Recording
    monkeypatch.setattr(loop, "Recording", lambda: made.append(1) or recording())
    prompt(begin(), validate=True)
    prompt(begin(overrides=["algorithm.gpo.enable=false"]))
    assert made == []
    run = prompt(begin())
    assert len(made) == N and TAG in run.queue.tags["p_0_0"]  # and none for continuations


def test_the_loss_of_a_replaced_row_is_on_what_the_policy_wrote(begin):
    authors = ["algorithm.gpo.rule=null", "algorithm.gpo.preset=authors"]
    authors += ["algorithm.gpo.n_reentry=1", "algorithm.gpo.min_step_tokens=1"]
    run = prompt(begin(overrides=authors))
    assert run.record["failed"] is False and run.record["replaced"] >= 1
    rows = list(run.queue.rows().values())
    assert len(rows) == N and rows[0]["rm_scores"].sum() == 1.0  # the continuations are right, and no root was
    for row in rows:
        assert [i for i, bit in enumerate(row["response_mask"].tolist()) if not bit] == answered(row)


def test_step_credit_is_by_turns(begin):
    steps = ["algorithm.gpo.credit=steps", "algorithm.gpo.rule=argmax", "algorithm.gpo.search=uniform"]
    run = prompt(begin(overrides=steps))
    assert run.record["failed"] is False
    anchor = run.queue.columns["p_0_0"]
    (credit,) = [one for one in split_credits([row["uid"] for row in run.queue.rows().values()])[1] if one]
    own = anchor["response_mask"].tolist()
    ends = [at + 1 for at in range(len(own)) if own[at] and (at + 1 == len(own) or not own[at + 1])]
    # V = 0 1 0 | 0: the first turn gains, the second loses.
    assert credit.ends == tuple(ends) and credit.advantages == (1.0, -1.0, 0.0)
