r"""The final answer in a response.

An answer stands in one of two kinds of places. A *mark* is a LaTeX box, ``<answer>`` tags or ``####``. A *statement* is
a line ``Answer: ...`` or a sentence "the answer is ...". `final_answer` returns what it finds there; `core` then
removes the words around the answer itself.

The time is linear in the length of the response: every repetition in these patterns is bounded, so none can backtrack
without end, whatever a model writes.
"""

from __future__ import annotations

import re

from ..data.boxes import LONGEST, last_answer

#: Number of characters at the end of a response that are read. Answers stand at the end.
TAIL = 20_000

# "#### Step 2" is a Markdown heading and no answer, so words after the hashes count only at the very end of a response.
_HASHES = re.compile(r"####[ \t]{0,8}([-+−$£€¥.\d\\(\[*{][^\n]*|[^\n]+(?=\s{0,20}\Z))")
# Marks of chat templates that a decoded response may still carry.
_END_OF_TURN = re.compile(r"<\|(?:im_end|im_start|eot_id|endoftext|end_of_text|end)\|>|</s>")
_TAG_OPEN, _TAG_CLOSE = "<answer>", "</answer>"

_KIND = r"(?:(?:final|correct|right|short|best|my)[ ]{1,2}){0,2}"
_LINE = re.compile(
    rf"^[ \t>*#_`-]{{0,12}}(?:(?:so|thus|hence|therefore|the|my)[ ,]{{1,2}}){{0,2}}{_KIND}answers?"
    r"(?:[ ]choice|[ ]option)?"
    r"[ ]{0,2}[*_`]{0,3}[ ]{0,2}(?:[:：=]|[-–—](?=[ ])|(?=\n))(?:[ \t_:：=]|\*(?![ ][a-z])){0,8}\n{0,3}",
    re.IGNORECASE | re.MULTILINE,
)
# "the answer to the question is", "the correct option would be". _LEAD below: what may stand before the answer itself.
_PHRASE = re.compile(
    r"\b(?:answers?|(?:final|correct|right|best)[ ](?:answer|option|choice|result|value|solution))"
    r"(?:[ ](?:choice|option|letter))?(?:[ ](?:to|for|of|in)[ ][a-z ]{1,40}?)??"
    r"(?:[ ]\([^()\n]{1,30}\)|,[ ]\w{1,12},)?[ ]{0,2}[*_]{0,3}[ ]{0,2}"
    r"(?:(?<![A-Za-z])(?:(?:is|are|was|equals|becomes)|(?:will|would|must|should|can only|has to)[ ]be"
    r"|(?:comes|works|turns)(?:[ ]out)?[ ](?:to(?:[ ]be)?))\b|[:：=])",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"[\s:：=*_→…]{1,8}|\.{2,4}\s|[–—]\s"
    r"|(?:therefore|thus|hence|then|so|simply|just|clearly|given by|equal to|exactly|indeed|now|about|around)\b"
    r"[ ,:]{0,3}|approximately\b[ ]?",
    re.IGNORECASE,
)
# A display formula or a block of code is one answer, even though it takes several lines.
_DISPLAY = re.compile(r"\s{0,3}(?:\$\$(.{1,600}?)\$\$|\\\[(.{1,600}?)\\\]|```\w{0,10}\n(.{1,600}?)```)", re.DOTALL)
# A list with an item on each line is one answer too.
_ITEMS = re.compile(
    r"(?:[ \t]{0,8}(?:[-*•]|\d{1,2}[.)])[ \t]{1,4}[^\n]{1,200}(?:\n|\Z)){2,40}|(?:[a-z&'-]{1,30}(?:\n|\Z)){2,40}\Z"
)
_TO_LINE_END = re.compile(r"[^\n]*")
# A full stop that ends a sentence. The one in 3.5 does not, nor do those in 9 a.m. and St. Louis.
_STOP = re.compile(r"(?<!\.[a-zA-Z])(?<!\b(?:St|Dr|Mr|Ms|No|vs))(?<!\b(?:Mrs|etc))\.(?=\s+[A-Z$\\(\[*\"“]|\s*$)")
_NUMBERED = re.compile(r"\s*1[.)]\s.{1,400}\s2[.)]\s")
_HOPE = re.compile(
    r"[\s.,;!]*\bI hope (?:it|this|that)(?: is|'s) (?:correct|right|helpful)\W*$|\s*\bI hope this helps\W*$"
)
# Markdown emphasis. One of its two halves may lie outside of the text that is read. 2**3 is a power and stays.
_BOLD = re.compile(r"(?<![\w)])\*\*|\*\*(?![\w(])|(?<!\w)__(?=\w)|(?<=\w)__(?!\w)|`")
# Text after "Answer:" that only announces an answer: "let's first compute ...".
_PROMISE = re.compile(
    r"(?:let(?:'|’)?s\b|let (?:us|me)\b|(?:first|to begin|in order to)\b"
    r"|to (?:find|solve|answer|determine|get|calculate)\b"
    r"|(?:we|i) (?:need|have to|must|will|can|know|should|first|start)\b|step \d|here(?:'|’)?s?\b|see above\b)"
    r"[^.]{8,}|see (?:above|below)\W*$",
    re.IGNORECASE,
)
# A sentence about the answer that does not state it: "the answer is right", "the answer is the sum of ...".
_ABOUT = re.compile(
    r"\W*(?:not|in|to|that|because|when|if|correct|right|wrong|incorrect|clear|unclear|unknown|obvious|found|based|reasonable"
    r"|within|also|only|hard|easy|still|verified|consistent|close|what|how|greater|less|more|always|never|positive|negative"
    r"|as follows|(?:a|an|the)\s+(?=[a-z]{2}))\b",
    re.IGNORECASE,
)


def _statement(text: str, start: int) -> str:
    """What is stated at ``start``: a list, a display formula, or the rest of the line up to the end of its sentence."""
    listed = _ITEMS.match(text, start + len(text[start : start + 4]) - len(text[start : start + 4].lstrip()))
    if listed:
        return listed[0]
    for _ in range(4):
        lead = _LEAD.match(text, start)
        if not lead:
            break
        start = lead.end()
    display = _DISPLAY.match(text, start)
    if display:
        return next(filter(None, display.groups())).strip()
    return sentence(_TO_LINE_END.match(text, start)[0][:LONGEST])


def sentence(text: str) -> str:
    """The first sentence of a text, without a leading "the answer is" and without Markdown emphasis.

    >>> sentence("So the answer is **3.5**. It follows that ...")
    '3.5'
    """
    text = _BOLD.sub("", _HOPE.sub("", text))
    nested = _PHRASE.search(text, 0, 120)
    if nested and re.fullmatch(r"[A-Za-z ,]*", text[: nested.start()]):
        return _statement(text[nested.end() :], 0)
    stop = None if _NUMBERED.match(text) else _STOP.search(text)
    return (text[: stop.start()] if stop else text).strip()


def _stated(text: str, *, after_mark: bool = False) -> tuple[int, str]:
    """Start and content of the last statement; (-1, "") if there is none.

    Args:
        after_mark: the text comes after a mark, so only a line ``Answer: ...`` or a "*final* answer" may replace it.
    """
    lines = [(match.start(), _statement(text, match.end())) for match in list(_LINE.finditer(text))[-8:]]
    lines = [(start, said) for start, said in lines if said and not _PROMISE.match(said)]
    found = [(match, _statement(text, match.end())) for match in list(_PHRASE.finditer(text))[-8:]]
    if after_mark:
        found = [
            (match, said) for match, said in found if "final answer" in match[0].casefold() and not _ABOUT.match(said)
        ]
    plain = [(match.start(), said) for match, said in found if said and not _ABOUT.match(said)]
    # A sentence about the answer counts only if there is nothing else: "the answer is a noble gas" may name an option.
    other = [(match.start(), said) for match, said in found if said and "answer" in match[0].casefold()]
    return max(lines + plain or other or [(-1, "")], key=lambda item: item[0])


def _marked(text: str) -> tuple[int, str]:
    """Start and content of the last mark; (-1, "") if there is none."""
    found = [last_answer(text)]
    opened = text.rfind(_TAG_OPEN)
    if opened >= 0:
        closed = text.find(_TAG_CLOSE, opened)
        inside = text[opened + len(_TAG_OPEN) : closed] if closed >= 0 else ""
        if found[0][0] > opened and (closed < 0 or found[0][0] < closed):
            found.pop(0)  # the box inside the tags is read below
        found.append((opened, last_answer(inside)[1] or inside))
    hashes = list(_HASHES.finditer(text))
    if hashes:
        found.append((hashes[-1].start(), _statement(hashes[-1][1], 0)))
    return max(found, key=lambda item: item[0])


def _clean(answer: str) -> str:
    """The answer without Markdown emphasis, quotation marks and the full stop around it."""
    answer = answer.strip().strip("*`").strip()
    if answer.startswith("__") and answer.endswith("__"):
        answer = answer.strip("_")
    if len(answer) > 1 and answer[0] + answer[-1] in ('""', "“”"):
        answer = answer[1:-1]
    return answer.removesuffix(".").strip()


def after_reasoning(text: str) -> str:
    """The part of a response after ``</think>`` and before the end of the turn; "" if the reasoning was cut off.

    >>> after_reasoning("<think>6 * 7?</think>It is 42<|im_end|>"), after_reasoning("<think>6 * 7 is")
    ('It is 42', '')
    """
    ended = _END_OF_TURN.search(text, max(len(text) - TAIL, 1))
    text = text[: ended.start()] if ended else text
    opened, closed = text.rfind("<think>"), text.rfind("</think>")
    if opened > closed:
        return ""
    return text[closed + len("</think>") :] if closed >= 0 else text


def final_answer(response: str, *, raw: bool = False) -> str:
    r"""The last answer that a response gives, "" if it gives none.

    The last mark counts, even if it is empty or cut off, so that an earlier guess never replaces it. A line ``Answer:
    ...`` after the last mark replaces it. Without any mark, the last line ``Answer: ...`` or sentence "the answer is
    ..." counts.

    Args:
        response: the decoded response; of a long one the last `TAIL` characters are read.
        raw: keep every character except white space at the ends, for answers that are drawn with characters.

    >>> final_answer("Final Answer: The final answer is 42. I hope it is correct.")
    '42'
    >>> final_answer(r"First \boxed{6}, no: \boxed{7}")
    '7'
    """
    text = after_reasoning(response)[-TAIL:]
    start, answer = _marked(text)
    later = text[start + 1 :] if start >= 0 else text
    answer = _stated(later, after_mark=start >= 0)[1] or answer
    if len(answer) > LONGEST:
        return ""
    return answer.strip() if raw else _clean(answer)


# A clause after an answer that gives a reason or describes it: "42, which is 6 times 7".
_CLAUSE = re.compile(
    r"\s*(?:[,;:]\s*|\s[-–—]\s|\s)(?:because|since|which|where|whereas"
    r"|as (?:it|this|that|the|they|we|desired|required|expected|needed|shown|claimed|stated|above)\b"
    r"|and (?:we|I|so|thus)\b|\((?:since|because|as|which|where|from|when|rounded)\b|(?<=; )[a-z]+\s[a-z]+\b"
    r"|so (?:that|we|the)\b|due to|given that|for (?:which|all)\b|i\.?e\.|that is|(?<=[,;:] )(?:hence|therefore|thus)\b"
    r"|meaning|making|not\b).*$",
    re.IGNORECASE | re.DOTALL,
)
# Words before an answer: "The value is 42" has words, a verb, and then something that looks like an answer.
_WORDS_BEFORE = re.compile(
    r"(?=[A-Za-z(])(?:[A-Za-z$\\][^\n]{0,200}?\s)?(?:is|are|was|were|equals|be|get|have|gives|has"
    r"|(?:evaluates|simplifies|reduces|comes|sums|adds up) to)"
    r"(?:\s(?:exactly|simply|now|therefore|thus|hence|then|also|just|about|approximately|equal to)){0,2}:?\s+"
    r"(?=(?:[-+−$£€¥.]{0,2}\d|[\\$(\[{]|[a-z]\s?=|(?:yes|no|true|false|valid|invalid)\W*$|\(?[A-Z]\)?\W*$))",
    re.IGNORECASE,
)


def core(answer: str) -> str:
    """An answer without the words before it and the clause after it. For answers that are not texts themselves.

    >>> core("The value is 42, which is 6 times 7")
    '42'
    """
    shorter = _CLAUSE.sub("", answer) if answer[:1] else answer
    for _ in range(3):
        match = _WORDS_BEFORE.match(shorter)
        if not match or re.match(r"\(?[A-Z]\)?\s", shorter):  # "B is ..." names an option
            break
        shorter = shorter[match.end() :]
    return _clean(shorter) or answer


def last_line(response: str) -> str:
    """The last line of a response that is not empty.

    It is read for answers that can be recognised without a mark, such as a letter, yes or no.
    """
    lines = after_reasoning(response)[-TAIL:].split("\n")
    return next((_clean(line) for line in reversed(lines) if line.strip()), "")[:LONGEST]
