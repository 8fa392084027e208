"""What the benchmark of the search at scale measures, on one prompt."""

from pathlib import Path

import pytest

from scripts.bench_scheduler import bounds, memory_of_a_prompt, write_page
from scripts.bench_simulation import Hardware
from scripts.bench_training_step import WORKERS, Memory, problems, settings_of, simulate, split
from verl_gpo.config.names import PRESETS

ROOT = Path(__file__).parents[1]
PAGE, RESULT = ROOT / "docs" / "scale.md", ROOT / "scripts" / "results" / "bench_scheduler.json"


@pytest.mark.parametrize("settings", [{}, {"preset": "fast"}, {"learn_from": "all"}], ids=str)
def test_a_prompt_of_8000_tokens_and_200_steps_holds_less_than_32_mib(settings):
    assert 0.1 < memory_of_a_prompt(settings, 8000, 200) < 32.0


def test_steps_end_at_newlines_and_at_the_end():
    assert split([2, 2, 1, 2, 1]) == [3, 5] and split([2, 1, 2]) == [2, 3] and split([2]) == [1]


@pytest.mark.parametrize("name", ["fast", "lean"])
def test_a_limit_on_chains_shortens_the_steps_after_the_first(name):
    # 48 prompts on one replica: a few have long roots, and without a limit their search ends long after all others.
    hardware = Hardware()

    def seconds(stretch):
        config = settings_of({"preset": name, "step_stretch": stretch})
        memory, took = Memory(config), []
        for step in range(3):
            batch = problems(48, step)
            for problem in batch:
                problem.number *= WORKERS  # all on one worker, which so remembers enough of them
            took.append(simulate(config, batch, 2, hardware, memory=memory, step=step, seed=step))
        return took

    free, bound = seconds(0.0), seconds(PRESETS[name]["step_stretch"])
    assert bound[0].seconds == free[0].seconds  # nothing is known in the first step
    assert sum(m.seconds for m in bound[1:]) < sum(m.seconds for m in free[1:])
    held_back = [length for m in bound[1:] for length in m.lengths_held_back]
    everyone = [length for m in bound[1:] for length in m.lengths]
    assert held_back and sum(held_back) / len(held_back) > sum(everyone) / len(everyone)


def test_roots_are_the_same_with_and_without_a_search():
    batch = problems(8, 0)
    plain = simulate(None, batch, 1, Hardware())
    config = settings_of({"search": "none"})
    searched = simulate(config, batch, 1, Hardware(), memory=Memory(config))
    assert (plain.seconds, plain.tokens) == (searched.seconds, searched.tokens)


def test_bounds_by_hand():
    row = {"system": "fast", "replicas": 8, "over_plain": 1.2, "overspend": 1.0, "short_wait": None}
    row |= {"bias": -0.03, "bias_error": 0.005}
    found = bounds([row, {**row, "system": "fast, no limit"}], {"a prompt": 31.0})
    assert [(what.split(":")[0], value <= most) for what, value, most in found] == [
        ("step time over plain", False),
        ("spent over half the budget", True),
        ("bias of values", False),  # 0.03 is more than three errors of 0.005
        ("MiB a prompt", True),
    ]


def test_the_page_has_the_figures_of_the_raw_result(tmp_path):
    raw, page = RESULT, tmp_path / "scale.md"
    page.write_text(PAGE.read_text())
    write_page(page, raw)
    assert page.read_text() == PAGE.read_text()
