"""Which text each token of a response contributes, and text positions back to positions between tokens.

Token ids are never decoded one by one: SentencePiece decoders drop the space before the first piece of what they are
given, WordPiece decoders join ``##`` pieces and put spaces between the others, and byte-level BPE and byte fallback cut
one character over several tokens. What a token contributes shows only behind the tokens before it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

Decode = Callable[[list[int]], str]

#: What decoders write for bytes that are no character, or not yet.
REPLACEMENT = "\ufffd"

_SPACE = re.compile(r"\s*")

#: Tokens whose text is remembered.
_REMEMBERED = 1 << 16
#: Tokens that are tried at once.
_AT_ONCE = 64


class TokenText:
    """Finds the text position that each token of a response reaches.

    Incremental detokenization, as inference engines do it: a window of tokens is decoded with and without the new one,
    and the difference is the new one's text. Tokens are held back while they add nothing, or while the window ends in
    U+FFFD and so, perhaps, within a character. A character that spans several tokens is reached by its last token.

    Calls of a tokenizer's decoder are dear, so many tokens are first tried at once. Most tokens are worth the same text
    behind any other; what they are worth behind one is remembered, and if the texts of all of them joined are what
    decoding them together gives, that is what decoding them one after another would have given.

    Args:
        decode: text of a list of ids, special tokens kept, the same for the same ids.
    """

    def __init__(self, decode: Decode):
        self._decode = decode
        self._behind = lru_cache(_REMEMBERED)(self._decode_behind)
        self._reference: tuple[list[int], str] | None = None

    def spans(self, token_ids: Sequence[int]) -> tuple[str, list[int]]:
        """Decode a response.

        The text is ``decode(token_ids)`` wherever decoding is local, that is where tokens further back than the window
        change nothing. Two things are not. Byte fallback turns a whole run of bytes into U+FFFD when one of them is
        invalid, and the number of these may differ. ``clean_up_tokenization_spaces`` rewrites white space in whatever
        it is given, so the text may keep, or miss at a seam, a space near punctuation. Either way the positions fit the
        text that is returned, and tokens are never touched; still, decode without clean-up where the tokenizer lets you
        choose.

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
        patience = 1  # decode again when so many are held
        tried = 0  # tokens up to here have been tried at once
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
                    # Long runs are garbage. Waiting in proportion to the run keeps all decoding linear in the tokens.
                    patience = len(held) + max(1, len(held) // 4)
            ends.append(length)
        return "".join(pieces), ends

    def _guess(self, context: list[int], before: str, many: Sequence[int]) -> list[str] | None:
        """What each of many tokens adds to ``before``, the text of the context; None where it has to be found out."""
        if self._reference is None:
            if len(context) > 1:  # garbage, or a character of several tokens: the next will do
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
    """Boundaries in the text to exclusive ends of steps in tokens.

    A step ends with the first token that reaches its boundary, since tokens cannot be cut. A boundary behind which no
    token has text is none.

    Args:
        text: what :meth:`TokenText.spans` returned.
        ends: likewise.
        boundaries: text positions, in order.
        take_space: a step takes the tokens of nothing but white space that follow it.

    Returns:
        ``(K,)`` ends, strictly increasing, the last ``len(ends)``; [] for no tokens.
    """
    cuts: list[int] = []
    for boundary in boundaries:
        # The leftmost of equal ends, here and below: those behind it hold the start of a character, which a later
        # token completes.
        first = bisect_left(ends, boundary)
        if take_space:
            space = _SPACE.match(text, ends[first]).end()
            first = bisect_left(ends, ends[bisect_right(ends, space) - 1])
        if ends[first] < ends[-1] and (not cuts or first >= cuts[-1]):
            cuts.append(first + 1)
    return [*cuts, len(ends)] if ends else []
