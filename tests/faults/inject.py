"""What a run of the fault tests loads besides verl_gpo: it kills a process at a named point of a training step.

The environment variable ``VERL_GPO_FAULT`` says what is done: ``{"victim", "at", "step", "signal"}``. Points in the
rollout worker are ``roots`` (the first root rollout of the step has come back, others are in the engine) and
``search`` (the first Monte Carlo continuation is being scored). Points in the trainer are names of verl's methods of a
step (:data:`TRAINER`), entered. For the victim ``engine`` at ``update_weights`` the engine is stopped at the entry, and
killed when the file with the weights is in shared memory.

What the engine returns is replaced for prompts whose ``extra_info.fault`` names one of :data:`ANSWERS` or ``aborted``,
for the second rollout of the prompt (``..._root``), all of them (``..._roots``) or the second of its continuations
(``..._search``).

Before it strikes it writes ``{"time", "pid", ...}`` to the file that ``VERL_GPO_FAULT_LOG`` names.
"""

import asyncio
import contextvars
import copy
import glob
import json
import os
import signal
import threading
import time
import uuid

import psutil
import ray
from verl.workers.rollout.replica import TokenOutput

from verl_gpo.plugin.client import abort_in_engine
from verl_gpo.plugin.replay_buffer import build_replay_buffer
from verl_gpo.plugin.worker import ReentryManager, ReentryWorker

FAULT, LOG = "VERL_GPO_FAULT", "VERL_GPO_FAULT_LOG"
#: A phase of a step: the function of verl's trainer whose call is its beginning. "saving" is in the middle of a save:
#: the actor is on the disk, the note of the latest checkpoint is not.
TRAINER = {
    "rollout": "on_sample_begin",
    "sleep": "on_sample_end",
    "old_log_prob": "_compute_old_log_prob",
    "advantage": "_compute_advantage",
    "update_actor": "_update_actor",
    "save": "_save_checkpoint",
    "saving": None,
    "update_weights": "on_step_end",
    "metrics": "_compute_metrics",
}


#: The model's answer instead of its own, by the name of the fault: tokens are bytes, 255 is a megabyte of text.
ANSWERS = {
    "empty": b"",
    "html": b"<script>alert(1)</script><img src=x onerror=alert(2)>\n</pre><!-- &amp;\n= 7",
    "controls": b"\x00\x1b[31m\x1b]0;title\x07\r\x7f\x08\xff\xfe\n\xe2\x80\xae\xc2\x85\n= 7",
    "megabytes": b"\xff\n\xff\n= 7",
}
#: Tokens that the second request must be allowed.
LONG = 32
#: The fault of the prompt that the current task works on, and the requests that it has sent.
_prompt = contextvars.ContextVar("prompt", default=None)


def fault():
    return json.loads(os.environ.get(FAULT, "{}"))


def engine_processes(server):
    """Runs in the rollout server: the processes of its engine."""
    return [process.pid for process in server.engine.engine_core.resources.engine_manager.processes]


def own_process(actor):
    return os.getpid()


def asked(victim):
    """A reference to the victim's process numbers."""
    names = ray.util.list_named_actors()
    prefix = {"engine": "vllm_server", "server": "vllm_server", "worker": "agent_loop_worker", "reward": "reward_loop"}
    name = min(name for name in names if name.startswith(prefix[victim]))
    return ray.get_actor(name).__ray_call__.remote(engine_processes if victim == "engine" else own_process)


def abort_once_there(server, name):
    """Runs in the rollout server: wait in a thread until its engine has the request, and abort it then.

    Asked from outside again and again, the server would often answer when the request has ended.
    """

    def wait():
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if name in server.engine.output_processor.external_req_ids:
                return abort_in_engine(server, name)
            time.sleep(0.0005)

    threading.Thread(target=wait, daemon=True).start()


def driver():
    parents = psutil.Process().parents()
    return next(parent.pid for parent in parents if "verl.trainer.main_ppo" in parent.cmdline())


def note(pid, what):
    line = json.dumps({**what, "pid": pid, "time": time.time()})
    with open(os.environ[LOG], "a") as file:
        file.write(line + "\n")


def note_update(answer):
    """Add a line to a file beside the log when the weights were updated while a request was outstanding."""
    first, last = (answer.extra_fields.get(f"{end}_global_steps") for end in ("min", "max"))
    if first != last:
        with open(f"{os.environ[LOG]}.updates", "a") as file:
            file.write(f"{first} {last}\n")


def strike(pids, what):
    """Send the signal, unless it was sent in this training before: a resumed one passes the same point."""
    if os.path.exists(os.environ[LOG]):
        return
    pids = pids if isinstance(pids, list) else [pids]
    note(pids[0], what)
    for pid in pids:
        os.kill(pid, what.get("signal", signal.SIGKILL))


def strike_while_weights_are_sent(pids, what):
    """Stop the engine, wait until the trainer has put the weights into shared memory for it, and kill it then."""
    before = set(glob.glob("/dev/shm/verl_weights_*"))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + 30
    while time.monotonic() < until and not set(glob.glob("/dev/shm/verl_weights_*")) - before:
        time.sleep(0.002)
    strike(pids, {**what, "files": sorted(set(glob.glob("/dev/shm/verl_weights_*")) - before)})


def with_faulty_answers(client):
    """The client, with the answers of :data:`ANSWERS`, and requests that are aborted in the engine."""
    kind = type(client)

    class Faulty(kind):
        async def generate(self, request_id, **request):
            state = _prompt.get()
            name, _, where = (state or {}).get("fault", "").partition("_")
            root = state is not None and len(request["prompt_ids"]) == state.setdefault("x", len(request["prompt_ids"]))
            # A request of a few tokens would be answered before it could be aborted.
            counted = state is not None and request["sampling_params"].get("max_tokens", LONG) >= LONG
            if counted:
                state["roots" if root else "others"] = state.get("roots" if root else "others", 0) + 1
            second = counted and state["roots" if root else "others"] == 2
            if not (root and where == "roots") and not (second and where == ("root" if root else "search")):
                answer = await kind.generate(self, request_id, **request)
                note_update(answer)
                return answer
            if name in ("full", "aborted"):  # no end before the budget
                request["sampling_params"] = {**request["sampling_params"], "ignore_eos": True}
            if name == "aborted":
                return await self._aborted(request_id, request)
            answer = await kind.generate(self, request_id, **request)
            if name not in ANSWERS:
                return answer
            tokens = [*ANSWERS[name], *([257] if ANSWERS[name] else [])]
            left = request["sampling_params"].get("max_tokens", len(tokens))
            return TokenOutput(
                token_ids=tokens[:left],
                log_probs=[-1.0] * len(tokens[:left]),
                stop_reason="completed",
                extra_fields=answer.extra_fields,
            )

        async def _aborted(self, request_id, request):
            noting, name = copy.copy(self), uuid.uuid4().hex
            noting._vllm_request_id = lambda _: name
            server = ray.get_actor(min(n for n in ray.util.list_named_actors() if n.startswith("vllm_server")))
            await server.__ray_call__.remote(abort_once_there, name)
            return await kind.generate(noting, request_id, **request)

    client.__class__ = Faulty
    return client


class FaultWorker(ReentryWorker):
    """The rollout worker, with the points ``roots`` and ``search``, and with answers that are faulty."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.llm_client = with_faulty_answers(self.llm_client)

    async def _run_prompt(self, prompt, *args, **kwargs):
        fault_of = (prompt.get("extra_info") or {}).get("fault")
        _prompt.set({"fault": fault_of} if fault_of else None)
        await super()._run_prompt(prompt, *args, **kwargs)

    async def _reached(self, point, kwargs):
        what = fault()
        if what.get("at") != point or int(kwargs["global_steps"]) != what["step"] or os.path.exists(os.environ[LOG]):
            return
        victim = what["victim"]
        if victim in ("engine", "server", "worker", "reward"):
            strike(await asked(victim), what)
        else:
            strike(driver() if victim == "driver" else os.getpid(), what)
        await asyncio.sleep(1.0)

    async def _compute_score(self, outputs, kwargs):
        group = self._groups.get(kwargs["uid"])
        if group is not None:
            await self._reached("search" if group.phase == "value" else "roots", kwargs)
        await super()._compute_score(outputs, kwargs)


class FaultManager(ReentryManager):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(FaultWorker)


def build_buffer(**kwargs):
    """verl_gpo's replay buffer; the trainer that asks for it gets the point of the fault."""
    what = fault()
    if what.get("at") in TRAINER:
        _arm(what)
    return build_replay_buffer(**kwargs)


def _arm(what):
    from verl.trainer.ppo.v1 import trainer_base, trainer_colocate_async, trainer_sync

    def reached():
        victim = what["victim"]
        if os.path.exists(os.environ[LOG]):
            return
        if victim == "engine" and what["at"] == "update_weights":
            pids = ray.get(asked(victim))
            threading.Thread(target=strike_while_weights_are_sent, args=(pids, what), daemon=True).start()
            time.sleep(0.3)
        else:
            own = {"trainer": os.getpid, "driver": driver}.get(victim)
            strike(own() if own else ray.get(asked(victim)), what)
            # A driver that is terminated takes seconds to end the run: the trainer is still in its phase then.
            time.sleep(10.0 if victim == "driver" and what["signal"] != signal.SIGKILL else 1.0)

    if what["at"] == "saving":
        import verl.utils.fs as fs

        make = fs.local_mkdir_safe

        def make_and_strike(folder):
            if f"global_step_{what['step']}" in str(folder):
                reached()
            return make(folder)

        fs.local_mkdir_safe = make_and_strike
        return
    name = TRAINER[what["at"]]
    classes = (trainer_base.PPOTrainer, trainer_sync.PPOTrainerSync, trainer_colocate_async.PPOTrainerColocateAsync)
    for trainer in classes:
        if name in vars(trainer):
            setattr(trainer, name, _before(vars(trainer)[name], reached, what["step"]))


def _before(method, reached, step):
    def wrapped(self, *args, **kwargs):
        if self.global_steps == step:
            reached()
        return method(self, *args, **kwargs)

    return wrapped
