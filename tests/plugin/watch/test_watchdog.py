"""A watchdog over actors that are faked, or of a real Ray; the trainer is this process's main thread."""

import pytest
import ray

from verl_gpo.plugin.watch import watchdog
from verl_gpo.plugin.watch.probe import State
from verl_gpo.plugin.watch.watchdog import Actors, RunBroken, Watchdog, reason

DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: ReentryWorker
\tpid: 4711
\tname: agent_loop_worker_0
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file."""


class FakeActors:
    def __init__(self, dead="", done=0, **waits):
        self.dead, self.number, self.said, self.asked = dead, done, waits, 0

    def ask(self):
        self.asked += 1
        return self.dead

    def waits(self):
        return self.said

    def done(self):
        return self.number


def dog(actors, monkeypatch, phase="waits for rollouts", checkpoints=None, silence=100.0, prompts=None):
    found = Watchdog(silence, checkpoints, lambda: prompts or {"running": 2}, actors)
    monkeypatch.setattr(found, "phase", lambda: phase)
    return found


def test_what_has_died_is_said_once_with_the_checkpoint_to_go_on_from(monkeypatch, capsys, tmp_path):
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("7")
    found = dog(FakeActors(dead="agent_loop_worker_0 (process 4711)"), monkeypatch, checkpoints=str(tmp_path))
    found.raise_if_broken()
    found._look()
    line = (
        "agent_loop_worker_0 (process 4711) has died while the trainer waits for rollouts. The run ends. "
        f"Started again, it goes on from {tmp_path}/global_step_7."
    )
    assert capsys.readouterr().err == f"verl_gpo: {line}\n"
    found._look()
    assert capsys.readouterr().err == ""
    with pytest.raises(RunBroken, match="has died while the trainer waits"):
        found.raise_if_broken()


@pytest.mark.parametrize(
    ("noted", "said"),
    [(None, "has saved no checkpoint yet"), ("", "has saved no checkpoint yet"), ("3", "global_step_3")],
)
def test_the_checkpoint_is_the_one_that_verl_has_noted(noted, said, monkeypatch, capsys, tmp_path):
    if noted is not None:
        (tmp_path / "latest_checkpointed_iteration.txt").write_text(noted)
    dog(FakeActors(dead="x"), monkeypatch, checkpoints=str(tmp_path))._look()
    assert said in capsys.readouterr().err


def test_an_actor_is_known_from_its_start_on(monkeypatch):
    handles = {"a": object()}
    actors = Actors(names=lambda: list(handles), get=handles.__getitem__)
    found = Watchdog(100.0, None, dict, actors)
    monkeypatch.setattr(watchdog, "_running", [found])
    watchdog.learn_actors()
    handles["b"] = object()
    assert set(actors._handles) == {"a"}
    watchdog.learn_actors()
    del handles["a"]  # it died: it has no name any more
    watchdog.learn_actors()
    assert set(actors._handles) == {"a", "b"}


def test_a_watchdog_that_was_stopped_takes_no_end_for_a_fault(monkeypatch, capsys):
    actors = FakeActors(dead="a worker that the next run does not need")
    found = dog(actors, monkeypatch)
    monkeypatch.setattr(watchdog, "LOOK", 0.05)
    monkeypatch.setattr(watchdog, "_running", [found])
    watchdog.stop()
    found._run()  # returns at once
    assert watchdog._running == [] and actors.asked == 0 and found.broken == ""


def test_an_error_of_the_trainers_is_explained_by_a_death(monkeypatch):
    with pytest.raises(RunBroken, match="the rollout engine"):
        dog(FakeActors(dead="the rollout engine of vllm_server_0_0"), monkeypatch).explain()
    dog(FakeActors(), monkeypatch).explain()


def test_outside_of_a_training_nobody_is_asked(monkeypatch, capsys):
    actors = FakeActors(dead="a worker that was ended on purpose")
    dog(actors, monkeypatch, phase=None)._look()
    assert actors.asked == 0 and capsys.readouterr().err == ""


def test_a_death_at_the_end_of_a_training_is_none(monkeypatch, capsys):
    phases = ["waits for rollouts", None]
    found = dog(FakeActors(dead="a worker"), monkeypatch)
    monkeypatch.setattr(found, "phase", lambda: phases.pop(0))
    found._look()
    assert found.broken == "" and capsys.readouterr().err == ""


#: The beginning of what Ray 2.56 says.
MEMORY = "6 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.1) was 22.39GB"


@pytest.mark.parametrize(
    ("answer", "dead"),
    [
        (
            ray.exceptions.OutOfMemoryError(f"{MEMORY}\nOOM kill reason: Memory usage exceeded threshold"),
            f"a ({MEMORY})",
        ),
        (ray.exceptions.RayActorError(error_msg=DIED), "a (process 4711: The actor is dead"),
        (ray.exceptions.GetTimeoutError("it is busy"), ""),
    ],
)
def test_what_ray_answers_for_an_actor_says_whether_it_is_dead(answer, dead, monkeypatch):
    class Handle:
        class __ray_call__:  # noqa: N801  (Ray's name)
            remote = staticmethod(lambda probe: "answer")

    def get(_):
        raise answer

    monkeypatch.setattr(watchdog.ray, "wait", lambda answers, **_: (answers, []))
    monkeypatch.setattr(watchdog.ray, "get", get)
    assert Actors(names=lambda: ["a"], get=lambda _: Handle).ask()[: len(dead)] == dead


def test_a_silence_is_reported_until_something_is_done(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now[0])
    actors = FakeActors(worker="2 prompts in value")
    found = dog(actors, monkeypatch)
    found._look()
    now[0] = 100.0
    found._look()
    assert capsys.readouterr().err == (
        "verl_gpo: nothing has happened for 100 s: the trainer waits for rollouts; prompts: 2 running; "
        "worker: 2 prompts in value\n"
    )
    now[0], actors.number = 200.0, 1
    found._look()
    assert capsys.readouterr().err == ""


def test_a_reason_is_a_few_words():
    assert (
        reason(RuntimeError(DIED))
        == (
            "process 4711: The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR "
            "Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file."
        )[: len("process 4711: ") + 200]
    )
    assert reason(RuntimeError("gone")) == "gone"


@pytest.fixture(scope="module")
def small_ray():
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.e2e
@pytest.mark.pipeline
def test_of_real_actors_the_dead_the_busy_and_the_sick_are_told_apart(small_ray, monkeypatch):
    import os
    import time

    monkeypatch.setattr(watchdog, "ANSWER", 3.0)

    class Worker:
        def gpo_state(self):
            return State(waits="2 rewards", done=5)

        def end(self):
            os._exit(1)

        def work(self):
            time.sleep(60)

    class Sick(Worker):
        def gpo_state(self):
            raise ValueError("no state")

    remote = [ray.remote(kind).options(name=name) for kind, name in ((Worker, "a"), (Sick, "b"), (Worker, "c"))]
    first, _, third = [actor.remote() for actor in remote]
    actors = Actors()
    until = time.monotonic() + 60
    while not (actors.waits() == {"a": "2 rewards", "c": "2 rewards"} and not actors.silent):
        assert actors.ask() == "" and time.monotonic() < until
    assert actors.done() == 10
    third.work.remote()
    assert actors.ask() == "" and actors.silent == {"c"} and actors.waits()["c"] == watchdog._BUSY
    first.end.remote()
    dead = ""
    while not dead:
        dead = actors.ask()
        assert time.monotonic() < until + 60
    assert dead.startswith("a (process ")
