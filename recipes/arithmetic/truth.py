"""The true values and critical steps of this task, for the report page: ``python -m verl_gpo.report --truth ...``.

    --truth recipes.arithmetic.truth:of_model=outputs/arithmetic/data/model
    --truth recipes.arithmetic.truth:of_training=outputs/arithmetic/gpo/checkpoints,outputs/arithmetic/data/model

The values are computed from the probabilities of the model that wrote the trajectory (``values.py``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recipes.arithmetic.task import parse_problem

Truth = Callable[[Mapping[str, Any]], dict[str, Any] | None]
_END = "<|im_end|>"
#: Smallest change of value of a critical step. Even easy lines change it a little, since a model sometimes fails there.
LEAST = 0.01


def of_model(folder: str) -> Truth:
    """The truth under one model, as for ``python -m verl_gpo.report inspect``.

    Args:
        folder: of the model.

    Raises:
        ValueError: there is no such folder.
    """
    _check(folder)
    return lambda row: known(row, folder)


def of_training(folders: str) -> Truth:
    """The truth under the weights of a training run, which change with every training step.

    A trajectory has no truth if its weights were not saved in Hugging Face's format. The settings ``save_freq=1`` and
    ``checkpoint.save_contents=[hf_model]`` save all of them.

    Args:
        folders: ``CHECKPOINTS,MODEL``: the folder of the checkpoints, and the model from which the training started.

    Raises:
        ValueError: one of the two is not a folder.
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
    """The true values of the states of a trajectory, and its true critical step under the rule of the run.

    Args:
        row: the trajectory, as ``python -m verl_gpo.report`` gives it.
        folder: of the model that wrote it.

    Returns:
        ``true_values`` and ``true_critical``; None if the steps of the response are not its lines.
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


@functools.lru_cache(maxsize=2)  # traces are read in the order of the training, so a model is not needed again later
def _load(folder: str) -> tuple[Any, Any]:
    from transformers import AutoTokenizer, Qwen2ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return Qwen2ForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
