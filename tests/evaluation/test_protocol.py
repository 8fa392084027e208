"""How the field samples each benchmark."""

import pytest

from verl_gpo.data.registry import DATASETS
from verl_gpo.evaluation.protocol import SAMPLES, reference_table, samples_of


@pytest.mark.parametrize(
    ("benchmark", "k"), [("aime24", 32), ("math500", 4), ("gsm8k", 1), ("reasoning_gym:sums", 4), ("mine", 4)]
)
def test_samples_of_a_benchmark(benchmark, k):
    assert samples_of(benchmark) == k


def test_every_benchmark_has_a_test_split_and_all_mathematical_ones_are_there():
    assert all("test" in DATASETS[name].splits for name in SAMPLES)
    assert {name for name, entry in DATASETS.items() if "test" in entry.splits} == set(SAMPLES)


def test_the_table_by_hand():
    lines = reference_table().splitlines()
    assert "| `aime24` | 30 | 32 | 960 |" in lines and "| `gsm8k` | 1,319 | 1 | 1,319 |" in lines
    assert len(lines) == 2 + len(SAMPLES) + 1
