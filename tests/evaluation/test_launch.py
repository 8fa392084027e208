"""Several engines: who gets which GPU, and what is left when one dies. Processes are real, engines are not."""

import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.evaluation import fakes
from tests.evaluation.conftest import read_lines
from verl_gpo.evaluation import launch


def test_gpus_are_divided_among_engines():
    assert launch.device_groups(["0", "1", "2", "3"], 1) == [["0"], ["1"], ["2"], ["3"]]
    assert launch.device_groups(["4", "GPU-a", "6"], 2) == [["4", "GPU-a"]]
    assert launch.device_groups(["0", "1", "2", "3"], 2) == [["0", "1"], ["2", "3"]]
    assert launch.device_groups(["0", "1", "2", "3"], 1, 2) == [["0"], ["1"]]
    assert launch.device_groups([], 1) == [[]]
    assert launch.device_groups([], 1, 2) == [[], []]


@pytest.mark.parametrize(
    ("devices", "tensor_parallel", "engines", "said"),
    [
        (["0"], 2, None, "--tensor-parallel-size=2: this machine has 1 GPU"),
        ([], 2, None, "--tensor-parallel-size=2: this machine has no GPU"),
        (["0", "1"], 1, 3, "--engines=3: 2 GPUs are enough for 2"),
    ],
)
def test_too_few_gpus(devices, tensor_parallel, engines, said):
    with pytest.raises(ValueError, match=said):
        launch.device_groups(devices, tensor_parallel, engines)


def test_gpus_are_named_as_the_environment_names_them(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert launch.visible_devices() == ["5", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert launch.visible_devices() == ["0", "1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert launch.visible_devices() == []


def test_each_process_is_told_its_gpus_and_its_share(tmp_path, monkeypatch):
    program = (
        "import os, sys; print(os.environ['CUDA_VISIBLE_DEVICES'], sys.argv[1:]); sys.exit(sys.argv[-1][0] == '1')"
    )
    monkeypatch.setattr(launch, "_COMMAND", (sys.executable, "-c", program))
    monkeypatch.setattr(launch, "_POLL", 0.05)
    with launch.locked(tmp_path) as lock:
        failures = launch.run_processes(["--k", "2"], tmp_path, ["b"], [["0", "1"], ["2", "3"]], lock, lambda n: None)
    logs = tmp_path / "logs"
    assert (logs / "shard-0-of-2.log").read_text() == "0,1 ['--k', '2', '--shard', '0/2']\n"
    assert (logs / "shard-1-of-2.log").read_text() == "2,3 ['--k', '2', '--shard', '1/2']\n"
    assert failures == [f"engine 1 of 2 ended with status 1: see {logs / 'shard-1-of-2.log'}"]


def test_progress_counts_lines_as_they_come(tmp_path):
    counter = launch._LineCounter([tmp_path / "a", tmp_path / "b"])
    assert counter.count() == 0
    (tmp_path / "a").write_text("1\n2")
    assert counter.count() == 1
    (tmp_path / "a").write_text("1\n2\n")
    (tmp_path / "b").write_text("1\n")
    assert counter.count() == 3


def test_an_engine_that_dies_leaves_the_others_work_and_its_own_so_far(evaluate, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(launch, "_COMMAND", (sys.executable, fakes.__file__))
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
