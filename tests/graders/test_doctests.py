"""The examples in docstrings hold."""

import doctest

import pytest

from verl_gpo.data import boxes
from verl_gpo.data import gold as published
from verl_gpo.graders import bbh, choice, extract, gold, latex, math, numbers, score, structure, units


@pytest.mark.parametrize(
    "module", [boxes, published, bbh, choice, extract, gold, latex, math, numbers, score, structure, units]
)
def test_examples(module):
    failed, tried = doctest.testmod(module)
    assert tried and not failed
