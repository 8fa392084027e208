r"""The final answer of a published solution, which may have several boxes.

Most solutions have one box. If there are several different ones, the text says what they are: values that the question
asks for together, answers that are all accepted, one value in two forms, or a step before the last box.
"""

from __future__ import annotations

import json
import re

from .boxes import boxes

# "Enter all the solutions, separated by commas." asks for all, "Enter only one of the foci, not both." for one.
_ALL = re.compile(
    r"separated by (?:a )?comma|\b(?:find|enter|list|give|determine|what are|compute)\b[^.?]{0,60}\ball\b"
    r"|\ball (?:the )?(?:possible |real |complex |integer |positive |ordered )*"
    r"(?:values|solutions|roots|pairs|triples)\b",
    re.IGNORECASE,
)
_ONE = re.compile(r"\bnot both\b|\b(?:only )?one of the\b|\beither of the\b", re.IGNORECASE)
_ACCEPTED = re.compile(
    r"\b(?:also|either|any|both|each)\b[^.]{0,60}\b(?:accept(?:ed|able)|correct|allowed|valid)\b", re.IGNORECASE
)
_PLACEHOLDER = re.compile(r"\\(?:h|v)?phantom|^\s*(?:\\quad|\\,|_|\?)*\s*$")
_SAME = re.compile(r"\\[dt]frac|\\[,;:! ]|[\s{}]")


def alternatives(values: list[str]) -> str:
    """A ground truth with several right answers, in the form that the graders read: the JSON text of a list."""
    return values[0] if len(values) == 1 else json.dumps(values, ensure_ascii=False)


def final_answer(question: str, solution: str) -> str | None:
    r"""The ground truth that a solution gives.

    Args:
        question: the text of the problem.
        solution: the published solution.

    Returns:
        The content of the last box; None if there is no box, or if the last one is empty. If there are several
        different boxes: ``first,second`` if the question asks for all of them, and the JSON list ``["first",
        "second"]`` if the solution says that each is accepted.

    >>> final_answer("Find all roots.", r"They are $\boxed{-2}$ and $\boxed{1}$.")
    '-2,1'
    >>> final_answer("What is it?", r"It is $\boxed{3}$. Note: $\boxed{-3}$ is also accepted.")
    '["3", "-3"]'
    """
    found = boxes(solution)
    if not found or not found[-1].content:
        return None
    found = [box for box in found if not _PLACEHOLDER.search(box.content)]
    if not found:
        return None
    different: dict[str, str] = {}
    for box in found:
        different.setdefault(_SAME.sub(lambda m: "\\frac" if "frac" in m[0] else "", box.content), box.content)
    values = list(different.values())
    if len(values) == 1:
        return found[-1].content
    if _ACCEPTED.search(solution[found[0].end :]) or _ONE.search(question):
        return alternatives(values)
    if _ALL.search(question):
        return ",".join(values)
    # The boxes before the last are steps, or the same value in another form after "or" or "=".
    return found[-1].content
