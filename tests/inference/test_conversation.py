"""Conversations with tools through an engine: turns, masks, environments that are restored, and budgets."""

import asyncio

import pytest

from recipes.agents.task import PLAIN, Building, Problem, Walk, tools_kwargs
from tests.inference.walker import TOKENIZER, Walker
from verl_gpo.core.turns import turns
from verl_gpo.core.types import SamplingError
from verl_gpo.inference.conversation import ConversationSampler
from verl_gpo.inference.tools import Toolbox

PROBLEM = Problem(Building(78749, "!?-"))
TOOLBOX = Toolbox({"walk": ("walk", Walk)}, {"add": lambda a, b: str(a + b)}, [])
PROMPT = TOKENIZER.apply_chat_template(
    [{"role": "user", "content": PROBLEM.prompt}], add_generation_prompt=True, return_dict=False
)


def sampler_of(engine, **settings):
    return ConversationSampler(engine, PROMPT, TOOLBOX, tools_kwargs(PROBLEM), **settings)


def draw(sampler, prefix=(), max_tokens=500):
    return asyncio.run(sampler.sample(tuple(prefix), max_tokens, 0))


def test_a_conversation_runs_to_its_end():
    drawn = draw(sampler_of(Walker(slip=0.0)))
    said = drawn.source
    assert str(said) == "stop" and said.before == () and not said.within
    assert [message["role"] for message in said.messages] == ["assistant", "tool"] * 4 + ["assistant"]
    assert said.messages[-1]["content"] == f"The sum: {PROBLEM.answer}"
    assert [message["content"] for message in said.messages[1:6:2]] == [str(room) for room in PROBLEM.right_rooms[1:]]
    # The tokens are those that the chat template writes of the whole conversation, and only the turns are the policy's.
    text = TOKENIZER.apply_chat_template([{"role": "user", "content": PROBLEM.prompt}, *said.messages], tokenize=False)
    assert TOKENIZER.decode([*PROMPT, *drawn.token_ids]) + "\n" == text
    own = [TOKENIZER.decode(list(drawn.token_ids[start:end])) for start, end in turns(drawn.written)]
    assert len(own) == 5 and all(turn.endswith("<|im_end|>") and "tool_response" not in turn for turn in own)
    assert all((log_prob == 0.0) == (not mine) for log_prob, mine in zip(drawn.log_probs, drawn.written, strict=True))
    assert drawn.seconds == 2.5 and drawn.context_tokens == len(PROMPT)


@pytest.mark.parametrize("within", [0, 1, 5])
def test_a_continuation_goes_on_in_the_environment_of_its_state(within):
    """Behind each turn, and within the next one: the walk goes on from the room in which the first one stood there."""
    engine = Walker(slip=0.0)
    sampler = sampler_of(engine)
    whole = draw(sampler)
    for start, _ in turns(whole.written):
        prefix = whole.token_ids[: start + within]
        again = draw(sampler, prefix)
        messages = [*again.source.before, *again.source.messages]
        assert messages[-1]["content"] == f"The sum: {PROBLEM.answer}"
        assert [one["role"] for one in messages] == [one["role"] for one in whole.source.messages]
        assert again.source.within == bool(within) and len(again.token_ids) == len(whole.token_ids) - len(prefix)
        assert again.written == whole.written[len(prefix) :]
        assert again.source.messages[0]["role"] == "assistant"


def test_without_a_restore_the_walk_would_be_another(monkeypatch):
    sampler = sampler_of(Walker(slip=0.0))
    whole = draw(sampler)
    start = turns(whole.written)[2][0]
    monkeypatch.setattr(Walk, "restore", lambda walk, state: None)
    again = draw(sampler, whole.token_ids[:start])
    assert again.source.messages[1]["content"] != whole.source.messages[5]["content"]


def test_what_a_continuation_does_leaves_the_state_as_it_was():
    sampler = sampler_of(Walker(slip=0.5))
    whole = draw(sampler)
    start = turns(whole.written)[1][0]
    ends = {draw(sampler, whole.token_ids[:start]).source.messages[-1]["content"] for _ in range(8)}
    assert ends == {whole.source.messages[-1]["content"]}  # all that is left is a free and a plain move


def test_budgets_bound_the_whole():
    cut = draw(sampler_of(Walker(slip=0.0)), max_tokens=6)
    assert str(cut.source) == "length" and len(cut.token_ids) == 6 and not cut.bounded
    first = turns(draw(sampler_of(Walker(slip=0.0))).written)[0][1]
    full = draw(sampler_of(Walker(slip=0.0)), max_tokens=first + 3)  # no room for the answer
    assert str(full.source) == "length" and full.bounded and len(full.token_ids) == first and 0 not in full.written
    few = draw(sampler_of(Walker(slip=0.0), max_turns=2))
    assert [message["role"] for message in few.source.messages] == ["assistant", "tool", "assistant"]


def test_a_call_that_is_none_is_text():
    class Mumbling(Walker):
        def turn(self, text):
            return "<tool_call>walk to the left</tool_call><|im_end|>"

    said = draw(sampler_of(Mumbling())).source
    assert said.messages == ({"role": "assistant", "content": "<tool_call>walk to the left</tool_call>"},)


def test_a_template_that_rewrites_calls_is_refused(monkeypatch):
    def template(messages, add_generation_prompt, **rest):
        return f"{len(messages)} messages"

    monkeypatch.setattr(TOKENIZER, "apply_chat_template", template)
    with pytest.raises(SamplingError, match="changes a call"):
        draw(sampler_of(Walker()))


def test_the_problem_is_what_these_tests_take_it_for():
    assert PROBLEM.building.signs[2] == PLAIN and PROBLEM.hard_turns == (0,)
