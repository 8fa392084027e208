"""Which lines are wrong and of which kind, by hand, and how that is compared with the values between them."""

import json
import re

import pytest

from recipes.smollm2.errors import KINDS, asked, compare, judge, judged_steps, main, table
from tests.conftest import REPOSITORY
from verl_gpo.calibrate.pool import PooledResponse

ANIMALS = {"cat": 4, "spider": 8, "sea slug": 0, "bee": 6, "grasshopper": 6}
QUESTION = "Now, how many legs are there in total if you have 3 sea slugs, 2 cats, 11 spiders?"
RIGHT = [
    "sea slug: 0 legs, 3 x 0 = 0, total 0",
    "cat: 4 legs, 2 x 4 = 8, total 8",
    "spider: 8 legs, 11 x 8 = 88, total 96",
    "Answer: 96",
]


def test_animals_of_a_question():
    assert asked(QUESTION, ANIMALS) == {"sea slug": 3, "cat": 2, "spider": 11}


def test_a_right_solution_has_no_error():
    assert judge(QUESTION, RIGHT, ANIMALS) == [None] * 4


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        (1, "cat: 5 legs, 2 x 5 = 10, total 10", [None, "knowledge", "sum", None]),
        (1, "cat: 4 legs, 3 x 4 = 12, total 12", [None, "copy", "sum", None]),  # 3 cats
        (1, "cat: 4 legs, 2 x 5 = 10, total 10", [None, "copy", "sum", None]),  # of its own 4 legs
        (1, "bee: 6 legs, 2 x 6 = 12, total 12", [None, "copy", "sum", "answer"]),  # no bees
        (2, "cat: 4 legs, 2 x 4 = 8, total 16", [None, None, "copy", "answer"]),  # counted twice, and no spiders
        (2, "spider: 8 legs, 11 x 8 = 80, total 88", [None, None, "product", "answer"]),
        (2, "spider: 8 legs, 11 x 8 = 88, total 98", [None, None, "sum", "answer"]),
        (3, "Answer: 69", [None, None, None, "answer"]),
        (2, "and the spiders", [None, None, "form", "answer"]),
    ],
)
def test_an_error_is_where_it_was_made(line, text, expected):
    assert judge(QUESTION, [*RIGHT[:line], text, *RIGHT[line + 1 :]], ANIMALS) == expected
    assert {kind for kind in expected if kind} <= set(KINDS)


def test_a_line_that_carries_a_wrong_total_on_is_right():
    lines = [RIGHT[0], "cat: 4 legs, 2 x 4 = 8, total 10", "spider: 8 legs, 11 x 8 = 88, total 98", "Answer: 98"]
    assert judge(QUESTION, lines, ANIMALS) == [None, "sum", None, None]


def test_a_step_of_several_lines_has_its_first_error():
    steps = [f"{RIGHT[0]}\ncat: 4 legs, 2 x 4 = 9, total 9\n\n", "spider: 8 legs, 11 x 8 = 88, total 97\nAnswer: 97\n"]
    assert judged_steps(QUESTION, [*steps, "\n"], ANIMALS) == ["product", None, None]


def pooled(values, reward):
    """A response of steps of two tokens, with 40 continuations a state that succeed as often as ``values`` say."""
    draws = [[(2, float(n < 40 * value)) for n in range(40)] for value in values]
    steps = len(values)
    return PooledResponse(
        prompt=0,
        token_ids=tuple(range(2 * steps)),
        log_probs=None,
        ends=tuple(range(2, 2 * steps + 1, 2)),
        reward=reward,
        group_rewards=(reward, *(one for _, one in draws[0])),
        group_tokens=(2 * steps,) * 41,
        draws=tuple(tuple(one) for one in draws[1:]),
        response_length=4 * steps,
    )


def test_the_step_that_loses_the_value_is_compared_with_the_lines():
    # V = .5 .5 0 | 0: step 1 loses it. The second response never had a chance: no step of it is decisive.
    responses = [pooled((0.5, 0.5, 0.0), 0.0), pooled((0.0, 0.0, 0.0), 0.0)]
    found = compare(responses, [[None, "sum", "answer"], ["product", None, "answer"]])
    assert (found["responses"], found["solved"], found["with_error"]) == (2, 0, 2)
    assert found["lines"] == {"right": 2, "sum": 1, "answer": 2, "product": 1}
    assert found["argmin"]["decisive"] == pytest.approx(1.0, abs=0.05)
    assert found["argmin"]["critical"]["sum"] > 0.95 and found["argmin"]["first_error"] > 0.95
    other = compare(responses[:1], [["copy", None, "answer"]])["argmin"]
    assert other["critical"]["right"] > 0.95 and other["first_error"] < 0.05
    text = table(found)
    assert max(map(len, text.splitlines())) <= 100 and "2 responses, 0 right, 2 with a wrong line" in text


def test_the_tables_of_the_readme_are_the_raw_results():
    readme = (REPOSITORY / "recipes" / "smollm2" / "README.md").read_text()
    results = REPOSITORY / "scripts" / "results"
    rows = json.loads((results / "smollm2_calibration.json").read_text())["rows"]
    written = re.findall(r"^\| `(\S+?)(?: (\w+)=(\d+))?` \|(.*)\|$", readme, re.MULTILINE)
    shown = 0
    for name, key, value, cells in written:
        cells = [cell.strip() for cell in cells.split("|")]
        if len(cells) != 6:  # another table
            continue
        for rule, (hits, alarms, tokens) in zip(("argmax", "abs"), (cells[:3], cells[3:]), strict=True):
            if hits:
                own = name.removeprefix("preset=")
                (row,) = (
                    row
                    for row in rows
                    if row["rule"] == rule
                    and own in (row["settings"].get("search"), row["settings"].get("preset"))
                    and (not key or row["settings"][key] == int(value))
                )
                assert hits == f"{row['hit_rate']:.2f} [{row['hit_low']:.2f}, {row['hit_high']:.2f}]"
                assert (alarms, tokens) == (f"{row['false_alarms']:.2f}", f"{row['tokens']:,.0f}")
                shown += 1
    assert shown == 18
    found = json.loads((results / "smollm2_errors.json").read_text())
    for kind in ("right", "copy", "product", "sum", "answer"):
        share = found["lines"].get(kind, 0) / sum(found["lines"].values())
        critical = [found[rule]["critical"].get(kind, 0.0) for rule in ("argmin", "abs")]
        assert f"| {kind} | {share:.0%} | {critical[0]:.0%} | {critical[1]:.0%} |" in readme


def test_an_empty_pool_is_named(tmp_path, capsys):
    assert main(["--pool", str(tmp_path), "--data", "d", "--model", "m"]) == 1
    assert capsys.readouterr().err == f"--pool={tmp_path}: holds no pool.jsonl with a response\n"
