"""Starts a run of the real stack, and looks at what it leaves when a fault has ended it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import REPOSITORY
from verl_gpo.plugin.observe.metrics_file import UNDER_WAY
from verl_gpo.plugin.watch.caretaker import descendants, name_of, processes, weight_files
from verl_gpo.report.__main__ import main as report
from verl_gpo.traces.reader import read_traces, sample_traces
from verl_gpo.traces.runlog import RunLog

CONFIG = REPOSITORY / "recipes" / "arithmetic" / "config"
#: Seconds that a run may take from the fault to its end.
WITHIN = 60.0
START = 300.0


@dataclass
class Ended:
    """A run that has ended.

    Attributes:
        status: exit status; negative for a signal.
        log: what it printed; RUNS is the folder of the test.
        seconds: from the fault to the end; from the start if there was none.
        struck: what the fault wrote when it struck, {} if it did not.
        leftovers: processes that live, and files that it left in shared memory.
    """

    status: int
    log: str
    seconds: float
    struck: dict = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)

    def said(self, *words: str) -> list[str]:
        """Lines of verl_gpo's that hold all these words."""
        lines = [line for line in self.log.splitlines() if "verl_gpo: " in line]
        return [line[line.index("verl_gpo: ") :] for line in lines if all(word in line for word in words)]


class Stage:
    """One folder in which a training is started, meets a fault, and is started again.

    Args:
        folder: for checkpoints, metrics, traces and logs.
        data: folder with ``model``, ``train.parquet`` and ``test.parquet``.
        overrides: of all its starts.
    """

    def __init__(self, folder: Path, data: Path, *overrides: str):
        self.folder, self.metrics, self.traces = folder, folder / "metrics.jsonl", folder / "traces"
        self.checkpoints = folder / "checkpoints"
        self._starts = 0
        self._overrides = [
            f"data.train_files={data}/train.parquet",
            f"data.val_files={data}/test.parquet",
            f"actor_rollout_ref.model.path={data}/model",
            f"reward.custom_reward_function.path={REPOSITORY}/recipes/arithmetic/reward.py",
            "data.train_batch_size=4",
            "data.max_response_length=64",
            "data.val_max_samples=8",
            "actor_rollout_ref.actor.ppo_mini_batch_size=4",
            "actor_rollout_ref.rollout.n=4",
            "actor_rollout_ref.rollout.agent.agent_loop_manager_class=tests.faults.inject.FaultManager",
            "trainer.v1.sampler.custom_sampler.path=pkg://tests.faults.inject",
            "trainer.v1.sampler.custom_sampler.name=build_buffer",
            "trainer.val_before_train=false",
            "trainer.test_freq=-1",
            "trainer.save_freq=1",
            f"trainer.default_local_dir={self.checkpoints}",
            f"algorithm.gpo.trace_dir={self.traces}",
            *overrides,
        ]

    def run(self, *overrides: str, fault: dict | None = None, interrupt=None, environment=None, **limits) -> Ended:
        """Start the training and wait for its end.

        Args:
            overrides: of this start.
            fault: what :mod:`tests.faults.inject` does.
            interrupt: called with this stage and the process five times a second until it returns true: a fault from
                outside. The time is taken from then on.
            environment: variables of this start.
            limits: ``start``, ``within``: seconds until the fault, and from the fault to the end.
        """
        self._starts += 1
        log, struck = self.folder / f"{self._starts}.log", self.folder / f"{self._starts}.fault"
        command = [sys.executable, "-m", "verl.trainer.main_ppo", "--config-path", str(CONFIG), "--config-name"]
        variables = {
            **os.environ,
            "VERL_FILE_LOGGER_PATH": str(self.metrics),
            "VERL_GPO_FAULT_LOG": str(struck),
            "VERL_GPO_FAULT": json.dumps(fault or {}),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            **(environment or {}),
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "arithmetic", *self._overrides, *overrides],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables,
                cwd=self.folder,
                start_new_session=True,
                # A shell starts what is in the background with SIGINT ignored, and a Ctrl-C would not be one.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            return self._watch(process, log, struck, interrupt, bool(fault), **limits)

    def _watch(self, process, log, struck, interrupt, faulty, start=START, within=WITHIN) -> Ended:
        known, files = set(), set()
        began, since = time.monotonic(), None
        try:
            while process.poll() is None:
                known = descendants(known, {process.pid}, processes())
                files |= weight_files(known)
                if since is None and (struck.exists() or (interrupt is not None and interrupt(self, process))):
                    since = time.monotonic()
                limit, origin = (within, since) if since is not None else (start, began)
                if time.monotonic() - origin > limit:
                    raise AssertionError(f"no end after {limit:.0f} s\n{log.read_text(errors='replace')[-5000:]}")
                time.sleep(0.2)
            seconds = time.monotonic() - (since or began)
            time.sleep(0.5)
            alive = descendants(known, set(), processes())
            until = time.monotonic() + 20.0  # a driver that was killed is cleared up after
            while process.returncode < 0 and alive and time.monotonic() < until:
                time.sleep(0.2)
                alive = descendants(alive, set(), processes())
            leftovers = [f"{name_of(one)} ({one.pid})" for one in sorted(alive)]
            leftovers += [str(file) for file in sorted(files) if file.exists()]
        finally:
            for one in descendants(known, {process.pid}, processes()):
                if process.poll() is None or one.pid != process.pid:
                    with contextlib.suppress(OSError):
                        os.kill(one.pid, signal.SIGKILL)
            if process.poll() is None:
                process.kill()
            process.wait()
        what = json.loads(struck.read_text().splitlines()[0]) if struck.exists() else {}
        said = log.read_text(errors="replace").replace(str(self.folder.parent), "RUNS")  # no path of this machine
        return Ended(process.returncode, said, seconds, what, leftovers)

    def lost(self, prompts: int = 4) -> list[str]:
        """What is missing of the steps up to the latest checkpoint: lines of metrics, traces, files of the checkpoint.

        A step whose checkpoint is there and whose line is not, because the run ended in between, is not lost if it is
        noted beside the metrics: the next start adds it.
        """
        done, missing = self.latest_checkpoint(), []
        logged = set(RunLog.read(self.metrics).steps) if self.metrics.exists() else set()
        noted = Path(f"{self.metrics}{UNDER_WAY}")
        if noted.exists():
            logged.add(json.loads(noted.read_text())["step"])
        missing += [f"metrics of step {step}" for step in range(1, done + 1) if step not in logged]
        records = list(read_traces(self.traces)) if list(self.traces.glob("*.gz")) else []
        for step in range(1, done + 1):
            traced = sum(record["global_step"] == step for record in records)
            if traced != prompts:
                missing.append(f"traces of step {step}: {traced} of {prompts}")
        if done and not (self.checkpoints / f"global_step_{done}" / "actor").is_dir():
            missing.append(f"checkpoint of step {done}")
        return missing

    def counts_as_one_run(self, steps: int, prompts: int = 4) -> None:
        """Metrics, traces and report of a training that was started several times are those of one training."""
        log = RunLog.read(self.metrics)
        assert list(log.steps) == list(range(1, steps + 1)), list(log.steps)
        assert all(metrics["gpo/rows"] >= 4 * prompts for metrics in log.steps.values())
        by_step = Counter(record["global_step"] for record in read_traces(self.traces))
        assert by_step == dict.fromkeys(range(1, steps + 1), prompts), by_step
        page = self.folder / "report.html"
        arguments = ["--traces", str(self.traces), "--runs", str(self.metrics), "--out", str(page)]
        assert report(arguments) == 0 and page.stat().st_size > 100_000
        assert sample_traces(self.traces)[1] == steps * prompts

    def latest_checkpoint(self) -> int:
        """The training step that a resumed run would start after; 0 without a checkpoint."""
        file = self.checkpoints / "latest_checkpointed_iteration.txt"
        return int(file.read_text()) if file.exists() else 0
