"""verl's real tool agent loop with a deterministic policy and tools, and a tokenizer of one token a character.

The policy is a function of its whole context, so a loop that is brought back to a state truly must do again what it did
there. The tools: ``count`` keeps a number for each trajectory, ``echo`` is a function, ``log`` is restored by replay.
"""

import asyncio
import hashlib
import json
import re
from types import SimpleNamespace

from omegaconf import OmegaConf
from tokenizers import AddedToken
from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap
from verl.experimental.agent_loop.tool_agent_loop import ToolAgentLoop
from verl.tools.base_tool import BaseTool
from verl.tools.function_tool import FunctionTool
from verl.tools.schemas import OpenAIFunctionToolSchema, ToolResponse
from verl.workers.rollout.replica import TokenOutput

from recipes.arithmetic.model import build_tokenizer
from verl_gpo.core.stall import EngineClock
from verl_gpo.plugin.agents.loop import ReenterableToolLoop
from verl_gpo.plugin.agents.output import KEEP_STATES
from verl_gpo.plugin.agents.sampler import TurnSampler

CHAT = (
    "{%- for m in messages %}{{ '[' + m['role'] + ']' + m['content'] }}"
    "{%- for c in m.get('tool_calls') or [] %}{{ '{' + c['function']['name'] + '}' }}{% endfor %}{{ '|' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)


def tokenizer():
    made = build_tokenizer()
    made.add_special_tokens({"additional_special_tokens": [AddedToken("<end>", special=True)]})
    made.chat_template = CHAT
    return made


LOOP = asyncio.new_event_loop()
TOKENIZER = tokenizer()
END = TOKENIZER.convert_tokens_to_ids("<end>")


def schema(name):
    function = {"name": name, "description": "-", "parameters": {"type": "object", "properties": {}, "required": []}}
    return OpenAIFunctionToolSchema.model_validate({"type": "function", "function": function})


class Keeper(BaseTool):
    """Keeps numbers by trajectory, found by its request id: not in ``agent_data``, so nothing restores it by luck."""

    def __init__(self, name="count"):
        self.numbers, self.executed, self.name, self.tool_schema = {}, 0, name, schema(name)

    async def execute(self, instance_id, parameters, agent_data=None, **kwargs):
        self.executed += 1
        number = self.numbers.get(agent_data.request_id, 0) + int(parameters.get("by", 1))
        self.numbers[agent_data.request_id] = number
        key = "seen" if self.name == "count" else f"seen by {self.name}"
        agent_data.extra_fields[key] = [*agent_data.extra_fields.get(key, []), number]
        return ToolResponse(text=f"count={number} " + "." * number), 0.25 * number, {}


class Counter(Keeper):
    def snapshot(self, agent_data):
        return {"number": self.numbers.get(agent_data.request_id, 0)}

    def restore(self, agent_data, state):
        self.numbers[agent_data.request_id] = state["number"]


class Replayed(Keeper):
    gpo_environment = "replay"


class Ledger(Keeper):
    gpo_environment = "side_effects"


def echo(text: str = "") -> str:
    return f"echo {text}"


ECHO = FunctionTool("echo", echo, schema("echo"))


class Policy:
    """Writes as a hash of its whole context says: texts, calls that are good, parallel, unknown or broken."""

    def __init__(self, seed=0, answer=None, unit=6):
        self.seed, self.requests, self._answer, self.unit = seed, [], answer, unit

    def text(self, context):
        digest = hashlib.sha256(f"{self.seed}/{context}".encode()).digest()
        pieces = []
        for byte in digest[: 1 + digest[31] % 3]:
            call = {
                0: {"name": "count", "arguments": {"by": byte % 5}},
                1: {"name": "echo", "arguments": {"text": "x" * (byte % 40)}},
                2: {"name": "nobody", "arguments": {}},
                3: {"name": "count", "arguments": "no object"},
                4: {"name": "log", "arguments": {"by": byte % 3}},
            }.get(byte % self.unit)
            word = "ab\ncd "[byte % 4 :]
            pieces.append(word if call is None else f"{word}<tool_call>{json.dumps(call)}</tool_call>")
        if byte % 7 == 0:
            pieces.append('<tool_call>{"name": </tool_call>')
        return "".join(pieces)

    async def generate(self, request_id, *, prompt_ids, sampling_params, **others):
        """One token after another, each by the text since the last turn began: a turn goes on as it was begun."""
        await asyncio.sleep(0)
        self.requests.append((request_id, list(prompt_ids), dict(sampling_params)))
        context = TOKENIZER.decode(prompt_ids)
        head, _, begun = context.rpartition("[assistant]")
        whole = self._answer(head) if self._answer else self.text(head)
        assert whole.startswith(begun), (whole, begun)
        tokens = [*TOKENIZER.encode(whole[len(begun) :], add_special_tokens=False), END]
        limit = sampling_params.get("max_tokens", 10_000)
        tokens = tokens[:limit]
        # The log-prob of a token is a function of its position and id.
        log_probs = [-((len(prompt_ids) + i) % 97 + tokens[i] % 7 + 1) / 256 for i in range(len(tokens))]
        return TokenOutput(
            token_ids=tokens,
            log_probs=log_probs,
            stop_reason="completed",
            extra_fields={"num_cached_tokens": 1, "min_global_steps": 1, "max_global_steps": 1},
        )


def config(response_length=400, **multi_turn):
    settings = {
        "max_user_turns": None,
        "max_assistant_turns": 5,
        "max_parallel_calls": 2,
        "max_tool_response_length": 24,
        "tool_response_truncate_side": "middle",
        "format": "hermes",
        **multi_turn,
    }
    rollout = {
        "multi_turn": settings,
        "prompt_length": 200,
        "response_length": response_length,
        "full_determinism": False,
    }
    return OmegaConf.create({"actor_rollout_ref": {"rollout": rollout}, "data": {}})


def loop(policy, tools, made=ReenterableToolLoop, **settings):
    """A loop as verl's worker instantiates it: bound to the event loop in which it runs."""
    asyncio.set_event_loop(LOOP)
    whole = config(**settings)
    return made(
        trainer_config=DictConfigWrap(whole),
        server_manager=policy,
        tokenizer=TOKENIZER,
        processor=None,
        dataset_cls=SimpleNamespace,
        data_config=DictConfigWrap(whole.data),
        tools=ToolListWrap(tools),
    )


def go(work):
    """``asyncio.run`` on the event loop of this module."""
    return LOOP.run_until_complete(work)


PROMPT = [{"role": "user", "content": "go"}]
PARAMS = {"temperature": 1.0, "logprobs": True}


async def roll_out(agent, keep=True, **columns):
    """A rollout of a root."""
    KEEP_STATES.set(keep)
    return await agent.run(dict(PARAMS), raw_prompt=PROMPT, tools_kwargs={}, **columns)


def sampler(policy, *roots, deterministic=False):
    return TurnSampler(policy, roots, dict(PARAMS), EngineClock(), 60.0, deterministic)


def stock(policy, tools, **settings):
    return loop(policy, tools, ToolAgentLoop, **settings)


def parts(output):
    """What of an output is trained on or scored."""
    return {
        "prompt": output.prompt_ids,
        "tokens": output.response_ids,
        "mask": output.response_mask,
        "log_probs": output.response_logprobs,
        "turns": output.num_turns,
        "extra": output.extra_fields,
    }


def written_positions(output):
    return [position for position, own in enumerate(output.response_mask) if own]


def turns_of(output):
    """Texts, the policy's in brackets."""
    pieces, text = [], TOKENIZER.decode
    for ours, run in re.findall(r"(1+)|(0+)", "".join(map(str, output.response_mask))):
        start = sum(len(piece[1]) for piece in pieces)
        pieces.append((bool(ours), output.response_ids[start : start + len(ours or run)]))
    return [(who, text(ids)) for who, ids in pieces]
