"""Processes of a run that are killed: the run ends in time, says what has died, leaves nothing, and goes on later."""

import signal

import pytest

from tests.faults.harness import WITHIN

pytestmark = [pytest.mark.faults, pytest.mark.e2e, pytest.mark.pipeline]

ENDS = f"ends within {WITHIN:.0f} s with an error status and a line that names what died; goes on from its checkpoint"
GOES_ON = "ends with an error status; goes on from its checkpoint"
ENGINE, SERVER = ("the rollout engine", "exit code -9", "has died"), ("vllm_server_0_0 (process", "has died")
WORKER, REWARD = ("agent_loop_worker_0", "has died"), ("reward_loop_worker_0", "has died")

TERM, INT, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL
#: (victim, phase, step, signal, words of the line that names it). Later ones find the checkpoints of earlier ones.
PROCESSES = [
    ("engine", "search", 1, KILL, ENGINE),
    ("engine", "roots", 1, KILL, ENGINE),
    ("engine", "update_weights", 1, KILL, ENGINE),
    ("server", "search", 2, KILL, SERVER),
    ("worker", "search", 2, KILL, WORKER),
    ("worker", "roots", 2, KILL, WORKER),
]
DRIVER = [
    ("driver", "search", 1, TERM, ()),
    ("driver", "roots", 1, INT, ()),
    ("driver", "update_actor", 1, TERM, ()),
    ("driver", "update_weights", 1, INT, ()),
    ("driver", "search", 2, KILL, ()),
    ("driver", "update_weights", 2, KILL, ()),
]
TRAINER = [
    *(
        ("trainer", phase, 1, KILL, ())
        for phase in ("rollout", "sleep", "old_log_prob", "advantage", "update_actor", "save", "saving")
    ),
    ("trainer", "update_weights", 1, KILL, ()),
    ("trainer", "metrics", 2, KILL, ()),
]


def meet(table, stage, case, keep_on):
    victim, at, step, number, words = case
    name = signal.Signals(number).name
    with table.row(f"{victim} {name} at {at} of step {step}", ENDS if words else GOES_ON, keep_on) as row:
        before = stage.latest_checkpoint()
        ended = stage.run(fault={"victim": victim, "at": at, "step": step, "signal": int(number)})
        row.seconds, row.leftovers, row.lost = round(ended.seconds, 1), ended.leftovers, stage.lost()
        row.seen = f"status {ended.status}"
        assert ended.struck, f"the fault did not strike\n{ended.log[-3000:]}"
        assert ended.status != 0 and ended.seconds <= WITHIN
        if words:
            lines = ended.said(*words)
            assert lines, f"no line says {words}\n{ended.log[-5000:]}"
            row.seen += f": {lines[0]}"
        saved = stage.latest_checkpoint()
        assert saved >= before
        if at == "update_weights" and victim == "engine":
            assert ended.struck["files"], "the weights were not in shared memory"


def test_an_engine_that_is_killed_and_a_run_that_is_terminated(table, new_stage):
    stage = new_stage("short", "trainer.total_training_steps=2")
    meet(table, stage, PROCESSES[0], keep_on=False)
    meet(table, stage, ("driver", "update_actor", 2, TERM, ()), keep_on=False)
    assert stage.latest_checkpoint() == 1


@pytest.mark.long
def test_a_reward_worker_that_is_killed(table, new_stage):
    stage = new_stage("reward", "trainer.total_training_steps=1")
    meet(table, stage, ("reward", "search", 1, KILL, REWARD), keep_on=False)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("cases", "steps"),
    [(PROCESSES, 2), (DRIVER, 3), (TRAINER, 3)],
    ids=["each_process", "each_signal", "each_phase"],
)
def test_one_training_that_meets_one_fault_after_the_other(table, new_stage, cases, steps):
    stage = new_stage("long", f"trainer.total_training_steps={steps}")
    before = len(table.rows)
    for case in cases:
        meet(table, stage, case, keep_on=True)
    promised = "count as one run in metrics, traces and report"
    with table.row(
        f"{len(cases) + 1} starts of one training: {cases[0][0]} ... {cases[-1][0]} killed", promised
    ) as row:
        ended = stage.run()
        row.leftovers, row.lost = ended.leftovers, stage.lost()
        assert ended.status == 0, ended.log[-5000:]
        stage.counts_as_one_run(steps)
        row.seen = f"steps 1 to {steps} once each, {4 * steps} traces, one page"
    assert not [row for row in table.rows[before:] if not row.survived]
