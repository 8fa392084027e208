"""A training as it is watched: its phases, its steps, and the reason should it stop."""

import io
import json
import re
import sys

import pytest
from rich.console import Console

from verl_gpo.report import live
from verl_gpo.traces.runlog import RunLog

# A training as live sees it: lines of verl's log on both streams, and a metrics file that grows line by line.
TRAINING = """
import json, sys, time
metrics = sys.argv[1]
print("noise that nobody wants to see")
print("[validate_config] All configuration checks passed successfully!", flush=True)
print("INFO worker.py:2000 -- Started a local Ray instance.", file=sys.stderr, flush=True)
print("Total training steps: 2", flush=True)
print("ready to fit", flush=True)
with open(metrics, "a") as file:
    file.write(json.dumps({"step": 0, "data": {"val-core/a/acc/mean@1": 0.25}}) + "\\n")
    step = {"gpo/accuracy/root": 0.5, "gpo/accuracy/reentry": 0.75, "gpo/critical/found": 3.0, "timing_s/step": 1.25}
    line = json.dumps({"step": 1, "data": step}) + "\\n"
    file.write(line[:20])
    file.flush()
    time.sleep(0.5)  # live looks five times a second, so it sees half a line
    file.write(line[20:])
"""


def watch(tmp_path, program, steps=1):
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    log, metrics = tmp_path / "logs" / "run.log", tmp_path / "metrics" / "m.jsonl"
    status = live.run([sys.executable, "-c", program, str(metrics)], log, metrics, steps, console)
    return status, printed.getvalue(), log, metrics


def test_a_run_shows_its_phases_and_steps(tmp_path):
    status, printed, log, metrics = watch(tmp_path, TRAINING)
    assert status == 0
    said = [line.partition(" s  ")[2].strip() for line in printed.splitlines() if " s  " in line]
    assert said == [
        "starting Ray",
        "starting the trainer",
        "loading the actor (FSDP)",
        "rolling out",
        "step 0: validation 0.250",
        "step 1: root accuracy 0.50, re-entry 0.75, 3 critical steps, 1.2 s",
    ]
    assert "noise" not in printed and "noise that nobody" in log.read_text()
    assert "exit status" not in printed
    phases = json.loads(live.phases_file(metrics).read_text())
    assert list(phases) == said[:4] and 0 < phases[said[0]] <= phases[live.READY] < 30


# A worker's progress as it is while a step runs, each state long enough to be seen.
STEPPING = """
import json, os, sys, time
from pathlib import Path
folder, metrics = Path(os.environ["VERL_GPO_PROGRESS"]), sys.argv[1]
def enter(**state):
    (folder / "new").write_text(json.dumps(state))
    (folder / "new").rename(folder / "worker-0.json")
    time.sleep(0.5)
def log(step, **data):
    with open(metrics, "a") as file:
        file.write(json.dumps({"step": step, "data": data}) + chr(10))
    time.sleep(0.5)
log(1, **{"timing_s/step": 30.0})
enter(step=1, done=4)  # what is left of the step before is not shown
enter(step=2, rollout=3, done=1)
enter(step=2, value=2, reentry=1, done=1)
enter(step=2, reentry=1, done=3)
enter(step=2, done=4)
log(2, **{"timing_s/step": 6.0})
"""


def test_the_bar_shows_the_phase_of_the_step_its_rate_and_its_end(tmp_path):
    printed = io.StringIO()
    console = Console(file=printed, width=200, force_terminal=True, color_system=None)
    program = [sys.executable, "-c", STEPPING, str(tmp_path / "m.jsonl")]
    assert live.run(program, tmp_path / "log", tmp_path / "m.jsonl", 8, console) == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.getvalue())
    after = shown
    for phase in ("roll out ━", "roll out 1/4", "value 2/4", "re-enter 3/4", "train", "2/8"):
        _, found, after = after.partition(phase)
        assert found, (phase, shown[-3000:])
    assert "30.0 s/step, ends" in shown
    assert re.search(r"2/8 0:00:0\d 6.0 s/step, ends \d\d:\d\d", shown)  # the first step is no guide


def test_metrics_of_an_earlier_run_are_not_shown(tmp_path):
    metrics = tmp_path / "metrics" / "m.jsonl"
    metrics.parent.mkdir()
    metrics.write_text(json.dumps({"step": 77, "data": {}}) + "\n")
    _, printed, _, _ = watch(tmp_path, TRAINING)
    assert "step 77" not in printed
    assert sorted(RunLog.read(metrics).steps) == [0, 1]


def test_a_run_that_fails_shows_the_end_of_its_log(tmp_path):
    status, printed, log, _ = watch(tmp_path, "import sys\nfor n in range(40): print('line', n)\nsys.exit(3)")
    assert status == 3
    lines = [line.strip() for line in printed.splitlines()]
    assert "line 39" in lines and "line 15" in lines and "line 14" not in lines  # the last 25
    assert f"the training stopped with exit status 3; its whole output: {log}" in lines


def test_a_setting_that_was_refused_is_shown_alone(tmp_path):
    reason = "verl_gpo: algorithm.gpo.n_mc=-1: must be an integer of at least 1"
    status, printed, _, _ = watch(tmp_path, f"import sys\nprint('noise')\nsys.exit({reason!r})")
    assert status == 1
    assert reason in printed and "noise" not in printed


def test_the_settings_that_were_changed_for_the_cpu_are_not_the_reason(tmp_path):
    notice = "verl_gpo: no accelerator on this host, running on the CPU. Settings changed:\\n  a.b: 1 -> 2"
    _, printed, _, _ = watch(tmp_path, f"import sys\nprint('{notice}')\nprint('the cause')\nsys.exit(1)")
    assert "the cause" in printed


def test_text_in_brackets_is_printed_as_it_is(tmp_path):
    _, printed, _, _ = watch(tmp_path, "import sys\nprint('[red]state[/red] [/x]')\nsys.exit(1)")
    assert "[red]state[/red] [/x]" in printed


def test_command_line(tmp_path, capsys):
    arguments = ["--log", str(tmp_path / "l"), "--metrics", str(tmp_path / "m"), "--steps", "1"]
    assert live.main([*arguments, "--", sys.executable, "-c", "import sys; sys.exit(4)"]) == 4
    with pytest.raises(SystemExit) as stopped:
        live.main([*arguments, "--"])
    assert stopped.value.code == 2 and "no command after --" in capsys.readouterr().err


def test_tail_gives_whole_lines_once(tmp_path):
    tail = live.Tail(tmp_path / "file")
    assert tail.lines() == []
    with (tmp_path / "file").open("wb") as file:
        for data, expected in (("ä\nb".encode(), ["ä"]), (b"c\n", ["bc"]), (b"", []), (b"\xff\n", ["\ufffd"])):
            file.write(data)
            file.flush()
            assert tail.lines() == expected
