"""Splitters: hand-made cases, and invariants of all on text, bytes and real tokenizers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_gpo.core.segment.splitters import (
    CodeSplitter,
    LineTokensSplitter,
    LowProbSplitter,
    NewlineSplitter,
    ParagraphSplitter,
    RegexSplitter,
    SentenceSplitter,
    TokensSplitter,
)
from verl_gpo.core.segment.steps import SPLITTERS, build_splitter

OPTIONS = {"tokens": "3", "regex": r"(?s)\W.", "low_prob": "0.5"}


def split(splitter, pieces, *args):
    """Split a response that is given as its tokens' texts or bytes; token ids are positions in that list."""
    raw = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    decode = lambda ids: b"".join(raw[i] for i in ids).decode("utf-8", "replace")  # noqa: E731
    return splitter(decode, *args)(range(len(raw)))


def steps(splitter, text, *args):
    """The texts of the steps, with one token a character."""
    ends = split(splitter, list(text), *args)
    return [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(
    ("pieces", "ends"),
    [
        ([], []),
        (["a"], [1]),
        (["a", "\n", "b"], [2, 3]),
        (["a", "\n", "b", "\n"], [2, 4]),
        # Blank lines belong to the line before them, whichever way the tokenizer cut them.
        (["a", "\n", "\n", "b"], [3, 4]),
        (["a", "\n\n", " ", "\n", "b"], [4, 5]),
        # A token that ends in a line break, as BPE makes them, ends the step.
        (["x", ".\n", "y"], [2, 3]),
        # A token cannot be cut: text behind the break within the token stays with the step.
        (["a", "\nb", "c", "\n", "d"], [2, 4, 5]),
        # Leading blank lines are no step of their own.
        (["\n", "\n", "a", "\n", "b"], [4, 5]),
        (["\n", "\n"], [2]),
        (["\nx", "y", "\n", "z"], [3, 4]),
        (["a", "\nx", "\n", "b"], [3, 4]),
        (["a", "\n", "\nb", "c"], [2, 4]),  # but a break before it ends the step without that text
        (["a", "\nx", " "], [3]),
        # Windows line breaks.
        (["a", "\r\n", "b", "\r", "\n", "c"], [2, 5, 6]),
        # The token with the break begins a character: the step ends where the character does.
        ([b"a", b"\n\xe4", b"\xbd\xa0", b"b"], [3, 4]),
        ([b"a", b"\n", b"\xe4", b"\xbd\xa0"], [2, 4]),
    ],
)
def test_newline_splitter_by_hand(pieces, ends):
    assert split(NewlineSplitter, pieces) == ends


# Without the empty token: it has no text, and begins the next step as half a character does.
@given(st.lists(st.sampled_from(["a", "bc", "\n", "\n\n", ".\n", "\nx", " "])))
def test_a_boundary_follows_a_line_break_and_precedes_text(pieces):
    for end in split(NewlineSplitter, pieces)[:-1]:
        last_break = max(i for i in range(end) if "\n" in pieces[i])
        assert not "".join(pieces[last_break + 1 : end]).strip()
        assert pieces[end].strip()


@pytest.mark.parametrize(
    "expected",
    [
        ["a\nb\n\n", "c\n \t\n\n", "d\n"],
        ["a\r\nb\r\n\r\n", "c"],
        ["\n\na\nb"],
        [" a\n\n    ", "b\n\n"],  # white space goes with the step before, as far as it is tokens of its own
    ],
)
def test_paragraph_splitter_by_hand(expected):
    assert steps(ParagraphSplitter, "".join(expected)) == expected


@pytest.mark.parametrize(
    "expected",
    [
        ["\n He left. ", "She stayed! ", "Why? ", "Who knows"],
        ["x is 3.14 and y is .5. ", "Done. "],
        ["1. Add 2. ", "2. Add 3.\n", "3.1. Stop. ", "a. It is 4. ", "So be it."],
        ["Use e.g. Eq. 3, i.e. (see Fig. 2) Dr. J. Smith et al. in the U.S. army. ", "Yes."],
        ["Apples, etc. are fruit, etc. ", "Then x."],
        ["He said “Stop.” ", "(It was late.) ", "**Done.** ", "Next"],
        ["Hm... ", "What?! ", "No"],
        ["今天很好。", "真的吗？！", "“是。”", "他说"],
        ["a\n\n", "b. \n", "c.\r\n", "d"],
        ["See a.b and f(x).y or 5.\n", "No end.Here either!x"],
        ["The value of x. ", "Then x_A. ", "Then $A$. ", "End"],
        # A factorial before an operator, and before what goes on with the sentence.
        ["We get 5! + 3 = 123. ", "Done."],
        ["So 3! = 6, and 4! - 3! = 18. ", "Then 10! ÷ 8! = 90. ", "Ok"],
        ["n! / (k! (n-k)!) is it. ", "(n+1)! = (n+1) n!. ", "So"],
        ["n!/(k!(n-k)!) counts them. ", "Next"],
        [r"5! \times 2, 4! \cdot 3 and n! \ge 2^n. ", "Next"],
        [r"$5!$ + 3, $n!$ $= 6$, \frac{5!}{3!} = 20. ", "Next"],
        ["(4! * 3! ) and x_n! + 2, 7!! = 105. ", "So"],
        ["There are 5! ways, 5! of them (n! (in all) is more). ", "Next"],
        ["5! ≈ 120. ", "f(x)! > 2, n! mod p and n! ∈ N. ", "So"],
        ["It is 5! ", "Then go! ", "+ 3 points. ", "The sum is 3!\n", "+ 4"],
        ["Wow! ", "3 cats. ", "Yes! ", "- yes. ", "4! ", "**Next** one"],
        # An ellipsis in a sum, a product or a list; one that ends a sentence or hesitates.
        ["Compute 1 + 2 + ... + n. ", "Then stop."],
        [r"1 \cdot 2 \cdot ... \cdot n, a_1 + ... + a_n. ", "Next"],
        ["1, 2, ... , n or 1, 2, ... n or (a, b, ... ) or x_1 ... x_n. ", "Next"],
        ["1 + 2 + . . . + n = 6. ", "So 2 × 4 × ... × 2n. ", "Next"],
        ["1 + 2 + … + n and 1+2+...+n. ", r"1 + \ldots + n. ", "Next"],
        ["It is 1 + 1/2 + 1/4 + ... ", "So it is 2. ", "Wait... ", "maybe not. ", "1, 2, .... ", "Then"],
        ["Hmm... ", "I say 5... ", "I do"],
        # What stands before an equals sign at the start of a line is no list marker.
        ["5 * 4\n", "= 20. ", "Then\n", "- 1. One. ", "(2. Two)"],
        ["So x = N. ", "By Smith, J. and Doe, K. L. we have $n < M. ", "Then"],
        ["No. 5 is odd, no. 6 is not. ", "He said no. ", "Then"],
    ],
)
def test_sentence_splitter_by_hand(expected):
    assert steps(SentenceSplitter, "".join(expected)) == expected


@given(st.sampled_from("+-*/=<>×÷·⋅≤≥≈"), st.sampled_from(["n", "5", "(n+1)", "x_2"]), st.sampled_from(["", "!", "$"]))
def test_no_step_ends_between_a_factorial_and_an_operator(operator, operand, more):
    mark = {"": "!", "!": "!!", "$": "!$"}[more]
    text = f"It is {operand}{mark} {operator} 2 + ... {operator} 7. Then"
    assert steps(SentenceSplitter, text) == [text.removesuffix("Then"), "Then"]


@pytest.mark.parametrize(
    ("pieces", "ends"),
    [
        (["He", " left", ".", " She"], [3, 4]),  # the space belongs to the next token
        (["left", ".", " ", "She"], [3, 4]),
        (["left", ". S", "he"], [2, 3]),
        (["left", ".", "\nS", "he"], [2, 4]),  # one end, not one for the stop and one for the break
    ],
)
def test_sentence_splitter_on_tokens(pieces, ends):
    assert split(SentenceSplitter, pieces) == ends


@pytest.mark.parametrize(
    "expected",
    [
        ["a\n", "```py\nx = 1\n\ny = 2\n```\n\n", "b\n", "c"],
        ["a\n", "~~~\n```\nx\n~~~~\n", "b"],  # closed by its own kind, at least as long
        ["````\n```\nx\n````\n", "b"],
        ["a\n", "```\nx\n\ny\n"],  # never closed
        ["```x``` inline\n", "b ```\n", "c"],  # no fences
        ["```\r\nx\r\ny\r\n```\r\n", "b\r\n", "c"],
        ["```\n```\n", "```\nx\n```\n", "b"],
        ["``\n", "b\n", "```x\ny"],
    ],
)
def test_code_splitter_by_hand(expected):
    assert steps(CodeSplitter, "".join(expected)) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"Wait,|;\s*", ["a; ", "b Wait,", " c"]),
        (r"x*", ["axx", "b"]),  # empty matches are ignored
        (r"z", ["abc"]),
        (r"c", ["abc"]),  # a match at the end adds no step
    ],
)
def test_regex_splitter_by_hand(pattern, expected):
    assert steps(RegexSplitter, "".join(expected), pattern) == expected


def test_regex_that_does_not_compile_is_named():
    with pytest.raises(ValueError, match=r"'\(a' is not a valid regular expression: missing \)"):
        RegexSplitter(str, "(a")


@pytest.mark.parametrize(("count", "ends"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (9, [5])])
def test_tokens_splitter_by_hand(count, ends):
    assert TokensSplitter(count)(range(5)) == ends
    assert TokensSplitter(count)([]) == []


def test_low_prob_splitter_by_hand():
    splitter = LowProbSplitter(0.5)
    # A first token in doubt begins the first step anyway; at the threshold is not below it; unknown is no doubt.
    log_probs = [math.log(p) for p in (0.1, 0.9, 0.4, 0.5, 0.49)] + [math.nan, -math.inf]
    assert splitter(range(7), log_probs) == [2, 4, 6, 7]
    assert splitter([], []) == []
    with pytest.raises(ValueError, match="each of the 7 tokens; it got none"):
        splitter(range(7))
    with pytest.raises(ValueError, match="each of the 7 tokens; it got 6"):
        splitter(range(7), log_probs[:6])


def test_every_fifth_cut_point_begins_a_step_from_the_first_on():
    log_probs = [math.log(0.5 if at in (0, 1, 3, 4, 6, 7, 8) else 0.95) for at in range(10)]
    assert LowProbSplitter(0.9, 3)(range(10), log_probs) == [4, 8, 10]  # cut points 0, 4, 8; that at 0 is the prompt
    assert LowProbSplitter(0.9, 3)(range(1, 10), log_probs[1:]) == [5, 9]  # cut points 0, 5; the one at 8 is missing
    assert LowProbSplitter(0.9, 1)(range(10), log_probs) == [1, 3, 4, 6, 7, 8, 10]
    assert build_splitter("low_prob", "0.9/3", str)(range(10), log_probs) == [4, 8, 10]
    with pytest.raises(ValueError, match="0 cut points are no step"):
        LowProbSplitter(0.9, 0)


BREAKS = ["\n", "\n\n", ".\n", ".\n\n"]


def line_tokens(pieces, min_step_tokens=1, max_steps=0):
    decode = lambda ids: "".join(pieces[i] for i in ids)  # noqa: E731
    return LineTokensSplitter(decode, min_step_tokens, max_steps)(range(len(pieces)))


@pytest.mark.parametrize(
    ("pieces", "least", "most", "ends"),
    [
        (["a", "\n", "b", "\n\n", "c", ".\n", "d", ".\n\n", "e"], 1, 0, [2, 4, 6, 8, 9]),  # the four kinds
        (["a", " \n", "b", "\n\n\n", "c", ":\n", "d.\n"], 1, 0, [7]),  # no other token ends a step
        (["\n", "a", "\n"], 1, 0, [3]),  # a break alone has no token before it; the last one ends the step
        # At least two tokens before the break; the last break ends a step however short, and so does the end.
        (["a", "\n", "b", "\n", "c", "c", "\n", "d", "\n", "e"], 2, 0, [4, 7, 9, 10]),
        (["a", "\n"], 30, 0, [2]),
        (["a", "b"], 30, 0, [2]),
        # At most three steps: what follows the second is one.
        (["a", "\n"] * 5, 1, 3, [2, 4, 10]),
        (["a", "\n"] * 3, 1, 3, [2, 4, 6]),
        ([], 1, 0, []),
    ],
)
def test_line_tokens_by_hand(pieces, least, most, ends):
    assert line_tokens(pieces, least, most) == ends


def test_line_tokens_have_bounds_of_their_own():
    pieces = ["a", "\n"] * 4
    decode = lambda ids: "".join(pieces[i] for i in ids)  # noqa: E731
    assert build_splitter("line_tokens", None, decode, 1, 2)(range(8)) == [2, 8]  # merged evenly: [4, 8]


def assert_lossless(codec, name, ids):
    splitter = build_splitter(name, OPTIONS.get(name), codec.decode)
    ends = splitter(ids, [-float(i % 3) for i in ids])
    assert all(a < b for a, b in zip([0, *ends], ends, strict=False))
    assert (ends[-1] if ends else 0) == len(ids)


@pytest.mark.parametrize("name", SPLITTERS)
@given(data=st.data())
def test_every_splitter_is_lossless_on_any_text(codec, name, data):
    text = data.draw(st.text(st.characters(codec="utf-8") | st.sampled_from(" \n\r.!?。`~a1")))
    assert_lossless(codec, name, codec.encode(text))


@pytest.mark.parametrize("name", SPLITTERS)
@given(data=st.data())
def test_every_splitter_is_lossless_on_any_ids(codec, name, data):
    assert_lossless(codec, name, data.draw(st.lists(st.integers(0, codec.size + 1))))


@pytest.mark.parametrize("codec_name", ["byte_level", "sentence_piece"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("newline", ["It's 3.14 🙂.\n", "今天。 Ok. y\n\n", "龘 end"]),
        ("paragraph", ["It's 3.14 🙂.\n今天。 Ok. y\n\n", "龘 end"]),
        ("sentence", ["It's 3.14 🙂.\n", "今天。 ", "Ok.", " y\n\n", "龘 end"]),
    ],
)
def test_steps_of_real_tokenizers_by_hand(codecs, codec_name, name, expected):
    codec = codecs[codec_name]
    ids = codec.encode("".join(expected))
    ends = build_splitter(name, None, codec.decode)(ids)
    # Decoded from the start: a SentencePiece step decoded alone has lost its first space.
    texts = [codec.decode(ids[:end]) for end in ends]
    assert texts == ["".join(expected[: k + 1]) for k in range(len(expected))]
