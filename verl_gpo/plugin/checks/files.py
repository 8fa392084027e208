"""Files and folders that a run reads or writes, checked on this host before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ...config import BLOCK, GIVEN_STEPS, ConfigError, GPOConfig
from ...core.search import SEARCHES
from .rows import check_prompts

_READ = (
    "data.train_files",
    "data.val_files",
    "actor_rollout_ref.model.path",
    "reward.custom_reward_function.path",
)
_TRAIN = "data.train_files"


def check_files(config: DictConfig, gpo: GPOConfig | None) -> None:
    """Refuse local files that are missing, or do not contain what the run needs.

    Args:
        config: verl's configuration.
        gpo: GPO's settings; None for a run that does not use GPO's rollout worker. For such a run it is only checked
            that the files exist.

    Raises:
        ConfigError: the key, the file, what is wrong.
    """
    for key, path, local in files_missing(config):
        raise ConfigError(key, path, f"no such file or folder{'' if local == Path(path) else f' ({local})'}")
    if gpo is None:
        return
    for key in ("data.train_files", "data.val_files"):
        for path, local in _local(OmegaConf.select(config, key)):
            if local.suffix == ".parquet":
                _check_rows(key, path, local, str(OmegaConf.select(config, "data.prompt_key") or "prompt"))
    _check_batch(config)
    if gpo.enable and SEARCHES[gpo.search].needs_given_steps:
        _check_steps_are_given(OmegaConf.select(config, _TRAIN))
    checkpoint = OmegaConf.select(config, "trainer.resume_from_path")
    if checkpoint is not None and not Path(checkpoint).exists():
        raise ConfigError("trainer.resume_from_path", checkpoint, "no such folder")


def files_missing(config: DictConfig) -> Iterator[tuple[str, str, Path]]:
    """Local files of the run that are not on this host: key, path as configured, and full path."""
    for key in _READ:
        for path, local in _local(OmegaConf.select(config, key)):
            if not local.exists():
                yield key, path, local


def _local(value: Any) -> Iterator[tuple[str, Path]]:
    """Values that look like a local path. Names on a hub (``org/name``) and URLs are left to verl."""
    for path in map(str, [value] if isinstance(value, str) else value or ()):
        local = Path(path).expanduser()
        if "://" in path:
            continue
        if local.is_absolute() or path.startswith((".", "~")) or local.suffix in (".parquet", ".py", ".jsonl"):
            yield path, local


def _check_rows(key: str, path: str, local: Path, prompt_key: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema, rows = pq.read_schema(local), pq.read_metadata(local).num_rows
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(key, path, f"is not a readable parquet file ({' '.join(str(error).split())})") from error
    if prompt_key not in schema.names:
        raise ConfigError(key, path, f"has no column {prompt_key} (data.prompt_key); it has {', '.join(schema.names)}")
    if not rows:
        raise ConfigError(key, path, "has no rows")
    check_prompts(key, path, local, prompt_key)


def _check_batch(config: DictConfig) -> None:
    """Refuse a batch larger than the training set: verl drops an incomplete batch, so it would train on nothing."""
    import pyarrow.parquet as pq

    files = list(_local(OmegaConf.select(config, _TRAIN)))
    if not all(local.suffix == ".parquet" for _, local in files) or not files:
        return
    key = "data.gen_batch_size" if OmegaConf.select(config, "data.gen_batch_size") else "data.train_batch_size"
    size = OmegaConf.select(config, key)
    rows = sum(pq.read_metadata(local).num_rows for _, local in files)
    if not OmegaConf.select(config, "algorithm.filter_groups.enable") and rows < size:
        raise ConfigError(key, size, f"must be at most {rows}, the rows of {_TRAIN}")


def _check_steps_are_given(value: Any) -> None:
    """Refuse a training set that does not name decisive steps, where it is a local parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path, local in _local(value):
        if local.suffix != ".parquet":
            continue
        schema = pq.read_schema(local)
        index = schema.get_field_index("extra_info")
        names = [field.name for field in schema.field(index).type] if index >= 0 else []
        if GIVEN_STEPS not in names:
            raise ConfigError(
                f"{BLOCK}.search",
                "given",
                f"needs extra_info.{GIVEN_STEPS} in each row; extra_info of {path} has {', '.join(names) or 'none'}",
            )
        kind = schema.field(index).type.field(GIVEN_STEPS).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_integer(kind.value_type):
            raise ConfigError(
                f"{BLOCK}.search", "given", f"needs lists of integers in extra_info.{GIVEN_STEPS}; {path} has {kind}"
            )


def prepare_folder(config: DictConfig, key: str, value: str, here: bool) -> None:
    """Make a folder's path absolute, because workers may run elsewhere, and refuse one that cannot be written to.

    Args:
        config: changed in place.
        key, value: the setting that names the folder, and its value.
        here: whether the run takes place on this host, so that the folder can be made.

    Raises:
        ConfigError: it cannot be written to.
    """
    folder = Path(value).expanduser().absolute()
    OmegaConf.update(config, key, str(folder))
    if not here:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(key, value, f"must be a folder that can be written to ({error})") from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(key, value, "must be a folder that can be written to")
