"""What is known of a traced trajectory of this task, for the page: ``python -m verl_gpo.report --truth ...``.

    --truth recipes.arithmetic.truth:of_model=outputs/arithmetic/data/model
    --truth recipes.arithmetic.truth:of_training=outputs/arithmetic/gpo/checkpoints,outputs/arithmetic/data/model

The values are those of the model that wrote the trajectory, from its own probabilities (``values.py``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recipes.arithmetic.task import parse_problem

Truth = Callable[[Mapping[str, Any]], dict[str, Any] | None]
_END = "<|im_end|>"
#: A step with a smaller gain is not critical: even a trained model sometimes fails on an easy line.
LEAST = 0.01


def of_model(folder: str) -> Truth:
    """Truth under one model, as for ``inspect``.

    Raises:
        ValueError: no such folder.
    """
    _check(folder)
    return lambda row: known(row, folder)


def of_training(folders: str) -> Truth:
    """Truth under the weights of a training run: ``CHECKPOINTS,MODEL``, the model being that of before the first step.

    A trajectory whose weights were not saved in Hugging Face's format (``save_freq=1``,
    ``checkpoint.save_contents=[hf_model]``) is left without.

    Raises:
        ValueError: not two folders.
    """
    checkpoints, _, first = folders.partition(",")
    _check(checkpoints)
    _check(first)

    def truth(row: Mapping[str, Any]) -> dict[str, Any] | None:
        version = row.get("model_version")
        if version is None:
            return None
        folder = Path(checkpoints) / f"global_step_{version}" / "actor" / "huggingface" if version else Path(first)
        return known(row, str(folder)) if any(folder.glob("*.safetensors")) else None

    return truth


def _check(folder: str) -> None:
    if not folder or not Path(folder).is_dir():
        raise ValueError(f"{folder!r}: no such folder")


def known(row: Mapping[str, Any], folder: str) -> dict[str, Any] | None:
    """True values of the states, and the true critical step under the run's rule.

    Returns:
        ``true_values`` and ``true_critical``; None for a response that was not split into its lines.
    """
    from recipes.arithmetic.values import model_values

    model, tokenizer = _load(folder)
    problem = parse_problem(row["prompt"].strip())
    text = "".join(step["text"] for step in row["steps"]).partition(_END)[0]
    values = model_values(model, tokenizer, problem, text)
    if len(values) != len(row["steps"]) + 1:
        return None
    gains = [after - before for before, after in zip(values, values[1:], strict=False)]
    if row.get("rule") in ("argmin", "abs"):
        gains = [abs(gain) if row["rule"] == "abs" else -gain for gain in gains]
    best = max(gains, default=0.0)
    return {"true_values": list(values), "true_critical": gains.index(best) if best > LEAST else None}


@functools.lru_cache(maxsize=2)  # traces come in the order of the training
def _load(folder: str) -> tuple[Any, Any]:
    from transformers import AutoTokenizer, Qwen2ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return Qwen2ForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
