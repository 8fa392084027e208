"""The names of the configuration and the tables of ``core``: the same, in the same order."""

import pytest

from verl_gpo.config import names
from verl_gpo.config.splitters import SPLITTERS
from verl_gpo.core import anchors, critical, learn, search
from verl_gpo.core.segment import steps


@pytest.mark.parametrize(
    ("named", "table"),
    [
        (names.ANCHOR_OUTCOMES, anchors.ANCHOR_OUTCOMES),
        (names.SKIP_GROUPS, anchors.SKIP_GROUPS),
        (names.SEARCHES, search.SEARCHES),
        (names.RULES, critical.RULES),
        (names.LEARN_FROM, learn.LEARN_FROM),
        (SPLITTERS, steps.SPLITTERS),
    ],
)
def test_every_name_has_its_row_in_core_and_no_row_is_unnamed(named, table):
    assert list(named) == list(table)


def test_the_searches_that_draw_and_those_that_reset_are_the_classes_own():
    assert tuple(name for name, strategy in search.SEARCHES.items() if strategy.looks) == names.LOOKING
    assert tuple(name for name, strategy in search.SEARCHES.items() if strategy.reenters) == names.REENTERING
    assert tuple(name for name, importance in critical.RULES.items() if importance) == names.VALUE_RULES
