"""Traces of the arithmetic task."""

import pytest

from tests.report.arithmetic import records
from verl_gpo.traces.writer import TraceWriter


@pytest.fixture(scope="session")
def traces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    writer = TraceWriter(folder, "w")
    for record in records(6):
        writer.write(record)
    writer.close()
    return folder
