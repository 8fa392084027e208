"""The plan on the terminal: tables of numbers made by hand."""

import io

import pytest
from rich.console import Console

from verl_gpo.config import GPOConfig
from verl_gpo.core.cost import expected_cost
from verl_gpo.plan.memory import GIB
from verl_gpo.plan.show import _gib, _verdict, cost_table, notes, pairs, print_plan, run_table, twins_table
from verl_gpo.plan.twin import Twin


def printed(*tables, said=()):
    out = io.StringIO()
    print_plan(Console(file=out, width=160), tables, said)
    return out.getvalue()


def test_labels_and_values_are_lines():
    text = printed(pairs("Title", [("one", "1"), ("two", "[2]")]), said=["a [b]"])
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    assert lines[:2] == ["Title", "one 1"] and lines[-2:] == ["Assumed, and noticed", "- a [b]"]


def test_costs_of_settings_stand_in_a_row_each():
    cost = expected_cost(GPOConfig(), 8, 1000.0, 8)
    text = printed(cost_table({"paper": cost}))
    (line,) = [line for line in text.splitlines() if "paper" in line]
    cells = [cell.strip() for cell in line.strip("│┃ ").split("│")]
    # Eight roots of 1,000 tokens; seven states, four times, of 500 on average.
    assert cells[:3] == ["paper", "8,000", "14,000"] and cells[4] == f"{cost.multiple:.2f}"


@pytest.mark.parametrize(
    ("size", "verdict"),
    [(70 * GIB, ""), (72 * GIB, ""), (75 * GIB, ": tight"), (80 * GIB, ": tight"), (81 * GIB, ": does not fit")],
)
def test_whether_it_fits(size, verdict):
    assert _verdict(size, 80.0) == verdict


def test_sizes_in_gib():
    assert _gib(1.5 * GIB) == "1.5 GiB"


def test_what_the_numbers_are_of(configured):
    text = " ".join(printed(run_table(configured("trainer.n_gpus_per_node=4"), GPOConfig(), None)).split())
    assert "size unknown, all weights" in text and "gpo, search=uniform, preset=paper" in text
    assert "GPUs 4: 4 ranks, 4 engines of 1 GPUs" in text
    plain = " ".join(printed(run_table(configured(), GPOConfig(enable=False), None)).split())
    assert "plain: no search, no re-entry" in plain


def test_a_twin_without_overrides_says_so():
    twins = [Twin("plain", ("a=1", "b=2"), 1.0, None), Twin("random", (), 1.0, None)]
    text = " ".join(printed(twins_table(twins)).split())
    assert "METHOD=plain a=1 b=2" in text and "METHOD=random nothing to change" in text


def test_what_is_noticed(configured):
    gpo = GPOConfig(search="propose")
    said = notes(configured(), gpo, None, ["x=1: no such key"], [("data.train_files", "/data/gsm8k/train.parquet")])
    assert said[0] == "without effect: x=1: no such key"
    assert any(line.startswith("search=propose stops early") for line in said)
    assert any("memory: not estimated" in line for line in said)
    assert said[-1] == (
        "not here: /data/gsm8k/train.parquet (data.train_files); python -m verl_gpo.data.prepare --dataset gsm8k "
        "--out /data/gsm8k"
    )
    unknown = notes(configured(), gpo, None, [], [("data.train_files", "/data/mine/train.parquet")])
    assert unknown[-1] == "not here: /data/mine/train.parquet (data.train_files)"
