"""The final answer in a response. Linear in its length: no pattern here can backtrack without bound."""

from __future__ import annotations

import re

#: Characters at the end of a response that are read; an answer is at the end.
TAIL = 20_000
#: Longer answers are no answers.
LONGEST = 2_000

_BOX = re.compile(r"\\f?box(?:ed)?[ ]{0,3}(?:\{|(?<= )(?=[^\s{]))")
# A Markdown heading is no answer: words count at the very end only.
_HASHES = re.compile(r"####[ \t]{0,8}([-+$£€.\d\\(\[][^\n]*|[^\n]+(?=\s{0,20}\Z))")
_LINE = re.compile(
    r"^[ \t>*#_-]{0,12}(?:the[ ])?(?:final[ ]|correct[ ])?answer[ ]?[*_]{0,2}[ ]{0,2}[:=][ \t*_]{0,8}\n{0,3}([^\n]+)",
    re.IGNORECASE | re.MULTILINE,
)
_TAG_OPEN, _TAG_CLOSE = "<answer>", "</answer>"
# Ends at a full stop that ends a sentence: 3.5 goes on.
_PHRASE = re.compile(
    r"\banswer(?: choice| option)?(?: is| are|:)\s{0,3}([^\n]{1,300}?)(?:\.(?=\s|$)|\n|$)", re.IGNORECASE
)
# Between two boxes that give one answer together: "\boxed{1} and \boxed{2}".
_JOIN = re.compile(r"[\s$]{0,8}(?:,[\s$]{0,8}(?:(?:and|or)\b)?|(?:\\text\{)?\s{0,3}(?:and|or)\s{0,3}\}?)[\s$]{0,8}")


def _closing(text: str, opening: int) -> int:
    """Where the brace that opens at ``opening`` is closed; -1 if it is not, or not within `LONGEST` characters."""
    depth = 0
    for position in range(opening, min(len(text), opening + LONGEST)):
        character = text[position]
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return position
    return -1


def _boxes(text: str) -> tuple[int, str]:
    """Start and content of the last box (with those it is joined to); (-1, "") without one."""
    starts = list(_BOX.finditer(text))
    if not starts:
        return -1, ""
    spans: list[tuple[int, int, str]] = []
    # The last few are enough, and a text of ten thousand boxes stays cheap.
    for match in starts[-8:]:
        if text[match.end() - 1] == "{":
            end = _closing(text, match.end() - 1)
            spans.append((match.start(), end + 1, text[match.end() : end] if end >= 0 else ""))
        else:  # \boxed 5
            word = re.compile(r"[^\s$]{1,200}").match(text, match.end())
            spans.append((match.start(), word.end(), word[0].rstrip(".")) if word else (match.start(), 0, ""))
    start, _, content = spans[-1]
    if not content.strip():  # cut off: an earlier box does not stand in for it
        return start, ""
    parts = [content]
    for (_, end, earlier), (later, _, _) in zip(reversed(spans[:-1]), reversed(spans[1:]), strict=True):
        if not earlier.strip() or end > later or later - end > 30 or not _JOIN.fullmatch(text, end, later):
            break
        parts.insert(0, earlier)
    return start, ",".join(parts)


def _clean(answer: str) -> str:
    """Without Markdown emphasis, quotation marks and the full stop around it."""
    answer = answer.strip().strip("*`").strip()
    if answer.startswith("__") and answer.endswith("__"):
        answer = answer.strip("_")
    if answer.startswith('"') and answer.endswith('"'):
        answer = answer[1:-1]
    return answer.removesuffix(".").strip()


def after_reasoning(text: str) -> str:
    """The part after ``</think>``; nothing if the reasoning was cut off; everything if there is none."""
    opened, closed = text.rfind("<think>"), text.rfind("</think>")
    if opened > closed:
        return ""
    return text[closed + len("</think>") :] if closed >= 0 else text


def final_answer(response: str, *, raw: bool = False) -> str:
    r"""The answer that a response commits to, "" if there is none.

    Of ``<answer>...</answer>``, ``\boxed{...}``, ``#### ...`` and a line ``Answer: ...`` the last one counts, also if
    it is empty or cut off: an earlier guess never stands in for it. Without any, the last "answer is ..." counts.

    Args:
        raw: keep every character but white space at the ends; the answer may be a picture made of text.
    """
    text = after_reasoning(response)[-TAIL:]
    found = [_boxes(text)]
    opened = text.rfind(_TAG_OPEN)
    if opened >= 0:
        closed = text.find(_TAG_CLOSE, opened)
        inside = text[opened + len(_TAG_OPEN) : closed] if closed >= 0 else ""
        found.append((opened, _boxes(inside)[1] or inside))
        if found[0][0] > opened and (closed < 0 or found[0][0] < closed):
            found.pop(0)  # the box inside the tags was read above
    for pattern in (_HASHES, _LINE):
        matches = list(pattern.finditer(text))
        if matches:
            found.append((matches[-1].start(), matches[-1][1]))
    start, answer = max(found, key=lambda item: item[0])
    if start < 0:
        for match in _PHRASE.finditer(text):
            answer = match[1]
    if len(answer) > LONGEST:
        return ""
    return answer.strip() if raw else _clean(answer)


def last_line(response: str) -> str:
    """The last line that is not empty, for answers that are recognised by themselves (a letter, yes or no)."""
    lines = after_reasoning(response)[-TAIL:].split("\n")
    return next((_clean(line) for line in reversed(lines) if line.strip()), "")[:LONGEST]
