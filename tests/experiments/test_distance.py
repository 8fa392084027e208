"""How far weights moved: what is measured and what is compared."""

from dataclasses import replace

from scripts.experiments.distance import distances, measured
from tests.experiments.samples import a_run

# Distances are 0, 1 and 2 at training steps 0, 1 and 2, and twice as far for the other.
NEAR = a_run("grpo", curve=((0, 0.2), (1000, 0.4), (2000, 0.6)), grid="skills", training_steps=2)
FAR = a_run("lean", curve=((0, 0.2), (2000, 0.5), (4000, 0.8)), grid="skills", training_steps=2)


def test_runs_without_a_distance_are_left_out():
    (first, *rest) = NEAR.points
    unknown = replace(NEAR, points=(first, *(replace(point, distance=None) for point in rest)))
    still = replace(NEAR, points=(first, *(replace(point, distance=1.0) for point in rest)))
    assert measured([NEAR, unknown, still, a_run(curve=())]) == [NEAR]


def test_methods_are_compared_at_equal_steps_and_at_equal_distance_by_hand():
    # At distance 2, the end of one, the other has half of its way: 0.5 against 0.6.
    row = distances([NEAR, FAR]).splitlines()[-1]
    assert row.startswith("| late12 | lean | grpo | 1 | none | 2.00 (no interval) | 2.00 | -10.0 ")
    third = [replace(run, training_steps=3) for run in (NEAR, FAR)]
    assert "| 1 | 2.00 (no interval) | none | 2.00 |" in distances(third)
