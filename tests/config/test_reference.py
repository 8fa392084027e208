"""The table of settings: nothing is left out, and each preset shows what it changes."""

from dataclasses import fields

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.config import PRESETS, GPOConfig
from verl_gpo.config.reference import reference_table

NAMES = [option.name for option in fields(GPOConfig)]


def cells():
    return [[cell.strip() for cell in row.split(" | ")] for row in reference_table().splitlines()[2:]]


def test_every_field_is_documented():
    rows = cells()
    assert [row[0] for row in rows] == [f"| `{name}`" for name in NAMES]
    assert {len(row) for row in rows} == {6}
    assert all(row[-1].removesuffix(" |") for row in rows)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_preset_changes_is_in_the_row_of_the_setting(preset):
    shown = {name: row[2] for name, row in zip(NAMES, cells(), strict=True)}
    for name in NAMES:
        changed = f"`{preset}`: {str(PRESETS[preset][name]).lower()}" if name in PRESETS[preset] else None
        assert (changed in shown[name].split(", ")) if changed else f"`{preset}`" not in shown[name]


def test_who_reads_a_field_and_with_what_is_in_its_row():
    rows = {row[0].strip("| `"): row for row in cells()}
    assert rows["stop_confidence"][-2] == "search=adaptive" and rows["search"][-2] == ""
    assert rows["exp_beta"][-2] == "adv_estimator=gpo; a search other than none; n_reentry above 0; base_estimator=grpo"


def test_the_page_has_the_generated_table():
    assert reference_table() in (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
