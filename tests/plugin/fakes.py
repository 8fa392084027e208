"""verl's real single-turn loop in the real worker; faked are the LLM server, the reward actor and the queue.

The prompt's anchor answers ``aaaa / bbbb / cccc / = 5``, four steps of 5 5 5 and 4 tokens. Its group has the rewards 1
and 0, so V(s_0) = .5. Continuations are scripted by the state they start from: after ``aaaa`` they answer wrong
(V = 0), after ``bbbb`` and after ``cccc`` right (V = 1). A = -.5 1 0 0: the critical step is the second, and the reset
state is ``aaaa``, a prefix of 5 tokens. From there the re-entry rollouts answer right, wrong, right.
"""

import asyncio
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import transfer_queue as tq
from tensordict import NonTensorStack
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.workers.rollout.replica import TokenOutput

from verl_gpo.core.advantage import reentry_uid
from verl_gpo.plugin.observe.metrics import TAG, step_metrics
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


class UndeclaredLoop(SingleTurnAgentLoop):
    """A user's own loop, of which nobody says that a continuation does what it would have done."""


class DeclaredLoop(SingleTurnAgentLoop):
    """A user's own loop that says so."""

    gpo_reenterable = True


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

    def uids(self):
        """Group ids of the rows, by key."""
        return {key: row["uid"] for key, row in self.queue.rows().items()}
