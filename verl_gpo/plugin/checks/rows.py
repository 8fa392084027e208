"""All prompts of a data file: verl meets a row that it cannot use only when its turn comes, in mid-epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...config import ConfigError

#: Rows that are looked at together, and numbers of rows that an error names.
_ROWS, _NAMED = 65536, 5


def check_prompts(key: str, path: str, local: Path, prompt_key: str) -> None:
    """Refuse a parquet file with rows that have no prompt, or that cannot be read to its end.

    Args:
        key: the setting that names the file.
        path: the file as configured.
        local: its full path.
        prompt_key: name of the column with the prompts: texts, or lists of messages.

    Raises:
        ConfigError: the key, the file, the rows, counted from 0.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    bad, first = [], 0
    try:
        for batch in pq.ParquetFile(local).iter_batches(_ROWS, columns=[prompt_key]):
            bad += [first + row for row in _without_prompt(batch.column(0))]
            first += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        raise ConfigError(key, path, f"cannot be read behind row {first} ({said})") from error
    if bad:
        rows = ", ".join(map(str, bad[:_NAMED])) + (f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else "")
        what = "a text, or a list of messages with role and content"
        raise ConfigError(key, path, f"must have {what} in column {prompt_key} of each row; it has none in row {rows}")


def _without_prompt(column: Any) -> list[int]:
    """Indices of the rows whose prompt is missing, is empty, or has a message without a role or content."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = column.is_null()
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        missing = pc.or_(missing, pc.equal(pc.fill_null(pc.list_value_length(column), 0), 0))
        messages, rows = pc.list_flatten(column), pc.list_parent_indices(column)
        if pa.types.is_struct(messages.type):
            bad = messages.is_null()
            for name in ("role", "content"):
                if messages.type.get_field_index(name) < 0:
                    return list(range(len(column)))
                bad = pc.or_(bad, pc.struct_field(messages, name).is_null())
            incomplete = set(rows.filter(bad).to_pylist())
            return sorted(incomplete | set(pc.indices_nonzero(missing).to_pylist()))
    return pc.indices_nonzero(missing).to_pylist()
