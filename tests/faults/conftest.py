"""Stages for runs that meet faults, and the table that collects them."""

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import arithmetic_data  # noqa: F401  (a fixture)
from tests.faults.harness import Stage
from tests.faults.table import Table


@pytest.fixture(scope="session")
def table():
    """The rows of this session; also in the file that VERL_GPO_FAULT_TABLE names."""
    named = os.environ.get("VERL_GPO_FAULT_TABLE")
    return Table(Path(named) if named else None)


@pytest.fixture
def new_stage(arithmetic_data, tmp_path):  # noqa: F811
    """``new_stage(name, *overrides, data=None)``: a folder for a training that is started again and again."""

    def make(name, *overrides, data=None):
        (tmp_path / name).mkdir()
        return Stage(tmp_path / name, data or arithmetic_data, *overrides)

    return make
