"""Which lines of a solution to ``leg_counting`` are wrong, and whether the critical step is one of them.

    python -m recipes.smollm2.errors --pool calibration --data DATA/train.parquet --model DATA/model

judges every line of the responses that ``verl_gpo.calibrate`` has drawn into ``calibration/pool.jsonl``, from the
question alone: nothing was put wrong on purpose, the errors are the model's own. It then compares the lines with the
reference values of the states between them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verl_gpo.calibrate.pool import PooledResponse, read_pool
from verl_gpo.calibrate.truth import Truth, posterior

#: What can be wrong with a line, in the order in which it is looked for. A line has the first that applies.
KINDS = {
    "copy": "an animal or a number is not that of the question, or not that of the line itself",
    "knowledge": "the animal has another number of legs",
    "product": "the product is another number",
    "sum": "the running total is another number",
    "answer": "the answer is not the last running total, or an animal of the question is missing",
    "form": "the line is none of a solution",
}
_LINE = re.compile(
    r"^(?P<animal>[a-z ]+): (?P<legs>\d+) legs?, (?P<n>\d+) x (?P<each>\d+) = (?P<product>\d+), total (?P<total>\d+)$"
)
_ANSWER = re.compile(r"^Answer: *(?P<answer>\d+)$")
_ASKED = re.compile(r"(\d+) ([a-z ]+?)(?=[,?])")


def asked(question: str, animals: Mapping[str, int]) -> dict[str, int]:
    """The animals of a question and their number; ``animals`` are the names that reasoning-gym knows."""
    _, found, tail = question.partition("if you have ")
    counts = {}
    for number, plural in _ASKED.findall(tail if found else question):
        name = plural if plural in animals else plural.removesuffix("s")
        counts[name] = int(number)
    return counts


def judge(question: str, lines: Sequence[str], animals: Mapping[str, int]) -> list[str | None]:
    """The kind of error of each line, None where it is right given the lines before it.

    A line that carries on a wrong total correctly is right: the error is where it was made.

    Example:
        After ``cat: 4 legs, 2 x 4 = 8, total 8`` the line ``spider: 8 legs, 11 x 8 = 88, total 98`` is a ``sum``.
    """
    counts, total, done, found = asked(question, animals), 0, set(), []
    for line in lines:
        answer = _ANSWER.match(line.strip())
        if answer:
            found.append(None if int(answer["answer"]) == total and done == set(counts) else "answer")
            continue
        parts = _LINE.match(line.strip())
        if parts is None:
            found.append("form")
            continue
        animal, number, legs = parts["animal"], int(parts["n"]), int(parts["legs"])
        product, new = int(parts["product"]), int(parts["total"])
        if counts.get(animal) != number or animal in done or int(parts["each"]) != legs:
            found.append("copy")
        elif legs != animals[animal]:
            found.append("knowledge")
        elif number * legs != product:
            found.append("product")
        else:
            found.append(None if total + product == new else "sum")
        done.add(animal)
        total = new
    return found


def judged_steps(question: str, steps: Sequence[str], animals: Mapping[str, int]) -> list[str | None]:
    """As :func:`judge`, for steps of one or more lines; a step has the first error of its lines."""
    lines = [(number, line) for number, step in enumerate(steps) for line in step.split("\n") if line.strip()]
    kinds = judge(question, [line for _, line in lines], animals)
    first: dict[int, str | None] = {}
    for (number, _), kind in zip(lines, kinds, strict=True):
        first[number] = first.get(number) or kind
    return [first.get(number) for number in range(len(steps))]


def compare(
    responses: Sequence[PooledResponse], kinds: Sequence[Sequence[str | None]], decisive: float = 0.2
) -> dict[str, Any]:
    """How often the critical step is a line with an error.

    Each response counts by the probability that it is decisive (:mod:`verl_gpo.calibrate.truth`), and each of its
    steps by the probability that it is the most important one.

    Returns:
        Counts of lines by kind, and for ``argmin`` (the step that loses most) and ``abs`` the expected number of
        decisive responses and the share of their critical steps by kind.
    """
    lines = Counter(kind or "right" for one in kinds for kind in one)
    result: dict[str, Any] = {
        "responses": len(responses),
        "solved": sum(response.reward > 0.5 for response in responses),
        "with_error": sum(any(one) for one in kinds),
        "lines": dict(lines),
    }
    for rule in ("argmin", "abs"):
        weights: Counter[str] = Counter()
        first = total = 0.0
        for response, one in zip(responses, kinds, strict=True):
            truth = Truth(posterior(response.ends, response.reward, response.rewards))
            hit_K = truth.hit_K(rule, decisive, 0.0)
            if hit_K.sum() == 0.0:
                continue
            shares_K = truth.decisive(rule, decisive) * hit_K / hit_K.sum()
            total += float(shares_K.sum())
            errors = [k for k, kind in enumerate(one) if kind]
            first += float(shares_K[errors[0]]) if errors else 0.0
            for kind, share in zip(one, shares_K, strict=True):
                weights[kind or "right"] += float(share)
        shares = {kind: weight / total for kind, weight in weights.items()} if total else {}
        result[rule] = {"decisive": total, "critical": shares, "first_error": first / total if total else None}
    return result


def table(result: Mapping[str, Any]) -> str:
    lines = [
        f"{result['responses']} responses, {result['solved']} right, {result['with_error']} with a wrong line",
        f"{'':<28}{'lines':>8}{'argmin':>10}{'abs':>8}",
    ]
    count = sum(result["lines"].values())
    rules = [result[rule] for rule in ("argmin", "abs")]
    for kind in ("right", *KINDS):
        shares = [rule["critical"].get(kind, 0.0) for rule in rules]
        lines.append(f"{kind:<28}{result['lines'].get(kind, 0) / count:>8.0%}{shares[0]:>10.0%}{shares[1]:>8.0%}")
    wrong = [1.0 - rule["critical"].get("right", 0.0) if rule["critical"] else float("nan") for rule in rules]
    lines.append(f"{'critical step has an error':<28}{'':>8}{wrong[0]:>10.0%}{wrong[1]:>8.0%}")
    firsts = [rule["first_error"] if rule["first_error"] is not None else float("nan") for rule in rules]
    lines.append(f"{'and it is the first one':<28}{'':>8}{firsts[0]:>10.0%}{firsts[1]:>8.0%}")
    lines.append(f"{'decisive responses':<28}{'':>8}{rules[0]['decisive']:>10.1f}{rules[1]['decisive']:>8.1f}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True, help="folder that verl_gpo.calibrate wrote")
    parser.add_argument("--data", type=Path, required=True, help="the parquet file that it read")
    parser.add_argument("--model", required=True, help="whose tokenizer decodes the responses")
    parser.add_argument("--decisive", type=float, default=0.2, help="importance from which a step is decisive")
    parser.add_argument("--out", type=Path, help="write the result to this JSON file as well")
    args = parser.parse_args(argv)
    responses = read_pool(args.pool / "pool.jsonl")
    if not responses:
        print(f"--pool={args.pool}: holds no pool.jsonl with a response", file=sys.stderr)
        return 1
    import pandas
    from reasoning_gym.arithmetic.leg_counting import ANIMALS
    from transformers import AutoTokenizer

    rows, tokenizer = pandas.read_parquet(args.data), AutoTokenizer.from_pretrained(args.model)
    kinds = []
    for response in responses:
        question = rows["prompt"].iloc[response.prompt][-1]["content"]
        starts = (0, *response.ends[:-1])
        spans = zip(starts, response.ends, strict=True)
        steps = [tokenizer.decode(response.token_ids[a:b], skip_special_tokens=True) for a, b in spans]
        kinds.append(judged_steps(question, steps, ANIMALS))
    result = compare(responses, kinds, args.decisive)
    print(table(result))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
