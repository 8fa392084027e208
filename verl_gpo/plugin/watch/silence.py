"""When nothing has happened for long, and what is said then."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from types import FrameType

#: verl's functions of a training step, and what the trainer does in them. The innermost one that runs is named.
PHASES = {
    "_setup": "starts its processes",
    "init_agent_loop_manager": "starts its rollout workers",
    "_load_checkpoint": "loads the checkpoint",
    "_validate": "validates",
    "sample": "waits for rollouts",
    "sleep_replicas": "puts the rollout engine to sleep",
    "abort_replicas": "interrupts the rollout engine",
    "_compute_reward_colocate": "waits for rewards",
    "_compute_old_log_prob": "computes log-probs",
    "_compute_ref_log_prob": "computes the reference's log-probs",
    "_compute_values": "computes the critic's values",
    "_compute_advantage": "computes advantages",
    "_update_critic": "updates the critic",
    "_update_actor": "updates the policy",
    "_save_checkpoint": "saves the checkpoint",
    "update_weights": "passes the new weights to the rollout engine",
    "resume_generation_replicas": "resumes the rollout engine",
    "on_sample_end": "waits for the rollout engine to rest",
    "on_step_end": "passes the new weights to the rollout engine",
    "generate_sequences": "hands prompts to the rollout workers",
}
#: In between, the trainer is in one of these.
_TRAINING = ("fit", "init")


def trainer_phase(frame: FrameType | None) -> str | None:
    """What verl's trainer does, by the stack of its thread; None if it does not train.

    The stack is read, because verl 0.9.1 calls nobody between the phases of a step.
    """
    training, phase = False, None
    while frame is not None:
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        if f"{os.sep}verl{os.sep}" in file or f"{os.sep}verl_gpo{os.sep}" in file:
            phase = phase or PHASES.get(name)
            training |= name in _TRAINING or name in ("_setup", "init_agent_loop_manager")
        frame = frame.f_back
    return (phase or "is between two phases") if training else None


class Silence:
    """Tells when nothing has changed for a long time: after ``seconds``, then each time after twice as long.

    Args:
        seconds: the shortest silence that is reported.
    """

    def __init__(self, seconds: float):
        self._first = self._next = seconds
        self._since: float | None = None
        self._seen: Hashable = None

    def lasts(self, now: float, seen: Hashable) -> float | None:
        """Seconds since ``seen`` has changed, when it is time to report them; else None."""
        if self._since is None or seen != self._seen:
            self._since, self._seen, self._next = now, seen, self._first
            return None
        if now - self._since < self._next:
            return None
        self._next *= 2
        return now - self._since


def in_words(seconds: float, phase: str, prompts: Mapping[str, int], waits: Mapping[str, str]) -> str:
    """The report of a silence.

    Args:
        seconds: how long it has lasted.
        phase: what the trainer does.
        prompts: number of prompts by verl's status.
        waits: what each process waits for; "" for nothing.

    >>> in_words(300, "waits for rollouts", {"running": 3}, {"vllm_server_0_0": "2 requests in the engine", "w": ""})
    'nothing has happened for 300 s: the trainer waits for rollouts; prompts: 3 running; vllm_server_0_0: 2 requests \
in the engine; idle: w'
    """
    parts = [f"the trainer {phase}"]
    counted = ", ".join(f"{number} {status}" for status, number in prompts.items() if number)
    if counted:
        parts.append(f"prompts: {counted}")
    parts += [f"{name}: {what}" for name, what in waits.items() if what]
    idle = [name for name, what in waits.items() if not what]
    if idle:
        parts.append(f"idle: {', '.join(idle)}")
    return f"nothing has happened for {seconds:.0f} s: {'; '.join(parts)}"
