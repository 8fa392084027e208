"""Full disks, two runs on one machine, many outstanding requests, rows that are malformed."""

import concurrent.futures
import contextlib
import shutil
import signal
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl_gpo.traces.reader import count_traces
from verl_gpo.traces.runlog import RunLog

pytestmark = [pytest.mark.faults, pytest.mark.e2e]
pipeline = pytest.mark.pipeline


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 24 MB, with a file that fills what is left of it: ``fill()``, and ``free()`` again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")

    class Disk:
        path, filler = disk, disk / "filler"

        def fill(self):
            with contextlib.suppress(OSError), self.filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096 if shutil.disk_usage(self.path).free >= 4096 else 1))

        def free(self):
            self.filler.unlink()

    yield Disk()
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pipeline
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_disk_that_is_full_under_metrics_and_traces(table, new_stage, small_disk):
    stage = new_stage("full", "trainer.total_training_steps=3", "trainer.save_freq=-1")
    stage.metrics, traces = small_disk.path / "metrics.jsonl", small_disk.path / "traces"
    small_disk.fill()
    freed = []

    def free_after_the_second_step(stage, process):
        log = "".join(file.read_text(errors="replace") for file in stage.folder.glob("*.log"))
        if not freed and "step 2:" in log and "metrics of 1 steps are not written" in log:
            small_disk.free()
            freed.append(True)
        return False

    promised = "is said, and the run goes on; lines and records are kept and written when there is room"
    with table.row("disk full under metrics and traces, then not", promised) as row:
        ended = stage.run(f"algorithm.gpo.trace_dir={traces}", interrupt=free_after_the_second_step)
        row.leftovers = ended.leftovers
        assert ended.status == 0 and freed, ended.log[-5000:]
        row.lost += [f"metrics of step {step}" for step in (1, 2, 3) if step not in RunLog.read(stage.metrics).steps]
        row.lost += [] if count_traces(traces) == 12 else [f"traces: {count_traces(traces)} of 12"]
        assert (
            ended.said("metrics.jsonl", "No space left on device") and "kept in memory until there is room" in ended.log
        )
        row.seen = "both said so; after there was room, 3 lines of metrics and 12 traces"


@pipeline
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_disk_that_is_full_under_a_checkpoint(table, new_stage, small_disk):
    stage = new_stage("checkpoint", "trainer.total_training_steps=3")
    stage.checkpoints = small_disk.path / "checkpoints"
    folder = f"trainer.default_local_dir={stage.checkpoints}"
    filled = []

    def fill_after_the_first(stage, process):
        if stage.latest_checkpoint() == 1 and not filled:
            small_disk.fill()
            filled.append(True)
        return bool(filled)

    promised = "ends with an error status and names the disk; goes on from the checkpoint before"
    with table.row("disk full under a checkpoint", promised) as row:
        ended = stage.run(folder, interrupt=fill_after_the_first, within=180.0)
        row.leftovers, row.seconds = ended.leftovers, round(ended.seconds, 1)
        assert ended.status != 0 and filled and stage.latest_checkpoint() == 1, ended.log[-5000:]
        small_disk.free()
        shutil.rmtree(stage.checkpoints / "global_step_2", ignore_errors=True)
        (said,) = ended.said("is full")
        row.seen = f"status {ended.status}: {said}"
        resumed = stage.run(folder)
        assert resumed.status == 0, resumed.log[-5000:]
        row.lost = stage.lost()
        stage.counts_as_one_run(3)


@pipeline
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_runs_on_one_machine(table, new_stage):
    stages = [new_stage(name, "trainer.total_training_steps=2") for name in ("one", "other")]
    kill = {"victim": "driver", "at": "update_weights", "step": 1, "signal": int(signal.SIGKILL)}
    promised = "the other run is not touched; the killed one goes on from its checkpoint"
    with table.row("two runs on one machine, one of them killed", promised) as row:
        with concurrent.futures.ThreadPoolExecutor(2) as both:
            killed = both.submit(stages[0].run, fault=kill, start=600.0)
            whole = both.submit(stages[1].run, start=900.0)
            killed, whole = killed.result(), whole.result()
        assert killed.struck and killed.status == -signal.SIGKILL and whole.status == 0, whole.log[-5000:]
        row.leftovers = killed.leftovers + whole.leftovers
        assert stages[0].run().status == 0
        for stage in stages:
            row.lost += stage.lost()
            stage.counts_as_one_run(2)
        row.seen = "both have their two steps once each"


@pipeline
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_outstanding_requests_end_when_weights_are_updated_among_them(table, new_stage):
    stage = new_stage(
        "async",
        "trainer.v1.trainer_mode=colocate_async",
        "trainer.v1.colocate_async.num_warmup_batches=4",
        "trainer.total_training_steps=4",
        "algorithm.gpo.n_mc=32",
        "algorithm.gpo.cost_ceiling=0",
        "algorithm.gpo.report_silence=60",
    )
    promised = "ends; a request that an update interrupts is continued with the new weights"
    with table.row("colocate_async, n_mc=32, weights updated in the middle of searches", promised) as row:
        ended = stage.run(start=900.0)
        row.leftovers = ended.leftovers
        assert ended.status == 0, ended.log[-5000:]
        steps = RunLog.read(stage.metrics).steps
        assert list(steps) == [1, 2, 3, 4]
        requests = max(metrics["gpo/requests/value"] for metrics in steps.values())
        stale = max(metrics["training/off_policy/trajectory_staleness/max"] for metrics in steps.values())
        noted = stage.folder / "1.fault.updates"
        over = len(noted.read_text().splitlines()) if noted.exists() else 0
        row.seen = f"up to {requests:.0f} continuations a step; {over} requests went on over an update of the weights"
        assert requests > 4 * 32 and stale >= 1 and over > 0, row.seen
        assert not ended.said("nothing has happened"), ended.said("nothing has happened")


def test_a_malformed_row_in_the_middle_of_an_epoch(table, new_stage, arithmetic_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(arithmetic_data, data)
    rows = pq.read_table(data / "train.parquet").slice(0, 64).to_pylist()
    rows[37]["prompt"] = None
    pq.write_table(pa.Table.from_pylist(rows), data / "train.parquet")
    with table.row(
        "a row without a prompt, in mid-epoch", "is refused before Ray starts; file and row are named"
    ) as row:
        ended = new_stage("row", data=data).run()
        row.leftovers, row.seconds = ended.leftovers, round(ended.seconds, 1)
        assert ended.status == 1
        (line,) = ended.said("data.train_files=")
        assert "in row 37" in line
        row.seen = f"status 1: {line[:160]}"
