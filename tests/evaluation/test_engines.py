"""What is left when one of several engines dies, and what the command pulls in. Processes are real, engines are not."""

import json
import subprocess
import sys

from tests.conftest import REPOSITORY
from tests.evaluation import fakes
from tests.evaluation.conftest import read_lines
from verl_gpo.evaluation import __main__ as command
from verl_gpo.inference import launch


def test_an_engine_that_dies_leaves_the_others_work_and_its_own_so_far(evaluate, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "_COMMAND", (sys.executable, fakes.__file__))
    monkeypatch.setattr(launch, "_POLL", 0.05)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("FAKE_DIES", "3")
    assert evaluate("--engines", 2, "--concurrency", 1) == 1
    error = capsys.readouterr().err
    assert "engine 1 of 2 ended with status 9" in error and "sums has 15 of 24 samples" in error
    monkeypatch.delenv("FAKE_DIES")
    assert evaluate("--engines", 3) == 0  # another number of engines goes on
    lines = read_lines(tmp_path / "run" / "samples" / "sums.jsonl")
    assert [(line["index"], line["sample"]) for line in lines] == [(i, n) for i in range(6) for n in range(4)]
    assert "sums" in json.loads((tmp_path / "run" / "summary.json").read_text())["benchmarks"]


PROGRAM = """
import importlib, pkgutil, sys
import verl_gpo.evaluation
for module in pkgutil.walk_packages(verl_gpo.evaluation.__path__, "verl_gpo.evaluation."):
    importlib.import_module(module.name)
print(sorted({"verl", "ray", "vllm", "torch", "transformers"} & {name.partition(".")[0] for name in sys.modules}))
"""


def test_evaluation_imports_no_framework():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
