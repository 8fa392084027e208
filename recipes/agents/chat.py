"""The tokenizer of the agent task: one token a byte, and one for each fixed piece of a call in the hermes format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from recipes.arithmetic.model import build_tokenizer

#: Not special: verl's hermes parser and the reward function must see them in the text.
PIECES = (
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    *('{"name": "', '", "arguments": {"', '": "', '": ', ', "', '"}}', "}}", "walk", "door", "add"),
)

# As Qwen writes tool calls, without the headers of messages: every token is a request's time on a CPU. A small model
# is supervised on the tools, so the template does not print their schemas either. A room stands equally far from the
# end of a prompt and of a tool's answer, so the first move is no other skill than the following ones.
CHAT_TEMPLATE = """
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{{ message['content'] or '' }}
{%- for call in message['tool_calls'] or [] -%}
{{ '<tool_call>\\n{"name": "' + call['function']['name'] + '", "arguments": ' }}
{%- set given = call['function']['arguments'] -%}
{{ given if given is string else given | tojson }}
{{- '}\\n</tool_call>' }}
{%- endfor -%}
{{ '<|im_end|>\\n' }}
{%- elif message['role'] == 'tool' -%}
{{ '<tool_response>' + message['content'] + '</tool_response>\\n' }}
{%- else -%}
{{ message['content'] + '<|im_end|>\\n' }}
{%- endif -%}
{%- endfor -%}
"""


def agent_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose text round-trips, with a chat template for tool calls."""
    tokenizer = build_tokenizer()
    tokenizer.add_tokens([AddedToken(piece, normalized=False, special=False) for piece in PIECES])
    tokenizer.chat_template = CHAT_TEMPLATE.strip()
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerFast, messages: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and for each whether the policy wrote it: its turns with their end tokens."""
    ids: list[int] = []
    written: list[int] = []
    for message in messages:
        piece = tokenizer.apply_chat_template([message], add_generation_prompt=False, return_dict=False)
        own = message["role"] == "assistant"
        ids += piece
        written += [int(own)] * (len(piece) - 1) + [0]  # the newline after the end token is the template's
    return ids, written
