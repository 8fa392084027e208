"""What the benchmark of the CPU's training step makes of its runs, and how it starts them."""

import json

import pytest

from scripts import bench_cpu_step as bench
from tests.conftest import REPOSITORY


def item(arm, *steps):
    return {"arm": arm, "steps": [{"seconds": dict(zip(bench.PHASES, seconds, strict=True))} for seconds in steps]}


RUNS = [
    item("before", (50, 90, 240, 1, 390)),
    item("after", (40, 0, 80, 1, 125)),
    item("before", (52, 94, 242, 1, 394)),
]
RUNS += [item("after", (42, 0, 84, 1, 135))]


def test_a_summary_by_hand():
    found = bench.summary(RUNS)
    assert found["seconds"]["before"] == {
        "rolling out": 51, "log-probabilities": 92, "update": 241, "weights to the engine": 1, "step": 392,
    }  # fmt: skip
    assert found["seconds"]["after"]["step"] == 130 and found["seconds"]["after"]["log-probabilities"] == 0
    assert found["ratio"]["step"] == pytest.approx(392 / 130)
    assert "log-probabilities" not in found["ratio"]  # nothing is left of it
    lines = bench.table(found).splitlines()
    assert lines[-1].split() == ["step", "392.0", "130.0", "3.02"]
    assert lines[2].split() == ["log-probabilities", "92.0", "0.0"]


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """Runs that only write down how they were started, and two steps of metrics."""
    calls = []

    def run(command, cwd, env, stdout, stderr):
        calls.append((command, env))
        slow = 3 if env.get("VERL_GPO_CPU_ENGINE") == "verl" else 1
        with open(env["VERL_FILE_LOGGER_PATH"], "w") as file:
            for step in (1, 2):
                data = dict.fromkeys(bench.PHASES.values(), slow * 10.0 * step)
                file.write(json.dumps({"step": step, "data": {**data, "actor/grad_norm": 0.5}}) + "\n")
        return type("Result", (), {"returncode": 0})

    monkeypatch.setattr(bench.subprocess, "run", run)
    return calls, tmp_path


def test_the_arms_take_turns_and_differ_in_the_engine_alone(recorded, capsys):
    calls, folder = recorded
    out = folder / "result.json"
    out.write_text('{"arithmetic": {"kept": 1}}')
    where = ["--data", str(folder), "--log", str(folder / "log"), "--out", str(out)]
    bench.main(["--model", "smollm2", "--steps", "2", "--repeats", "2", *where])
    assert [env.get("VERL_GPO_CPU_ENGINE") for _, env in calls] == ["verl", None] * 2
    before, after = (command for command, _ in calls[:2])
    assert before[: len(after)] == after and before[len(after) :] == bench.ARMS["before"][1]
    assert "trainer.total_training_steps=2" in after and after[1].endswith("recipes/smollm2/run.sh")
    result = json.loads(out.read_text())
    assert result["arithmetic"] == {"kept": 1}
    # The first step of each run is left out.
    assert result["smollm2"]["seconds"]["after"]["step"] == 20 and result["smollm2"]["ratio"]["step"] == 3
    assert result["smollm2"]["runs"][0]["steps"][0]["outcomes"] == {"actor/grad_norm": 0.5}
    assert "step                          60.0      20.0    3.00" in capsys.readouterr().out


def test_a_run_that_fails_ends_the_benchmark(monkeypatch, tmp_path):
    monkeypatch.setattr(bench.subprocess, "run", lambda *a, **k: type("Result", (), {"returncode": 2}))
    with pytest.raises(SystemExit, match="the run before of arithmetic failed with status 2; the log: "):
        bench.main(["--model", "arithmetic", "--data", str(tmp_path), "--log", str(tmp_path / "log")])


def test_the_readme_has_the_raw_result():
    result = json.loads((REPOSITORY / "scripts" / "results" / "bench_cpu_step.json").read_text())["smollm2"]
    readme = (REPOSITORY / "recipes" / "smollm2" / "README.md").read_text()
    for phase in ("rolling out", "update", "step"):
        before, after = (result["seconds"][arm][phase] for arm in ("before", "after"))
        assert f"| {phase} | {before:.1f} | {after:.1f} | {before / after:.2f} |" in readme
    assert result["ratio"]["step"] >= 3
