"""The command line of a training, checked before a model is loaded."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..inference.model import identify

#: File that is written last: a folder with it has a trained model.
RESULT = "train.json"
#: File that the Trainer writes to each checkpoint.
_STATE = "trainer_state.json"


@dataclass(frozen=True)
class Method:
    """A row of :data:`METHODS`.

    Attributes:
        config: TRL's configuration, module and class.
        trainer: class in :mod:`verl_gpo.offline.trainers`.
        file: which file of a build it reads.
        columns: the columns that it needs there.
        settings: defaults that turn TRL's trainer into this method; the user may override them.
        forms_model: whether TRL's trainer loads the model by itself, and its reference in the same way.
    """

    config: tuple[str, str]
    trainer: str
    file: str
    columns: tuple[str, ...]
    settings: Mapping[str, Any]
    forms_model: bool


_PAIRED = ("prompt_ids", "chosen_ids", "rejected_ids")
METHODS: dict[str, Method] = {
    "dpo": Method(("trl", "DPOConfig"), "ExactDPOTrainer", "pairs", _PAIRED, {}, True),
    "kto": Method(
        ("trl", "KTOConfig"), "ExactKTOTrainer", "unpaired", ("prompt_ids", "completion_ids", "label"), {}, True
    ),
    # SimPO (arXiv 2405.14734) has no likelihood term, which CPO adds, and averages log-probs over tokens, so its beta
    # is much larger than DPO's: the paper's range is 2 to 2.5, with a target margin of half of it.
    "simpo": Method(
        ("trl.experimental.cpo", "CPOConfig"),
        "ExactCPOTrainer",
        "pairs",
        _PAIRED,
        {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.0, "simpo_gamma": 1.0, "remove_unused_columns": False},
        False,
    ),
    "orpo": Method(
        ("trl.experimental.orpo", "ORPOConfig"),
        "ExactORPOTrainer",
        "pairs",
        _PAIRED,
        {"remove_unused_columns": False},
        False,
    ),
}

#: Settings of TRL for which there is an option here.
_OPTIONS = {"output_dir": "--out", "model_name_or_path": "--model"}


@dataclass(frozen=True)
class TrainSettings:
    """A training that can start.

    Attributes:
        columns: of the training rows, name to values; likewise ``eval_columns``, or None.
        args, model_args: TRL's configuration of the trainer, and its ``ModelConfig``.
        resume: the checkpoint to resume from; None to start from the beginning.
        dropped, cut: rows whose prompt fills ``max_length``, and continuations that were shortened to it.
    """

    method: str
    model: str
    pairs: Path
    out: Path
    columns: dict[str, list]
    eval_columns: dict[str, list] | None
    args: Any
    model_args: Any
    resume: str | None
    dropped: int
    cut: int
    merge: bool


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m verl_gpo.offline.train",
        description="Train on preference pairs with TRL, on the exact tokens that the policy wrote.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--method", choices=list(METHODS), required=True)
    parser.add_argument("--model", required=True, help="Hugging Face folder or name")
    parser.add_argument("--pairs", type=Path, required=True, help="folder of a build, or its pairs or unpaired file")
    parser.add_argument("--eval-pairs", type=Path, help="the same, for TRL's evaluation; set eval_strategy as well")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model and TRL's checkpoints")
    parser.add_argument("--merge", action="store_true", help="with LoRA, also write the merged model to OUT/merged")
    parser.add_argument(
        "trl", nargs="*", metavar="KEY=VALUE", help="settings of TRL's configuration of the method, or its ModelConfig"
    )
    return parser.parse_args(argv)


def make_settings(args: argparse.Namespace) -> TrainSettings:
    """Check everything that can be checked without a model.

    Raises:
        ValueError: names the option, key or file, what is wrong and what is allowed.
    """
    method = METHODS[args.method]
    if (args.out / RESULT).exists():
        raise ValueError(f"--out={args.out}: holds a trained model; choose another folder")
    identify(args.model)
    rows = _read(args.pairs, method, "--pairs")
    eval_rows = _read(args.eval_pairs, method, "--eval-pairs") if args.eval_pairs else None
    given = _split(args.trl)
    # Nothing is cut unless the user asks for it: TRL's defaults differ between trainers.
    longest = max(_length(row) for row in [*rows, *(eval_rows or [])])
    config, model_args = _parse(method, given, args.out, longest)
    resume = _checkpoint(config.resume_from_checkpoint, args.out)
    _check_batches(args.method, config)
    if model_args.use_peft is False and args.merge:
        raise ValueError("--merge: there is no adapter to merge without use_peft=true")
    if args.method == "kto" and len({row["label"] for row in rows}) < 2:
        raise ValueError(f"--pairs={args.pairs}: KTO needs desirable and undesirable rows")
    rows, dropped, cut = _fit(rows, config.max_length)
    if not rows:
        raise ValueError(f"max_length={config.max_length}: no prompt is shorter; the longest row has {longest} tokens")
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    eval_columns = None
    if eval_rows:
        fitting, *_ = _fit(eval_rows, config.max_length)
        eval_columns = {name: [row[name] for row in fitting] for name in eval_rows[0]}
    return TrainSettings(
        args.method,
        args.model,
        args.pairs,
        args.out,
        columns,
        eval_columns,
        config,
        model_args,
        resume,
        dropped,
        cut,
        args.merge,
    )


def _read(path: Path, method: Method, option: str) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = path / f"{method.file}.parquet" if path.is_dir() else path
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{option}={path}: {file} is not a readable parquet file ({error})") from error
    missing = set(method.columns) - set(table.column_names)
    if missing:
        raise ValueError(
            f"{option}={path}: {file} has no column {', '.join(sorted(missing))}; give what verl_gpo.offline.build "
            f"wrote, for this method {method.file}.parquet"
        )
    if not table.num_rows:
        raise ValueError(f"{option}={path}: {file} has no rows")
    # Of conversations with tools: which tokens the policy wrote.
    masks = [f"{name.removesuffix('_ids')}_written" for name in method.columns]
    return table.select([*method.columns, *(name for name in masks if name in table.column_names)]).to_pylist()


def _checkpoint(given: str | None, out: Path) -> str | None:
    """The folder that ``resume_from_checkpoint`` means: ``true`` is the last one in OUT.

    Raises:
        ValueError: there is no such checkpoint.
    """
    from transformers.trainer_utils import get_last_checkpoint

    if given is None or str(given).lower() in ("false", "none", "null", ""):
        return None
    if str(given).lower() != "true":
        if not (Path(given) / _STATE).is_file():
            raise ValueError(f"resume_from_checkpoint={given}: no {_STATE} there; give true, or a folder checkpoint-N")
        return str(given)
    found = get_last_checkpoint(str(out)) if out.is_dir() else None
    if found is None:
        raise ValueError(
            f"resume_from_checkpoint={given}: --out={out} has no checkpoint; leave it out to start anew, and set "
            "save_strategy=steps save_steps=N to have some"
        )
    if not (Path(found) / _STATE).is_file():
        raise ValueError(f"resume_from_checkpoint={given}: {found} is not complete, it has no {_STATE}; remove it")
    return found


def _check_batches(method: str, config: Any) -> None:
    """Refuse what TRL's KTO trainer refuses only after loading the model: its KL term needs neighbouring rows."""
    if method != "kto" or config.loss_type == "apo_zero_unpaired":
        return
    if config.per_device_train_batch_size <= 1:
        raise ValueError(
            f"per_device_train_batch_size={config.per_device_train_batch_size}: KTO needs at least 2, since its KL "
            "term pairs each prompt of a batch with the continuation of another"
        )
    if config.train_sampling_strategy != "sequential":
        raise ValueError(
            f"train_sampling_strategy={config.train_sampling_strategy}: KTO needs sequential, since its KL term pairs "
            "neighbouring rows"
        )


def _continuations(row: Mapping[str, Any]) -> list[str]:
    return [name for name in ("chosen_ids", "rejected_ids", "completion_ids") if name in row]


def _length(row: Mapping[str, Any]) -> int:
    return len(row["prompt_ids"]) + max(len(row[name]) for name in _continuations(row))


def _fit(rows: Sequence[dict[str, Any]], max_length: int | None) -> tuple[list[dict[str, Any]], int, int]:
    """Rows that fit, as with TRL's ``keep_start``. Returns them, the number of dropped rows, and that of cut ones."""
    if max_length is None:
        return list(rows), 0, 0
    fitting, cut = [], 0
    for row in rows:
        room = max_length - len(row["prompt_ids"])
        if room <= 0:
            continue
        cut += sum(len(row[name]) > room for name in _continuations(row))
        kept = [*_continuations(row), *(name for name in row if name.endswith("_written"))]
        fitting.append({**row, **{name: row[name][:room] for name in kept}})
    return fitting, len(rows) - len(fitting), cut


def _split(pairs: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found or not key:
            raise ValueError(f"{pair!r}: must be KEY=VALUE")
        given[key] = value
    return given


def _list(key: str, value: str) -> Any:
    """A value in YAML's brackets, read; None for any other."""
    try:
        return yaml.safe_load(value) if value.startswith("[") else None
    except yaml.YAMLError as error:
        raise ValueError(f"{key}={value}: must be a list in brackets, such as [q_proj,v_proj]") from error


def _parse(method: Method, given: Mapping[str, str], out: Path, longest: int) -> tuple[Any, Any]:
    """TRL's two configurations, by its own parser."""
    try:
        # Some of the trainers are experimental in TRL, which warns at each import; the version is pinned.
        os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
        import torch
        from trl import ModelConfig, TrlParser
    except ImportError as error:
        raise ValueError(f"TRL is not installed ({error}): pip install 'verl_gpo[offline]'") from error
    config_class = getattr(importlib.import_module(method.config[0]), method.config[1])
    known = {f.name for c in (config_class, ModelConfig) for f in dataclasses.fields(c) if f.init}
    for key, value in given.items():
        if key in _OPTIONS:
            raise ValueError(f"{key}={value}: give it as {_OPTIONS[key]}")
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ValueError(
                f"{key}={value}: no such key; {hint}known are those of TRL's {method.config[1]} and ModelConfig"
            )
    settings: dict[str, Any] = {"max_length": longest, "report_to": "none", **method.settings}
    if not torch.accelerator.is_available():
        settings |= {"use_cpu": True, "bf16": False}
    arguments = ["--output_dir", str(out)]
    for key, value in {**{key: str(value) for key, value in settings.items()}, **given}.items():
        listed = _list(key, value)
        arguments += [f"--{key}", *(map(str, listed) if isinstance(listed, list) else [value])]
    parser = TrlParser((config_class, ModelConfig))

    def refuse(message: str) -> None:
        raise ValueError(re.sub(r"argument --(\w+)\S*:", r"\1:", message))

    parser.error = refuse
    try:
        config, model_args = parser.parse_args_into_dataclasses(args=arguments)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f"TRL refuses a setting: {error}") from error
    return config, model_args
