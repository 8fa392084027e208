"""What docs/report.md states that the code knows better."""

import json
import re

import pytest

from scripts import bench_report, bench_traces
from tests.conftest import REPOSITORY
from tests.traces.test_step_line import FULL
from verl_gpo.config import GPOConfig
from verl_gpo.plugin.observe import trackers
from verl_gpo.report.command_line import parse
from verl_gpo.traces.reader import _numbers
from verl_gpo.traces.record import SCHEMA_VERSION, schema_table
from verl_gpo.traces.step_line import step_line

PAGE = (REPOSITORY / "docs" / "report.md").read_text(encoding="utf-8")
RESULTS = REPOSITORY / "scripts" / "results"


def test_the_schema_is_the_generated_one():
    assert schema_table() in PAGE and f"### Schema, version {SCHEMA_VERSION}" in PAGE


@pytest.mark.parametrize("module", [bench_report, bench_traces])
def test_costs_are_those_of_the_committed_benchmarks(module):
    name = module.__name__.rpartition(".")[2]
    assert module.markdown(json.loads((RESULTS / f"{name}.json").read_text())) in PAGE


def test_the_promises_hold_in_the_committed_benchmarks():
    report = json.loads((RESULTS / "bench_report.json").read_text())
    assert report["trajectories"] >= 2000 and max(report["seconds_to_open"].values()) < 2
    traces = json.loads((RESULTS / "bench_traces.json").read_text())
    assert traces["share_of_a_step_if_nothing_overlapped"] < 0.01


def test_the_line_of_a_step_is_what_is_printed():
    assert f"\n{step_line(7, FULL)}\n" in PAGE


def test_commands_and_options_exist(capsys):
    for command in ([], ["show"], ["inspect"]):
        with pytest.raises(SystemExit):
            parse([*command, "--help"])
    known = capsys.readouterr().out
    for option in set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", PAGE)) - {"--log", "--metrics", "--steps"}:
        assert option in known, option


def test_settings_columns_and_names_exist():
    for name in re.findall(r"`(trace_\w+)`", PAGE):
        assert name == "trace_frame" or hasattr(GPOConfig, name)
    for name in (*trackers.COLUMNS, trackers.HISTOGRAM, trackers.TABLE, *trackers.TRACKERS):
        assert name in PAGE
    row = {
        "critical": None,
        "states": [],
        "steps": [],
        "usage": {p: {"tokens": 0, "seconds": 0} for p in ("value", "reentry")},
    }
    assert all(f"`{column}`" in PAGE for column in (*_numbers(row), "solved", "reentered"))
