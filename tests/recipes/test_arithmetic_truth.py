"""What the page is told of the arithmetic task: exact values of the model that wrote a trajectory."""

import shutil

import pytest
import torch

from recipes.arithmetic import truth
from recipes.arithmetic.task import ArithmeticSpec, generate_problems
from recipes.arithmetic.values import model_values


@pytest.fixture
def problem():
    return generate_problems(ArithmeticSpec(), 1, seed=0)[0]


def row(problem, lines, rule="argmax", version=None):
    texts = [f"{line}\n" for line in lines[:-1]] + [f"{lines[-1]}<|im_end|>"]
    steps = [{"text": text} for text in texts]
    return {"prompt": f"{problem.prompt}\n", "steps": steps, "rule": rule, "model_version": version}


def test_values_are_those_of_the_model(tiny_run, problem):
    from transformers import AutoTokenizer, Qwen2ForCausalLM

    folder = str(tiny_run / "model")
    lines = problem.right_lines
    known = truth.of_model(folder)(row(problem, lines))
    model, tokenizer = Qwen2ForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert known["true_values"] == pytest.approx(model_values(model, tokenizer, problem, "\n".join(lines)))
    assert len(known["true_values"]) == len(lines) + 1 and known["true_values"][-1] == 1.0
    # An untrained model writes no line by chance: the value comes with the last one.
    assert known["true_critical"] == len(lines) - 1


@pytest.mark.parametrize(("rule", "critical"), [("argmax", 1), ("argmin", 3), ("abs", 3), ("random", 1)])
def test_the_critical_step_is_that_of_the_rule(tiny_run, problem, monkeypatch, rule, critical):
    monkeypatch.setattr("recipes.arithmetic.values.model_values", lambda *args: (0.3, 0.3, 0.6, 0.6, 0.0))
    assert truth.known(row(problem, ["a", "b", "c", "d"], rule), str(tiny_run / "model"))["true_critical"] == critical


def test_rounding_is_no_critical_step(tiny_run, problem, monkeypatch):
    monkeypatch.setattr("recipes.arithmetic.values.model_values", lambda *args: (0.6, 0.601, 0.0))
    assert truth.known(row(problem, ["a", "b"]), str(tiny_run / "model"))["true_critical"] is None


def test_steps_that_are_no_lines_are_left_without(tiny_run, problem):
    merged = row(problem, problem.right_lines)
    merged["steps"] = [{"text": merged["steps"][0]["text"] + merged["steps"][1]["text"]}, *merged["steps"][2:]]
    assert truth.of_model(str(tiny_run / "model"))(merged) is None


def test_each_trajectory_is_judged_by_the_weights_that_wrote_it(tiny_run, problem, tmp_path):
    from transformers import Qwen2ForCausalLM

    saved = tmp_path / "checkpoints" / "global_step_2" / "actor" / "huggingface"
    shutil.copytree(tiny_run / "model", saved)
    model = Qwen2ForCausalLM.from_pretrained(saved)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(3.0)
    model.save_pretrained(saved)
    judge = truth.of_training(f"{tmp_path}/checkpoints,{tiny_run}/model")
    first, later = (judge(row(problem, problem.right_lines, version=version)) for version in (0, 2))
    assert (
        first["true_values"]
        == truth.of_model(str(tiny_run / "model"))(row(problem, problem.right_lines))["true_values"]
    )
    assert first["true_values"] != later["true_values"]
    assert judge(row(problem, problem.right_lines, version=1)) is None  # not saved
    assert judge(row(problem, problem.right_lines)) is None


@pytest.mark.parametrize("argument", ["", "missing", "missing,missing"])
def test_folders_that_are_missing_are_named(argument):
    with pytest.raises(ValueError, match="no such folder"):
        (truth.of_training if "," in argument else truth.of_model)(argument)
