"""What docs/evaluation.md states that the code knows better."""

import contextlib
import re

import yaml

from tests.conftest import REPOSITORY
from verl_gpo import statistics
from verl_gpo.evaluation import protocol
from verl_gpo.evaluation.__main__ import main

PAGE = (REPOSITORY / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_the_protocol_is_the_generated_one():
    assert protocol.reference_table() in PAGE
    said = f"Temperature {protocol.TEMPERATURE}, top-p {protocol.TOP_P} and up to {protocol.MAX_TOKENS:,} tokens"
    assert said in PAGE
    assert f"{statistics.DRAWS:,} resamples" in PAGE and f"exact up to {statistics.EXACT} that are not 0" in PAGE


def test_options_exist(capsys):
    for command in (["--help"], ["compare", "--help"]):
        with contextlib.suppress(SystemExit):
            main(command)
    known = capsys.readouterr().out
    theirs = PAGE.partition("## With lm-evaluation-harness")[0]
    for option in set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", theirs)) - {"--dataset", "--template"}:
        assert option in known, option


def test_the_task_for_lm_evaluation_harness_grades_what_prepare_writes(sums):
    import pyarrow.parquet as pq

    block = re.search(r"```python\n(# grader.py.*?)```", PAGE, re.DOTALL)[1]
    names = {}
    exec(block, names)
    row = pq.read_table(sums).to_pylist()[0]
    assert names["process_results"](row, ["#### 12"]) == {"acc": 1.0}
    assert names["process_results"](row, ["#### 13"]) == {"acc": 0.0}
    task = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1].replace("!function", "")
    assert yaml.safe_load(task)["process_results"] == "grader.process_results"
    assert row["prompt"][-1]["content"].startswith("What is 1 plus 11?")
