"""Writes a trace of each prompt to ``gpo.trace_dir``.

The event loop only passes the data on; the trace writer's thread decodes texts and writes records.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import ray

from ...config import GPOConfig
from ...core.result import GroupResult
from ...core.types import ScoredContinuation, Trajectory
from ...traces.record import trace_record
from ...traces.writer import TraceWriter
from ..agents.output import reentry_of
from . import STARTED


def worker_name(actor: str | None) -> str:
    """A worker name that stays the same in a later run, so that its traces are appended to the earlier ones.

    >>> worker_name("agent_loop_worker_3_1f0c9a2b")
    'worker-3'
    """
    number = re.match(r"agent_loop_worker_(\d+)_", actor or "")
    return f"worker-{number[1]}" if number else f"process-{os.getpid()}"


def this_worker() -> str:
    """:func:`worker_name` of the Ray actor that this process is."""
    return worker_name(ray.get_runtime_context().get_actor_name() if ray.is_initialized() else None)


#: Seconds for which a prompt waits for its record to be in a file: enough for any disk that works.
PATIENCE = 5.0


class PromptTraces:
    """Writes a record of each prompt, if ``gpo.trace_dir`` is set. Its methods never raise.

    Args:
        gpo: its ``trace_*`` settings, and the settings of the search that a record contains.
        tokenizer: the policy's tokenizer.
        name: name of this worker.
        workers: number of workers that share the size limit of all traces.
    """

    def __init__(self, gpo: GPOConfig, tokenizer: Any, name: str, workers: int = 1):
        self._gpo, self._tokenizer = gpo, tokenizer
        self._writer = None
        if gpo.enable and gpo.trace_dir:
            bound = max((gpo.trace_max_mb << 20) // workers, 1)
            self._writer = TraceWriter(gpo.trace_dir, name, bound, gpo.trace_every)

    @functools.cached_property
    def _decode(self) -> Any:
        # A copy, because a fast tokenizer refuses to encode in one thread while another one decodes with it.
        tokenizer = copy.deepcopy(self._tokenizer)
        return lambda ids: tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def write(
        self,
        roots: Sequence[Trajectory],
        result: GroupResult,
        rows: Sequence[ScoredContinuation],
        trajectory: Mapping[str, Any],
        columns: Mapping[str, Any],
    ) -> Future[None] | None:
        """Pass on the data of one prompt, for :meth:`kept`. It does not wait.

        Args:
            roots: its root rollouts; their ``source`` is verl's output.
            result: the result of GPO's procedure.
            rows: the continuations that became rows of the batch.
            trajectory: verl's description of the prompt: ``step``, ``sample_index``.
            columns: the prompt's columns in the data.
        """
        if self._writer is None:
            return None

        def record() -> dict[str, Any]:
            source = roots[0].source
            reentries = [reentry_of(root.source) for root in roots]
            version = source.extra_fields.get("max_global_steps")
            return trace_record(
                roots,
                result,
                self._decode,
                self._decode(list(source.prompt_ids)),
                rows,
                [reentry.calls for reentry in reentries] if all(reentries) else None,
                uid=columns["uid"],
                global_step=int(trajectory["step"]),
                started=float(os.environ[STARTED]) if STARTED in os.environ else None,
                model_version=None if version is None else int(version),
                sample_index=trajectory["sample_index"],
                data_source=columns.get("data_source"),
                ground_truth=(columns.get("reward_model") or {}).get("ground_truth"),
                rule=self._gpo.rule,
                search=self._gpo.search,
                solved_reward=self._gpo.solved_reward,
            )

        return self._writer.write(record)

    async def kept(self, record: Future[None] | None) -> None:
        """Wait until a record is in its file, at most for :data:`PATIENCE` seconds.

        A prompt is reported to the trainer after that, and a step's checkpoint comes after its prompts: when the run is
        killed, no step that its checkpoint contains has lost its traces.
        """
        if record is not None:
            await asyncio.wait([asyncio.wrap_future(record)], timeout=PATIENCE)
