"""The distance of two models' weights."""

import pytest
import torch
from safetensors.torch import save_file

from scripts.experiments.evaluation import distance, evaluate


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


def test_an_untrained_model_solves_nothing(tiny_run):
    found = evaluate(tiny_run / "model", tiny_run, samples=2, seed=0)
    assert found.accuracies == [0.0] * 16 and found.easy_step == 0.0  # its first lines are wrong
