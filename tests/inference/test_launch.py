"""Several engines: who gets which GPU, and how far they are. Processes are real, engines are not."""

import sys

import pytest

from verl_gpo.inference import launch


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
    monkeypatch.setattr(launch, "_POLL", 0.05)
    with launch.locked(tmp_path) as lock:
        failures = launch.run_processes(
            [sys.executable, "-c", program, "--k", "2"],
            tmp_path,
            lambda shard: [tmp_path / f"part-{shard[0]}"],
            [["0", "1"], ["2", "3"]],
            lock,
            lambda lines: None,
        )
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
