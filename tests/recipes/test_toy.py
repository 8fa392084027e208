"""The example without verl: run as its docstring says, against what is known of its policy."""

import re
import subprocess
import sys

from tests.conftest import REPOSITORY


def test_the_example_finds_the_turn():
    command = [sys.executable, "-m", "recipes.toy.reenter"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    values = [float(value) for value in re.findall(r"V before it (\d\.\d\d)", done.stdout)]
    # V = 1/2 1/2 1 | 1; the deviation of a mean of 16 coins is 0.125.
    assert values[0] == 0.5 and abs(values[1] - 0.5) < 0.4 and values[2] == 1.0
    assert "critical step: 1, A = " in done.stdout and "reset state: 2 tokens are kept" in done.stdout
    rewards = done.stdout.rpartition(":")[2].split()
    assert len(rewards) == 8 and {"0", "1"} == set(rewards)


def test_it_is_short():
    assert len((REPOSITORY / "recipes" / "toy" / "reenter.py").read_text().splitlines()) <= 65
