"""The seam: the position between a prompt and its continuation, where text may give other tokens than the token ids.

A trainer that tokenizes the text of the files may get other tokens than the policy wrote. TRL 1.12.0 does this:

- its DPO and KTO trainers call the tokenizer on the prompt, and on prompt and continuation together. If the tokenizer
  adds a begin token (Llama 3, R1-Distill), there are two, because the chat template has written one already;
- its CPO and ORPO trainers add a begin token if a prompt does not start with the tokenizer's own;
- all append the tokenizer's end token to a continuation that does not end with it: to one that was cut off, and to one
  that ended with another token;
- messages are written by the chat template, which may strip white space, put in an empty thought, or leave out the
  thinking of a response (R1-Distill).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

#: Number of prompts whose tokens are cached: the pairs of one prompt follow each other.
_REMEMBERED = 64

#: Reasons why TRL would get other tokens from a text, in the order in which they are checked.
DIFFERENCES: dict[str, str] = {
    "seam": "the tokenizer splits the text in another way",
    "begin": "a begin token is added",
    "end": "an end token is appended",
}


class Written(NamedTuple):
    """A response in the messages of a chat.

    Attributes:
        content: of the assistant's message.
        exact: whether TRL gets the policy's tokens from the messages.
        refused: why the response cannot be written as a message; "" if it can.
    """

    content: str
    exact: bool
    refused: str


class Seam:
    """Turns token ids into text, and checks which tokens a trainer would get from that text.

    Args:
        tokenizer: a tokenizer of transformers.
        template: arguments of its chat template.
        tools: schemas of the tools that the policy may call.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ):
        self._tokenizer, self._template = tokenizer, {**(template or {}), **({"tools": list(tools)} if tools else {})}
        self._adds = self._tokens("a", True) != self._tokens("a")
        self._prompt_tokens = lru_cache(_REMEMBERED)(lambda text: tuple(self._tokens(text)))

    def text(self, token_ids: Sequence[int]) -> str:
        """The text, special tokens kept."""
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def behind(self, prompt: str, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> str:
        """Text of a continuation: what it adds to the prompt's text, because decoders may drop a first space.

        If the prompt ends within a character, the continuation's own text is returned.
        """
        text = self.text([*prompt_ids, *token_ids])
        return text[len(prompt) :] if text.startswith(prompt) else self.text(token_ids)

    def difference(
        self, prompt: str, continuation: str, prompt_ids: Sequence[int], token_ids: Sequence[int]
    ) -> str | None:
        """Why a TRL trainer would get other tokens from the text: a key of :data:`DIFFERENCES`, or None."""
        prompt_ids, token_ids = tuple(prompt_ids), tuple(token_ids)
        if (
            self._prompt_tokens(prompt) != prompt_ids
            or tuple(self._tokens(prompt + continuation)) != prompt_ids + token_ids
        ):
            return "seam"
        begin = self._tokenizer.bos_token_id
        if self._adds or (begin is not None and prompt_ids[:1] != (begin,)):
            return "begin"
        end = self._tokenizer.eos_token
        if end is not None and (not continuation.endswith(end) or token_ids[-1:] != (self._tokenizer.eos_token_id,)):
            return "end"
        return None

    def written(
        self, messages: Sequence[Mapping[str, Any]], prompt_ids: Sequence[int], token_ids: Sequence[int]
    ) -> Written:
        """A whole response as the assistant's message, if the chat template writes it as the policy did.

        Args:
            messages: the chat that the response follows.
            prompt_ids: that chat, tokenized up to where the response begins.
            token_ids: the whole response.
        """
        content = self._tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        if not self.text(token_ids).startswith(content):
            return Written(content, False, "the response contains a special token")
        try:
            asked = self._render(messages, True)
            answered = self._render([*messages, {"role": "assistant", "content": content}], False)
        except Exception as error:  # a template may raise anything
            return Written(content, False, f"the chat template refuses the response ({type(error).__name__})")
        if not answered.startswith(asked + content):
            return Written(content, False, "the chat template changes the response")
        exact = self._prompt_tokens(asked) == tuple(prompt_ids) and self._tokens(answered) == [*prompt_ids, *token_ids]
        return Written(content, exact, "")

    def conversation(
        self,
        asked: Sequence[Mapping[str, Any]],
        said: Sequence[Mapping[str, Any]],
        prompt_ids: Sequence[int],
        token_ids: Sequence[int],
    ) -> Written:
        """The rest of a conversation with tools as messages, if the chat template writes it as it was.

        Args:
            asked: the messages up to a state.
            said: the messages behind it.
            prompt_ids: the tokens of ``asked``, up to where the policy writes next.
            token_ids: the tokens of ``said``, to the end of the policy's last turn.
        """
        prompt, text = self.text(prompt_ids), self.text(token_ids)
        try:
            before, after = self._render(asked, True), self._render([*asked, *said], False)
        except Exception as error:  # a template may raise anything
            return Written(text, False, f"the chat template refuses the response ({type(error).__name__})")
        if before != prompt or not after.startswith(prompt + text):
            return Written(text, False, "the chat template changes the response")
        exact = self._tokens(before) == [*prompt_ids] and self._tokens(after) == [*prompt_ids, *token_ids]
        return Written(text, exact, "")

    def _tokens(self, text: str, special: bool = False) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=special)["input_ids"])

    def _render(self, messages: Sequence[Mapping[str, Any]], asked: bool) -> str:
        return self._tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=asked, tokenize=False, **self._template
        )
