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

from .types import Tokens

Decode = Callable[[list[int]], str]

#: What decoders write for bytes that are no character, or not yet.
REPLACEMENT = "\ufffd"

_SPACE = re.compile(r"\s*")

#: Windows whose text is remembered, and the tokens of the longest: 18 MB at most. Longer ones are garbage.
_REMEMBERED, _SHORT = 1 << 15, 8


class TokenText:
    """Finds the text position that each token of a response reaches.

    Incremental detokenization, as inference engines do it: a window of tokens is decoded with and without the new one,
    and the difference is the new one's text. Tokens are held back while they add nothing, or while the window ends in
    U+FFFD and so, perhaps, within a character. A character that spans several tokens is reached by its last token.

    Most windows are two tokens, and text is full of the same pairs. So what short windows add is remembered: a call of
    a tokenizer's decoder costs more than all else here.

    Args:
        decode: text of a list of ids, special tokens kept. Sees about two short windows a token, or none where they are
            remembered, so it must always write the same ids alike.
    """

    def __init__(self, decode: Decode):
        self._decode = decode
        self._alone = lru_cache(_REMEMBERED)(lambda token: decode([token]))
        self._remembered = lru_cache(_REMEMBERED)(self._added)

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
        context: Tokens = ()  # tokens already written, which begin and end at a character
        held: list[int] = []  # tokens not written yet
        patience = 1  # decode again when so many are held
        for position, token in enumerate(token_ids, start=1):
            held.append(token)
            final = position == len(token_ids)
            if final or len(held) >= patience:
                new = tuple(held)
                added = self._remembered if len(context) + len(new) <= _SHORT else self._added
                text, whole = added(context, new)
                if final or whole:
                    pieces.append(text)
                    length += len(text)
                    context, held, patience = new, [], 1
                else:
                    # Long runs are garbage. Waiting in proportion to the run keeps all decoding linear in the tokens.
                    patience = len(held) + max(1, len(held) // 4)
            ends.append(length)
        return "".join(pieces), ends

    def _added(self, context: Tokens, new: Tokens) -> tuple[str, bool]:
        """What tokens add to the text of those before them, and whether that is something, and whole characters."""
        before = ""
        if context:
            before = self._alone(*context) if len(context) == 1 else self._decode([*context])
        after = self._decode([*context, *new])
        return after[len(before) :], len(after) > len(before) and not after.endswith(REPLACEMENT)


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
