"""In the trainer's process: ends the run when a process of it has died, and reports a silence.

verl 0.9.1 has no recovery for a process that dies in the modes ``sync`` and ``colocate_async``. It waits for ever where
it does not wait for the dead process itself: rollouts of a killed rollout worker stay "running", and weights are sent
to an engine that is no more. (None of verl's actors has ``max_restarts``, so Ray restarts none.) So the run ends, with
one line that says what has died and which checkpoint the next start resumes from.

A thread asks all named Ray actors of the run every few seconds (:mod:`~verl_gpo.plugin.watch.probe`). An actor that is
busy does not answer, and is only noted as busy; an actor that has died makes Ray answer with an error at once.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray

from .probe import State, probe
from .silence import Silence, in_words, trainer_phase

logger = logging.getLogger(__name__)

#: Seconds between two looks, for an answer, and that the trainer gets to end by itself, then by an interrupt.
LOOK, ANSWER, GRACE = 4.0, 2.0, 4.0
#: Interrupts before the process is ended in any case, and the seconds that the end of a run may take.
_INTERRUPTS, _LAST = 3, 20.0
_BUSY = "busy, or it cannot answer"
#: What Ray answers for an actor that is dead; the second where its memory monitor ended it, to free memory.
_DEAD = (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError)


class RunBroken(RuntimeError):
    """A process of the run has died."""


class Actors:
    """The named actors of this job, and what they said last. Ray's functions are arguments, for tests.

    Args:
        names: names of the actors that live.
        get: the handle of a name.
    """

    def __init__(
        self,
        names: Callable[[], list[str]] = ray.util.list_named_actors,
        get: Callable[[str], Any] = ray.get_actor,
    ):
        self._names, self._get = names, get
        self._handles: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
        self.states: dict[str, State] = {}
        self.silent: set[str] = set()

    def learn(self) -> None:
        """Get the handles of actors that are new. One that died before could not be found by its name any more."""
        for name in self._names():
            if name not in self._handles:
                with contextlib.suppress(ValueError):  # ended since
                    self._handles[name] = self._get(name)

    def ask(self) -> str:
        """Ask all actors; what has died, in words, or "" if nothing has."""
        self.learn()
        for name, handle in self._handles.items():
            if name not in self._asked:
                self._asked[name] = handle.__ray_call__.remote(probe)
        answers = {answer: name for name, answer in self._asked.items()}
        ready, silent = ray.wait(list(answers), num_returns=len(answers), timeout=ANSWER) if answers else ([], [])
        self.silent = {answers[answer] for answer in silent}
        dead = ""
        for answer in ready:
            name = answers[answer]
            del self._asked[name]
            try:
                self.states[name] = ray.get(answer)
            except _DEAD as error:
                dead = dead or f"{name} ({reason(error)})"
            except Exception as error:  # an actor that cannot answer is not a dead one
                logger.debug("%s did not say how it is: %r", name, error)
            else:
                died = self.states[name].dead
                dead = dead or (f"{died} of {name}" if died else "")
        return dead

    def waits(self) -> dict[str, str]:
        """What each actor waits for, by its name."""
        said = {name: state.waits for name, state in self.states.items()}
        return {**said, **dict.fromkeys(self.silent, _BUSY)}

    def done(self) -> int:
        """A number that grows whenever one of them has completed something."""
        return sum(state.done for state in self.states.values())


def reason(error: BaseException) -> str:
    """Why an actor died, as Ray says it, in a few words.

    >>> reason(RuntimeError("The actor died unexpectedly.\\n  pid: 7\\nWorker exit type: SYSTEM_ERROR: end of file."))
    'process 7: Worker exit type: SYSTEM_ERROR: end of file.'
    """
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    pid = next((line.removeprefix("pid: ") for line in lines if line.startswith("pid: ")), None)
    said = next((line for line in lines if "Worker exit" in line or "has died" in line or "killed" in line), lines[0])
    said = said.partition(" Some common causes")[0]  # Ray's guesses
    return f"process {pid}: {said[:200]}" if pid else said[:200]


class Watchdog:
    """Looks after the run that is trained in this process.

    Args:
        silence: seconds after which a silence is reported.
        checkpoints: the folder of the run's checkpoints, if it is known.
        prompts: number of prompts by verl's status, as the trainer saw them last.
        actors: the run's actors.
    """

    def __init__(
        self,
        silence: float,
        checkpoints: str | None,
        prompts: Callable[[], Mapping[str, int]],
        actors: Actors | None = None,
    ):
        self.broken = ""
        self._silence, self._checkpoints, self._prompts = Silence(silence), checkpoints, prompts
        self._actors = actors or Actors()
        self._trainer = threading.main_thread().ident
        self._lock, self._stopped = threading.Lock(), threading.Event()

    def start(self) -> None:
        """Start the thread, and stop that of an earlier run. Called by the trainer's thread, the main one."""
        stop()
        _running.append(self)
        # Where a shell started the run in the background, SIGINT is ignored, and nothing could interrupt the trainer.
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=self._run, name="verl_gpo-watchdog", daemon=True).start()

    def learn(self) -> None:
        """Called when actors have been started: they are known from then on, however soon they die."""
        with self._lock:
            self._actors.learn()

    def raise_if_broken(self) -> None:
        """Called by the trainer where it waits.

        Raises:
            RunBroken: a process of the run has died.
        """
        if self.broken:
            raise RunBroken(self.broken)

    def explain(self) -> None:
        """Called by the trainer when an error comes: look at once whether a process that died is the cause.

        Raises:
            RunBroken: one is.
        """
        self._look()
        self.raise_if_broken()

    def phase(self) -> str | None:
        """What the trainer does; None if it does not train."""
        return trainer_phase(sys._current_frames().get(self._trainer))

    def _run(self) -> None:
        while not self.broken:
            if self._stopped.wait(LOOK):
                return
            try:
                self._look()
            except Exception:  # it must not end the run by a fault of its own
                logger.debug("the watchdog could not look", exc_info=True)
        self._end()

    def _look(self) -> None:
        with self._lock:
            phase = self.phase()
            if phase is None or self.broken:
                return
            dead = self._actors.ask()
            if dead and self.phase() is not None:  # at the end of a run processes are ended on purpose
                self.broken = f"{dead} has died while the trainer {phase}. The run ends. {self._resume()}"
                print(f"verl_gpo: {self.broken}", file=sys.stderr, flush=True)
                return
            prompts = dict(self._prompts())
            seen = (phase, tuple(sorted(prompts.items())), self._actors.done())
            seconds = self._silence.lasts(time.monotonic(), seen)
            if seconds is not None:
                words = in_words(seconds, phase, prompts, self._actors.waits())
                print(f"verl_gpo: {words}", file=sys.stderr, flush=True)

    def _resume(self) -> str:
        if not self._checkpoints:
            return "Started again, it goes on from its last checkpoint."
        try:
            step = int(Path(self._checkpoints, "latest_checkpointed_iteration.txt").read_text())
        except (OSError, ValueError):
            return "It has saved no checkpoint yet (trainer.save_freq): started again, it begins at step 1."
        return f"Started again, it goes on from {self._checkpoints}/global_step_{step}."

    def _end(self) -> None:
        """The trainer ends by itself where it waits for rollouts; elsewhere it is interrupted, as Ray's cancel does."""
        for _ in range(_INTERRUPTS):
            time.sleep(GRACE)
            if self.phase() is None:
                break
            _thread.interrupt_main()
        time.sleep(_LAST)
        os._exit(1)


#: The watchdog of this process: one, but several trainings may follow each other.
_running: list[Watchdog] = []


def stop() -> None:
    """Stop the watchdog of this process, if it has one: its run has ended, and others may end its actors."""
    while _running:
        _running.pop()._stopped.set()


def learn_actors() -> None:
    """Make the actors that were just started known to this process's watchdog, if it has one."""
    for watchdog in _running:
        watchdog.learn()
