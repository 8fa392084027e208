"""How far weights moved: what is measured, what is compared and what is drawn."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from scripts.evidence_distance import accuracy_over_distance, distances, measured
from scripts.recipe_runs import distance
from tests.evidence_samples import a_run

# Distances are 0, 1 and 2 at training steps 0, 1 and 2, and twice as far for the other.
NEAR = a_run("grpo_tokens", curve=((0, 0.2), (1000, 0.4), (2000, 0.6)), grid="skills", training_steps=2)
FAR = a_run("informative", curve=((0, 0.2), (2000, 0.5), (4000, 0.8)), grid="skills", training_steps=2)


@pytest.fixture
def models(tmp_path):
    def made(name, **weights):
        (tmp_path / name).mkdir()
        save_file({key: torch.tensor(value) for key, value in weights.items()}, tmp_path / name / "model.safetensors")
        return tmp_path / name

    return made


def test_the_distance_is_euclidean_over_all_weights(models):
    start, end = models("start", a=[1.0, 2.0], b=[[0.0]]), models("end", a=[1.0, 5.0], b=[[-4.0]])
    assert distance(end, start) == 5.0 and distance(start, start) == 0.0


def test_models_of_other_weights_have_no_distance(models, tmp_path):
    start, other = models("start", a=[1.0]), models("other", b=[1.0])
    with pytest.raises(ValueError, match="other: must have the weights that"):
        distance(other, start)
    with pytest.raises(ValueError, match="must have the weights"):
        distance(tmp_path / "none", tmp_path / "nothing")


def test_runs_without_a_distance_are_left_out():
    (first, *rest) = NEAR.points
    unknown = replace(NEAR, points=(first, *(replace(point, distance=None) for point in rest)))
    still = replace(NEAR, points=(first, *(replace(point, distance=1.0) for point in rest)))
    assert measured([NEAR, unknown, still, a_run(curve=())]) == [NEAR]


def test_methods_are_compared_at_equal_steps_and_at_equal_distance_by_hand():
    # At distance 2, the end of one, the other has half of its way: 0.5 against 0.6.
    row = distances([NEAR, FAR]).splitlines()[-1]
    assert row.startswith("| late12 | informative | grpo_tokens | 1 | none | 2.00 (no interval) | 2.00 | -10.0 ")
    third = [replace(run, training_steps=3) for run in (NEAR, FAR)]
    assert "| 1 | 2.00 (no interval) | none | 2.00 |" in distances(third)


def test_without_measured_runs_the_section_says_what_to_run(tmp_path):
    assert "experiments/skills.yaml" in distances([a_run()])
    assert not accuracy_over_distance([a_run()], tmp_path / "a.png") and not (tmp_path / "a.png").exists()


def test_the_figure_is_drawn_even_where_nothing_was_learnt(tmp_path):
    for number, runs in enumerate(([NEAR, FAR], [a_run("random", grid="skills", curve=((0, 0.0), (1, 0.1)))])):
        path = tmp_path / f"{number}.png"
        assert accuracy_over_distance(runs, path) and path.stat().st_size > 8_000
