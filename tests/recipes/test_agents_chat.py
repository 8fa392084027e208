"""The tokenizer and the chat template with tool calls, as verl's own code reads and writes them."""

import asyncio
import json
import random

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoTokenizer  # noqa: E402

from recipes.agents.chat import PIECES, agent_tokenizer, encode  # noqa: E402
from recipes.agents.task import AgentSpec, generate_problems, sample_conversation  # noqa: E402

TOKENIZER = agent_tokenizer()
SPEC = AgentSpec()
CONVERSATIONS = [
    sample_conversation(problem, random.Random(number), SPEC.slip)
    for number, problem in enumerate(generate_problems(SPEC, 5, 0))
]


def test_text_round_trips_and_messages_can_be_encoded_one_by_one(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for messages in CONVERSATIONS:
        text = TOKENIZER.apply_chat_template(messages, tokenize=False)
        ids, written = encode(TOKENIZER, messages)
        assert TOKENIZER.encode(text) == loaded.encode(text) == ids and TOKENIZER.decode(ids) == text
        own = TOKENIZER.decode([token for token, mine in zip(ids, written, strict=True) if mine])
        assert own.count("<|im_end|>") == SPEC.n_turns and "tool_response" not in own
    assert len({len(encode(TOKENIZER, messages)[0]) for messages in CONVERSATIONS}) == 1


def test_pieces_are_one_token_each_and_are_not_left_out_as_special():
    for piece in PIECES:
        (token,) = TOKENIZER.encode(piece)
        assert TOKENIZER.decode([token], skip_special_tokens=True) == piece


def test_arguments_may_be_text_already():
    call = CONVERSATIONS[0][1]
    function = call["tool_calls"][0]["function"]
    as_text = {**function, "arguments": json.dumps(function["arguments"])}
    same = {**call, "tool_calls": [{"type": "function", "function": as_text}]}
    assert encode(TOKENIZER, [same]) == encode(TOKENIZER, [call])


def test_verls_parser_finds_the_calls():
    parser = pytest.importorskip("verl.experimental.agent_loop.tool_parser")
    hermes = parser.ToolParser.get_tool_parser("hermes", TOKENIZER)
    for message in CONVERSATIONS[0]:
        if message["role"] == "assistant":
            ids, _ = encode(TOKENIZER, [message])
            content, calls = asyncio.run(hermes.extract_tool_calls(ids[:-1]))
            wanted = [one["function"] for one in message.get("tool_calls") or ()]
            assert [{"name": call.name, "arguments": json.loads(call.arguments)} for call in calls] == wanted
            assert content.removesuffix("<|im_end|>") == message["content"]


def test_verl_puts_a_conversation_together_as_supervision_does():
    """verl's own token builder, turn by turn: what it inserts is what the template writes."""
    wiring = pytest.importorskip("verl.utils.tokenizer.continuous_token_wiring")
    builder = wiring.create_continuous_token_builder(TOKENIZER, hf_model_type="qwen2", chat_template_kwargs={})
    messages = CONVERSATIONS[0]
    ids, masks, said = builder.build_initial_tokens(messages[:1]), [], messages[:1]
    prompt = len(ids)
    for message in messages[1:]:
        if message["role"] == "assistant":
            merged = builder.merge_assistant_tokens(ids, encode(TOKENIZER, [message])[0][:-1])
        else:
            merged = builder.merge_context_tokens(said, [*said, message], ids)
        masks, _ = builder.align_response_metadata(merged, masks)
        ids, said = merged.token_ids, [*said, message]
    whole, written = encode(TOKENIZER, messages)
    assert ids == whole[:-1] and masks == written[prompt:-1]
