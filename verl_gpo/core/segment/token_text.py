"""Finds the text that each token of a response contributes, and maps text positions to positions between tokens.

Token ids cannot be decoded one by one: SentencePiece decoders drop the space before the first piece of their input,
WordPiece decoders join ``##`` pieces and put spaces between the others, and byte-level BPE and byte fallback may spread
one character over several tokens. The text of a token is only known after the tokens before it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

Decode = Callable[[list[int]], str]

#: The character that decoders write for bytes that are not, or not yet, a complete character.
REPLACEMENT = "\ufffd"

_SPACE = re.compile(r"\s*")

#: Number of tokens whose text is cached.
_REMEMBERED = 1 << 16
#: Number of tokens that are decoded together at first.
_AT_ONCE = 64


class TokenText:
    """Finds the text position that each token of a response reaches.

    Incremental detokenization, as inference engines do it: a window of tokens is decoded with and without the new one,
    and the difference is the text of the new one. Tokens are held back while they add no text, or while the window ends
    in U+FFFD, because it may then end within a character. A character that spans several tokens is reached by its last
    token.

    Calls of a tokenizer's decoder are expensive, so a number of tokens is first tried together. Most tokens have the
    same text after any other token, so the text after one is cached. If the cached texts joined are equal to the text
    of all tokens decoded together, they are what decoding one token after another would have given.

    Args:
        decode: text of a list of ids, special tokens kept, the same for the same ids.
    """

    def __init__(self, decode: Decode):
        self._decode = decode
        self._behind = lru_cache(_REMEMBERED)(self._decode_behind)
        self._reference: tuple[list[int], str] | None = None

    def spans(self, token_ids: Sequence[int]) -> tuple[str, list[int]]:
        """Decode a response.

        The text is ``decode(token_ids)`` if decoding is local, that is, if tokens before the window change nothing.
        There are two exceptions. Byte fallback turns a whole run of bytes into U+FFFD when one of them is invalid, and
        the number of these characters may differ. ``clean_up_tokenization_spaces`` changes white space in its input, so
        the text may have or lack a space near punctuation. In both cases the positions fit the text that is returned,
        and the tokens are not changed. Still, decode without clean-up if the tokenizer allows it.

        Args:
            token_ids: ``(T,)`` response tokens.

        Returns:
            The text, and ``(T,)`` exclusive text positions up to which tokens ``0..i`` have contributed complete
            characters: never decreasing, the last ``len(text)``.
        """
        pieces: list[str] = []
        ends: list[int] = []
        length = 0
        context: list[int] = []  # tokens already written, which begin and end at a character
        before = ""  # their text
        held: list[int] = []  # tokens not written yet
        patience = 1  # decode again when this number of tokens is held
        tried = 0  # tokens up to here have been tried together
        while len(ends) < len(token_ids):
            position = len(ends)
            if context and not held and position >= tried:
                many = token_ids[position : position + _AT_ONCE]
                tried = position + len(many)
                texts = self._guess(context, before, many)
                if texts:
                    pieces += texts
                    for text in texts:
                        length += len(text)
                        ends.append(length)
                    context = [many[-1]]
                    before = self._decode(context)
                    continue
            held.append(token_ids[position])
            final = position + 1 == len(token_ids)
            if final or len(held) >= patience:
                after = self._decode(context + held)
                if final or (len(after) > len(before) and not after.endswith(REPLACEMENT)):
                    pieces.append(after[len(before) :])
                    length += len(pieces[-1])
                    context, held, patience = held, [], 1
                    before = "" if final else self._decode(context)
                else:
                    # Long runs are not valid text. Waiting in proportion to the run keeps the total work linear.
                    patience = len(held) + max(1, len(held) // 4)
            ends.append(length)
        return "".join(pieces), ends

    def _guess(self, context: list[int], before: str, many: Sequence[int]) -> list[str] | None:
        """The text that each of many tokens adds to ``before``, the text of the context; None if the guess fails."""
        if self._reference is None:
            if len(context) > 1:  # invalid text, or a character of several tokens: the next token will fit
                return None
            self._reference = context, before
        texts = [*map(self._behind, many)]
        text = "".join(texts)
        if REPLACEMENT in text or not all(texts) or self._decode([*context, *many]) != before + text:
            return None
        return texts

    def _decode_behind(self, token: int) -> str:
        context, before = self._reference
        return self._decode([*context, token])[len(before) :]


def step_ends(text: str, ends: Sequence[int], boundaries: Iterable[int], take_space: bool = True) -> list[int]:
    """Map boundaries in the text to exclusive ends of steps in tokens.

    A step ends with the first token that reaches its boundary, because tokens cannot be cut. A boundary without text
    after it is ignored.

    Args:
        text: the text that :meth:`TokenText.spans` returned.
        ends: the positions that it returned.
        boundaries: text positions, in order.
        take_space: whether a step also takes the tokens after it that contain only white space.

    Returns:
        ``(K,)`` ends, strictly increasing, the last ``len(ends)``; [] for no tokens.
    """
    cuts: list[int] = []
    for boundary in boundaries:
        # The first of equal ends, here and below: the tokens after it hold the start of a character, which a later
        # token completes.
        first = bisect_left(ends, boundary)
        if take_space:
            space = _SPACE.match(text, ends[first]).end()
            first = bisect_left(ends, ends[bisect_right(ends, space) - 1])
        if ends[first] < ends[-1] and (not cuts or first >= cuts[-1]):
            cuts.append(first + 1)
    return [*cuts, len(ends)] if ends else []
