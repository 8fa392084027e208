"""The table, without injecting anything: its rows, its summary, and the page that shows it."""

import json
from pathlib import Path

import pytest

from scripts import faults
from tests.conftest import REPOSITORY
from tests.faults.harness import Ended
from tests.faults.table import Table

PAGE = REPOSITORY / "docs" / "reliability.md"


def test_rows_are_kept_whatever_becomes_of_their_fault(tmp_path):
    table = Table(tmp_path / "rows.jsonl")
    with table.row("a", "b") as row:
        row.seen, row.seconds = "fine", 2.5
    with pytest.raises(AssertionError, match="not so"), table.row("c", "d") as row:
        raise AssertionError("not so")
    with table.row("e", "f", keep_on=True) as row:
        row.seen, row.leftovers = "a process", ["python (7)"]
    with pytest.raises(ValueError), table.row("g", "h", keep_on=True):
        raise ValueError("the test itself is broken")
    assert [(row.fault, row.survived, row.seen) for row in table.rows] == [
        ("a", True, "fine"),
        ("c", False, "FAILED: not so"),
        ("e", False, "a process"),
        ("g", False, ""),
    ]
    assert [row.fault for row in table.failed()] == ["c", "e", "g"]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert faults.summary(rows) == "faults injected: 4, survived: 1, lost items: 0, leftovers: 1"
    assert faults.table(rows).splitlines()[2:4] == [
        "| a | b | fine | 2 | 0 | 0 |",
        "| c | d | **not kept**: FAILED: not so |  | 0 | 0 |",
    ]


def test_a_cell_is_one_cell():
    row = {"fault": "f", "promised": "p", "seen": "a | b\n  c", "survived": True, "seconds": None}
    assert faults.table([{**row, "lost": [], "leftovers": []}]).splitlines()[2] == "| f | p | a / b c |  | 0 | 0 |"


def test_a_fault_that_is_injected_again_replaces_its_row():
    old = [{"fault": name, "seen": 1} for name in "abc"]
    new = [{"fault": name, "seen": 2} for name in "db"]
    assert [(row["fault"], row["seen"]) for row in faults.merged(old, new)] == [("a", 1), ("b", 2), ("c", 1), ("d", 2)]


def test_lines_are_found_behind_the_prefix_of_the_worker():
    log = "\x1b[36m(TaskRunnerV1 pid=7)\x1b[0m verl_gpo: x has died\nverl_gpo: step 1\nx has died\n"
    assert Ended(1, log, 0.0).said("has died") == ["verl_gpo: x has died"]


def test_the_page_shows_the_committed_result(capsys):
    assert faults.main(["--show", str(faults.RESULT)]) == 0
    table, summary = capsys.readouterr().out.strip().split("\n\n")
    text = PAGE.read_text(encoding="utf-8")
    assert table in text and summary in text


def test_the_raw_result_says_what_it_is_of():
    rows = json.loads(Path(faults.RESULT).read_text(encoding="utf-8"))
    assert rows and all(row["fault"] and row["promised"] for row in rows)
