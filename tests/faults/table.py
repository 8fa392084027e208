"""The table of faults: what was injected, what is promised, what was seen."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Row:
    """One injected fault.

    Attributes:
        fault: what was done, and when.
        promised: what the run does then.
        seen: what it did.
        survived: whether all that is promised was seen.
        lost: metrics, traces and checkpoints of completed steps that are missing afterwards.
        leftovers: processes and files of shared memory that are left afterwards.
        seconds: from the fault to the end of the run; None if the fault ends no run.
    """

    fault: str
    promised: str
    seen: str = ""
    survived: bool = False
    lost: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    seconds: float | None = None


class Table:
    """Rows, in the order in which the faults were injected. They are added to a file at once, if there is one."""

    def __init__(self, file: Path | None = None):
        self.rows: list[Row] = []
        self._file = file

    @contextlib.contextmanager
    def row(self, fault: str, promised: str, keep_on: bool = False) -> Iterator[Row]:
        """A row whose fault is survived if the block does not raise.

        Args:
            fault, promised: see :class:`Row`.
            keep_on: whether a failed assertion is kept in the row only, for :meth:`failed` to be asked later.
        """
        row = Row(fault, promised)
        try:
            yield row
            assert not row.lost and not row.leftovers, row
            row.survived = True
        except AssertionError as error:
            row.seen = row.seen or f"FAILED: {str(error)[-300:]}"
            if not keep_on:
                raise
        finally:
            self.rows.append(row)
            if self._file is not None:
                with self._file.open("a") as lines:
                    lines.write(json.dumps(asdict(row)) + "\n")

    def failed(self) -> list[Row]:
        """Rows whose promise was not kept."""
        return [row for row in self.rows if not row.survived]
