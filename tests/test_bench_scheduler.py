"""What the benchmark of the search at scale measures, on one prompt."""

import pytest

from scripts.bench_scheduler import memory_of_a_prompt, split


@pytest.mark.parametrize("settings", [{}, {"preset": "fast"}], ids=str)
def test_a_prompt_of_8000_tokens_and_200_steps_holds_less_than_32_mib(settings):
    assert 0.1 < memory_of_a_prompt(settings, 8000, 200) < 32.0


def test_steps_end_at_newlines_and_at_the_end():
    assert split([2, 2, 1, 2, 1]) == [3, 5] and split([2, 1, 2]) == [2, 3] and split([2]) == [1]
