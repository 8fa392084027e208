"""A run's metrics file as a table and a picture."""

import json

import pytest

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
