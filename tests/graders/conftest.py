"""One small pool for all tests of graders; short limits, so that hopeless answers cost little."""

import pytest

from verl_gpo.graders import pool


@pytest.fixture(scope="session", autouse=True)
def _small_pool():
    before, pool._pool = pool._pool, pool.Pool(size=1, limit=1.0)
    yield
    pool._pool.close()
    pool._pool = before
