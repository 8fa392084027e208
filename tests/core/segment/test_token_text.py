"""Token text: hand-made bytes, and real tokenizers on text and on garbage."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.core.segment.token_text import TokenText, step_ends

TEXTS = [
    "Let x = 2.\n\nThen  y = x + 1.",
    " leading, trailing ",
    "naïve café 🙂🎉 done",
    "你好，世界。𝔘𝔫𝔦 龘",
    "a\r\nb\tc",
]


def token_spans(token_ids, decode):
    return TokenText(decode).spans(token_ids)


def spans(pieces):
    """Tokens given as their bytes; token ids are positions in that list."""
    return token_spans(range(len(pieces)), lambda ids: b"".join(pieces[i] for i in ids).decode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("pieces", "text", "ends"),
    [
        ([], "", []),
        ([b"ab", b"c"], "abc", [2, 3]),
        # U+4F60 in three tokens: nothing is complete before the third.
        ([b"a", b"\xe4", b"\xbd", b"\xa0", b"b"], "a你b", [1, 1, 1, 2, 3]),
        # A token that ends one character and begins the next completes neither, as far as cuts go.
        ([b"\n\xe4", b"\xbd\xa0\xe4", b"\xbd\xa0", b"b"], "\n你你b", [0, 0, 3, 4]),
        # Bytes that are no character are contributed by the token that proves it, or at the end.
        ([b"a", b"\xff", b"b"], "a\ufffdb", [1, 1, 3]),
        ([b"a", b"\xe4"], "a\ufffd", [1, 2]),
        # A token without text reaches no further than the one before.
        ([b"a", b"", b"b", b""], "ab", [1, 1, 2, 2]),
    ],
)
def test_spans_by_hand(pieces, text, ends):
    assert spans(pieces) == (text, ends)


def test_sentence_piece_and_word_piece_by_hand():
    """Decoded alone, each second token loses its space, and each third the word before it."""

    def sentence_piece(ids):
        return "".join(["▁a", "▁b", "c"][i] for i in ids).replace("▁", " ").removeprefix(" ")

    def word_piece(ids):
        return " ".join(["a", "b", "##c"][i] for i in ids).replace(" ##", "")

    assert token_spans(range(3), sentence_piece) == ("a bc", [1, 3, 4])
    assert token_spans(range(3), word_piece) == ("a bc", [1, 3, 4])


def test_a_token_that_decoding_skips_does_not_cost_the_next_one_its_space():
    def sentence_piece(ids):
        return "".join(["▁a", "", "▁b"][i] for i in ids).replace("▁", " ").removeprefix(" ")

    assert token_spans(range(3), sentence_piece) == ("a b", [1, 1, 3])


@pytest.mark.parametrize("text", TEXTS)
def test_real_tokenizers_decode_to_the_whole(codec, text):
    ids = codec.encode(text)
    decoded, ends = token_spans(ids, codec.decode)
    assert decoded == codec.decode(ids)
    assert ends[-1] == len(decoded)


@given(st.data())
def test_sentence_piece_decodes_any_text_to_the_whole(codecs, data):
    codec = codecs["sentence_piece"]
    ids = codec.encode(data.draw(st.text()))
    assert token_spans(ids, codec.decode)[0] == codec.decode(ids)


@given(st.data())
def test_spans_are_monotone_and_reach_the_end_on_any_ids(codec, data):
    ids = data.draw(st.lists(st.integers(0, codec.size + 1)))  # one id beyond the vocabulary
    text, ends = token_spans(ids, codec.decode)
    assert len(ends) == len(ids)
    assert all(a <= b for a, b in pairwise([0, *ends, len(text)]))
    assert not ids or ends[-1] == len(text)


@given(st.lists(st.binary(max_size=5) | st.sampled_from([b"\xe4", b"\xbd", b"\xa0", b"\xa0\xe4", b"\xf0\x9f"])))
def test_no_cut_falls_within_a_character(pieces):
    """Any bytes, cut wherever possible: both sides decode to what they are in the whole."""

    def decode(ids):
        return b"".join(pieces[i] for i in ids).decode("utf-8", "replace")

    ids = list(range(len(pieces)))
    text, ends = token_spans(ids, decode)
    assert text == decode(ids)
    for cut in step_ends(text, ends, range(1, len(text)), take_space=False):
        assert decode(ids[:cut]) + decode(ids[cut:]) == text


@pytest.mark.parametrize("codec_name", ["byte_level", "sentence_piece"])
def test_real_tokenizers_are_not_cut_within_emoji_and_han(codecs, codec_name):
    codec = codecs[codec_name]
    text = "a🙂b𝔘龘🎉 c"
    ids = codec.encode(text)
    assert len(ids) > 2 * len(text)  # the characters do span tokens
    _, ends = token_spans(ids, codec.decode)
    cuts = step_ends(text, ends, range(1, len(text)), take_space=False)
    assert len(cuts) > 5
    assert all("\ufffd" not in codec.decode(ids[a:b]) for a, b in pairwise([0, *cuts]))


@pytest.mark.parametrize(
    "pieces",
    [[b"\xff"] * 3000, [b""] * 3000, [b"\xe4", *[b"\xbd\xa0\xe4"] * 3000], [b"\xe4", b"\xbd", b"\xa0"] * 1000],
    ids=["invalid", "empty", "straddling", "valid"],
)
def test_decoding_is_linear_in_the_tokens(pieces):
    decoded = 0

    def decode(ids):
        nonlocal decoded
        decoded += len(ids)
        return b"".join(pieces[i] for i in ids).decode("utf-8", "replace")

    token_spans(range(len(pieces)), decode)
    assert decoded < 10 * len(pieces)


class Counted:
    """A decoder that keeps what it was asked."""

    def __init__(self, decode):
        self.decode, self.asked = decode, []

    def __call__(self, ids):
        self.asked.append(tuple(ids))
        return self.decode(ids)


def test_many_tokens_are_decoded_at_once(codec):
    """But for the first two times that a token is seen: alone, and behind another."""
    ids = [token for text in TEXTS[:2] for token in codec.encode(text)] * 10
    counted = Counted(codec.decode)
    token_text = TokenText(counted)
    first = token_text.spans(ids)
    assert first == token_by_token(ids, codec.decode)
    del counted.asked[:]
    assert token_text.spans(ids) == first
    assert len(counted.asked) < len(ids) / 10


def token_by_token(ids, decode):
    """Incremental detokenization in its plain form."""
    text, ends, context, held = "", [], [], []
    for number, token in enumerate(ids, start=1):
        held.append(token)
        before, after = decode(context) if context else "", decode(context + held)
        if number == len(ids) or (len(after) > len(before) and not after.endswith("\ufffd")):
            text, context, held = text + after[len(before) :], held, []
        ends.append(len(text))
    return text, ends


@given(st.data())
def test_tokens_at_once_are_as_tokens_one_by_one(codec, data):
    """Text, and between texts a token of any kind. Each response finds what those before it left to be remembered."""
    token_text = TokenText(codec.decode)
    for _ in range(data.draw(st.integers(1, 3))):
        ids = []
        for text in data.draw(st.lists(st.sampled_from(TEXTS) | st.text(max_size=20), max_size=6)):
            ids += [*codec.encode(text), *data.draw(st.lists(st.integers(0, codec.size - 1), max_size=1))]
        # Runs of bytes that are no characters are held back for longer here than there (``patience``).
        if "\ufffd" not in codec.decode(ids):
            assert token_text.spans(ids) == token_by_token(ids, codec.decode)


def test_a_token_is_worth_another_text_behind_another_token():
    """A decoder that writes a hyphen between equal tokens: what is remembered of one is wrong behind itself."""

    def decode(ids):
        return "".join("-" * (i > 0 and ids[i - 1] == token) + "abc"[token] for i, token in enumerate(ids))

    token_text = TokenText(decode)
    for ids in ([0, 1, 2, 1], [0, 1, 1, 2, 2], [1, 0, 0, 1], [2, 1, 0]):
        assert token_text.spans(ids) == token_by_token(ids, decode)


def test_two_tokenizers_share_nothing():
    ids = [0, 1, 0]
    one, other = (TokenText(lambda ids, words=words: "".join(words[i] for i in ids)) for words in ("ab", ["xyz", "!"]))
    for _ in range(2):
        assert one.spans(ids) == ("aba", [1, 2, 3])
        assert other.spans(ids) == ("xyz!xyz", [3, 4, 7])


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("verl_gpo.core.segment.token_text._REMEMBERED", 4)
    counted = Counted(lambda ids: "".join(chr(i) for i in ids))
    token_text = TokenText(counted)
    token_text.spans(range(65, 75))
    del counted.asked[:]
    token_text.spans([65, 71, 72, 73, 74])
    assert (65, 74) not in counted.asked  # 65 came first, so that others are decoded behind it
    token_text.spans([65, 66])
    assert (65, 66) in counted.asked  # long forgotten


@pytest.mark.parametrize(
    ("text", "ends", "boundaries", "steps", "with_space"),
    [
        ("", [], [], [], []),
        ("abcdef", [2, 4, 6], [], [3], [3]),
        ("abcdef", [2, 4, 6], [4], [2, 3], [2, 3]),
        ("abcdef", [2, 4, 6], [3], [2, 3], [2, 3]),  # the token that holds the boundary ends the step
        ("abcdef", [2, 4, 6], [1, 2, 4], [1, 2, 3], [1, 2, 3]),  # two in one token
        ("abcdef", [2, 4, 6], [5], [3], [3]),  # nothing follows that token
        ("a  b", [1, 2, 3, 4], [1], [1, 4], [3, 4]),
        ("a  b", [1, 2, 4], [1], [1, 3], [2, 3]),  # half of the space is in b's token
        ("a  b", [2, 3, 4], [1], [1, 3], [2, 3]),
        ("ab  ", [1, 2, 3, 4], [1, 2, 3], [1, 2, 3, 4], [1, 4]),  # only white space follows
        ("abc", [1, 1, 2, 3], [1], [1, 4], [1, 4]),  # the second token begins what the third completes
        ("a bc", [1, 2, 2, 3, 4], [1], [1, 5], [2, 5]),
        ("ab", [1, 2, 2], [1, 2], [1, 3], [1, 3]),  # an empty token is no step
    ],
)
def test_step_ends_by_hand(text, ends, boundaries, steps, with_space):
    assert step_ends(text, ends, boundaries, take_space=False) == steps
    assert step_ends(text, ends, boundaries) == with_space
