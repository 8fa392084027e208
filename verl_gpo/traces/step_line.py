"""A summary of one training step in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .runlog import generated_tokens, validation_accuracy


def step_line(step: int, metrics: Mapping[str, Any]) -> str:
    """The summary of a training step, from the metrics that verl logs for it. Metrics that are missing are left out.

    >>> step_line(3, {"gpo/accuracy/root": 0.5, "timing_s/step": 12.34})
    'step 3: root accuracy 0.50, 12.3 s'
    """
    parts = []
    validation = validation_accuracy(metrics)
    if validation is not None:
        parts.append(f"validation {validation:.3f}")
    accuracy = _known(metrics, "gpo/accuracy/root", "root accuracy {:.2f}")
    reentry = _known(metrics, "gpo/accuracy/reentry", "re-entry {:.2f}")
    parts += accuracy + reentry
    if "gpo/critical/found" in metrics and metrics.get("gpo/prompts/skipped", 0.0) < 1:
        parts.append(_critical(metrics))
    tokens = generated_tokens(metrics)
    if tokens:
        search = 1 - metrics.get("gpo/tokens/root", 0.0) / tokens
        parts.append(f"{_short(tokens)} tokens" + (f" ({search:.0%} search and re-entry)" if search else ""))
    parts += _known(metrics, "gpo/prefix_cache_hit_share", "cache hits {:.0%}")
    failures = sum(metrics.get(f"gpo/failures/{kind}", 0.0) for kind in ("sampling", "scoring"))
    if failures:
        parts.append(f"{failures:.0f} requests failed")
    parts += _known(metrics, "timing_s/step", "{:.1f} s")
    return f"step {step}: {', '.join(parts) or 'nothing logged'}"


def _critical(metrics: Mapping[str, Any]) -> str:
    found = metrics["gpo/critical/found"]
    # Without a search the chosen step is only a reset and not known to be critical.
    searched = metrics.get("gpo/requests/value") != 0 or "gpo/critical/confidence" in metrics
    what = "critical step" if searched else "reset"
    text = f"{found:.0f} {what}{'' if found == 1 else 's'}"
    about = _known(metrics, "gpo/critical/position", "at {:.0%}") if found else []
    about += _known(metrics, "gpo/critical/confidence", "confidence {:.2f}") if found else []
    about += [
        f"{metrics[key]:.0%} abstained" for key in ("gpo/prompts/without_critical_step",) if metrics.get(key, 0.0) > 0
    ]
    return f"{text} ({', '.join(about)})" if about else text


def _known(metrics: Mapping[str, Any], key: str, text: str) -> list[str]:
    return [text.format(metrics[key])] if key in metrics else []


def _short(count: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"
