"""A run's metrics file as data, table, picture; and a run as it is watched."""

import io
import json
import re
import sys

import pytest
from rich.console import Console

from verl_gpo.report import live, summary
from verl_gpo.traces.runlog import RunLog, generated_tokens

TRAINED = {
    1: {"gpo/tokens/root": 100.0, "gpo/tokens/value": 300.0, "gpo/tokens/reentry": 40.0, "timing_s/step": 9.0},
    2: {"gpo/tokens/root": 120.0, "gpo/tokens/value": 200.0, "gpo/tokens/reentry": 60.0, "timing_s/step": 2.0},
    3: {"gpo/tokens/root": 80.0, "gpo/tokens/value": 100.0, "gpo/tokens/reentry": 0.0, "timing_s/step": 4.0},
}
for metrics, root, reentry, found, failed in zip(
    TRAINED.values(), (8.0, 8.0, 8.0), (4.0, 4.0, 0.0), (1.0, 1.0, 0.0), (2.0, 0.0, 1.0), strict=True
):
    metrics |= {"gpo/rollouts/root": root, "gpo/rollouts/reentry": reentry, "gpo/critical/found": found}
    metrics |= {"gpo/failures/sampling": failed, "gpo/failures/scoring": 1.0, "gpo/accuracy/root": 0.5}
TRAINED[1]["gpo/accuracy/reentry"] = 0.25
# Of 9 s: sampling and scoring 1 + 2 + 1, optimizing .5 + 2.5, 2 s are neither. Of 2 s and of 4 s it is half a second.
for metrics, phases, update in zip(
    TRAINED.values(), ((1.0, 2.0, 1.0), (0.5, 0.25, 0.25), (1.0, 1.0, 0.0)), (2.5, 0.0, 1.0), strict=True
):
    metrics |= {f"gpo/seconds/{name}": s for name, s in zip(("rollout", "value", "reentry"), phases, strict=True)}
    metrics |= {"timing_s/old_log_prob": 0.5, "timing_s/update_actor": update, "timing_s/gen": 99.0}


def write(path, steps, tail=""):
    lines = [json.dumps({"step": step, "data": data}) + "\n" for step, data in steps]
    path.write_text("".join(lines) + tail)
    return path


@pytest.fixture
def metrics_file(tmp_path):
    validation = {"val-core/a/acc/mean@1": 0.25, "val-core/b/acc/mean@1": 0.75, "val-core/a/acc/best@4": 1.0}
    after = {**TRAINED[3], "val-core/a/acc/mean@1": 0.5, "val-core/b/acc/mean@1": 1.0}
    steps = [(0, validation), (1, TRAINED[1]), (2, TRAINED[2]), (3, after)]
    return write(tmp_path / "metrics.jsonl", steps)


def test_a_step_that_was_logged_twice_counts_once_as_logged_last(tmp_path):
    log = RunLog.read(write(tmp_path / "m", [(2, {"x": 1}), (1, {"x": 5}), (2, {"x": 3})]))
    assert log.steps == {1: {"x": 5}, 2: {"x": 3}} and list(log.steps) == [1, 2]
    assert log.total("x") == 8.0 and log.series("x") == {1: 5.0, 2: 3.0}
    assert log.total("missing") == 0 and log.series("missing") == {}


@pytest.mark.parametrize("tail", ['{"step": 2, "da', '{"step": 2}\n', "null\n"])
def test_a_last_line_that_is_not_whole_is_left_out(tmp_path, tail):
    assert RunLog.read(write(tmp_path / "m", [(1, {"x": 1})], tail)).steps == {1: {"x": 1}}


@pytest.mark.parametrize("bad", ['{"step": 2, "da\n', "[1]\n", '{"data": {}}\n', '{"step": "one", "data": {}}\n'])
def test_a_bad_line_in_the_middle_is_named(tmp_path, bad):
    path = write(tmp_path / "m", [(1, {"x": 1})], bad + json.dumps({"step": 3, "data": {}}) + "\n")
    with pytest.raises(ValueError, match=r"m, line 2: not a line of verl's file logger"):
        RunLog.read(path)


def test_a_missing_file_is_no_empty_run(tmp_path):
    with pytest.raises(FileNotFoundError):
        RunLog.read(tmp_path / "m")


def test_validation_is_averaged_over_sources(metrics_file):
    assert RunLog.read(metrics_file).validation() == {0: 0.5, 3: 0.75}


def test_generated_tokens_by_hand():
    assert generated_tokens(TRAINED[1]) == 440.0
    assert generated_tokens({"gpo/tokens/root": 7, "gpo/tokens/value_over_root": 99}) == 7.0
    assert generated_tokens({}) == 0.0


def test_table_by_hand(metrics_file):
    assert summary.summary_rows(RunLog.read(metrics_file)) == [
        ("validation accuracy before (step 0)", "0.500"),
        ("validation accuracy after (step 3)", "0.750"),
        ("training steps", "3"),
        ("rollouts, root", "24"),
        ("rollouts, re-entry", "8"),
        ("tokens, root rollouts", "300"),
        ("tokens, Monte Carlo values", "600"),
        ("tokens, re-entry rollouts", "100"),
        ("critical steps found", "2"),
        ("continuations that failed", "3"),
        ("rewards that failed", "3"),
        ("seconds a training step, the first left out", "3.00"),
        ("share of a step that is neither sampling, scoring nor optimizing", "20.0%"),  # (2 + .5 + .5) / 15
        ("seconds, all training steps", "15"),
    ]


def test_a_run_of_one_step_still_has_its_seconds():
    assert ("seconds a training step, the first left out", "9.00") in summary.summary_rows(RunLog({1: TRAINED[1]}))


def test_a_run_without_training_has_no_seconds():
    assert not [name for name, _ in summary.summary_rows(RunLog({0: {}})) if name.startswith("seconds")]


def test_without_gpo_sampling_is_verls_own_time():
    log = RunLog({0: {}, 1: {"timing_s/step": 8.0, "timing_s/gen": 5.0, "timing_s/update_actor": 1.0}})
    assert summary.overhead_share(log) == 2 / 8
    assert summary.overhead_share(RunLog({0: {}})) == 0.0


def test_summary_tells_when_the_run_was_ready(metrics_file, capsys):
    assert summary.main([str(metrics_file)]) == 0
    assert "ready to fit" not in capsys.readouterr().out
    live.phases_file(metrics_file).write_text(json.dumps({live.READY: 87.3}))
    assert summary.main([str(metrics_file)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "ready to fit" in line]
    assert " 87 " in line


def test_runs_stand_side_by_side_under_their_names(tmp_path, capsys):
    gpo, twin = tmp_path / "a", tmp_path / "a" / "twin"
    twin.mkdir(parents=True)
    write(gpo / "metrics.jsonl", [(1, {"timing_s/step": 2.0, "gpo/tokens/value": 7, "gpo/optimizer_steps": 2})])
    write(twin / "metrics.jsonl", [(1, {"timing_s/step": 1.0, "gpo/optimizer_steps": 1})])
    assert summary.main([f"GPO={gpo}", f"GRPO={twin}", "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "|  | GPO | GRPO |"
    assert "| optimizer steps | 2 | 1 |" in lines and "| tokens, Monte Carlo values | 7 |  |" in lines


def test_summary_command_prints_and_draws(metrics_file, tmp_path, capsys):
    picture = tmp_path / "curve.png"
    assert summary.main([str(metrics_file), "--plot", str(picture)]) == 0
    assert "critical steps found" in capsys.readouterr().out
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.rstrip().endswith(b"IEND\xaeB`\x82")
    assert len(data) > 5000


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "no such file"), ("", "holds no complete training step"), ("x\ny\n", "line 1")],
)
def test_summary_command_names_what_is_wrong(tmp_path, capsys, text, says):
    path = tmp_path / "m"
    if text is not None:
        path.write_text(text)
    assert summary.main([str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and says in printed.err and printed.out == ""


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
