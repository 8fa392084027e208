"""The table of settings: nothing is left out, and each preset shows what it changes."""

from dataclasses import fields

import pytest

from verl_gpo.config import PRESETS, GPOConfig
from verl_gpo.plan.reference import reference_table

NAMES = [option.name for option in fields(GPOConfig)]


def cells(allowed):
    return [[cell.strip() for cell in row.split(" | ")] for row in reference_table(allowed).splitlines()[2:]]


@pytest.mark.parametrize("allowed", [True, False])
def test_every_field_is_documented(allowed):
    rows = cells(allowed)
    assert [row[0] for row in rows] == [f"| `{name}`" for name in NAMES]
    assert {len(row) for row in rows} == {2 + len(PRESETS) + allowed}
    assert all(row[-1].removesuffix(" |") for row in rows)


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if PRESETS[preset]])
def test_what_a_preset_changes_is_in_its_column(preset):
    place = 1 + list(PRESETS).index(preset)
    changed = {name for name, row in zip(NAMES, cells(False), strict=True) if row[place]}
    assert changed == {"preset", *PRESETS[preset]}
