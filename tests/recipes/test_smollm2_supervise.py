"""Supervision and sampling with a small random model and the arithmetic recipe's tokenizer."""

import itertools

import numpy as np
import pytest
import torch

from recipes.arithmetic.model import build_model, build_tokenizer
from recipes.smollm2 import supervise
from recipes.smollm2.problems import Problem

ROW = {"data_source": "reasoning_gym/leg_counting", "reward_model": {"ground_truth": "4"}, "extra_info": {}}


def problem(question, solution, answer="4"):
    return Problem(question, solution, {**ROW, "reward_model": {"ground_truth": answer}})


PROBLEMS = [problem("2+2?", "two\nAnswer: 4"), problem("2+1, then?", "2, 3\nAnswer: 3", "3")]


@pytest.fixture
def model():
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    model.set_attn_implementation("sdpa")
    return model, tokenizer


def loss_of(model, tokenizer, problems):
    """The mean loss of the solutions' tokens, each row by itself."""
    losses = []
    for one in problems:
        prompt = supervise.prompt_of(tokenizer, one.question)
        solution = supervise.solution_of(tokenizer, one.solution)
        logits = model(input_ids=torch.tensor([prompt + solution])).logits[0, len(prompt) - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(solution), reduction="none"))
    return torch.cat(losses).mean()


def test_prompt_and_solution_are_what_the_engine_sees(model):
    _, tokenizer = model
    prompt = tokenizer.decode(supervise.prompt_of(tokenizer, "2+2?"))
    messages = [{"role": "user", "content": "2+2?"}]
    assert prompt == tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    solution = supervise.solution_of(tokenizer, "two\nAnswer: 4")
    assert solution[-1] == tokenizer.eos_token_id and tokenizer.decode(solution[:-1]) == "two\nAnswer: 4"


def test_a_step_is_the_gradient_of_the_plain_loss(model, monkeypatch):
    network, tokenizer = model
    monkeypatch.setattr(supervise, "bfloat16_units", lambda: ())
    loss_of(network, tokenizer, PROBLEMS).backward()
    expected = {name: weight.grad.clone() for name, weight in network.named_parameters()}
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    network.zero_grad()
    supervise.fit(network, tokenizer, iter(PROBLEMS), supervise.Settings(1, batch_size=2), progress=False)
    for name, weight in network.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name] * min(1.0, 1 / norm), rtol=1e-3, atol=1e-5)
    assert network.config._attn_implementation == "sdpa"


def test_the_loss_falls(model):
    network, tokenizer = model
    before = loss_of(network, tokenizer, PROBLEMS).item()
    settings = supervise.Settings(30, batch_size=2, learning_rate=1e-2)
    supervise.fit(network, tokenizer, itertools.cycle(PROBLEMS), settings, progress=False)
    assert loss_of(network, tokenizer, PROBLEMS).item() < before / 2


def test_a_measurement_by_hand(model, monkeypatch):
    network, tokenizer = model
    end = tokenizer.eos_token_id
    texts = ["a\nAnswer: 4", "Answer: 5", "Answer: 3", "b\nc\nAnswer: 3"]
    responses = [tokenizer(text, add_special_tokens=False)["input_ids"] + [end] for text in texts]
    responses[1] = responses[1][:-1]  # cut at the limit
    monkeypatch.setattr(supervise, "sample", lambda *arguments: responses)
    found = supervise.measure(network, tokenizer, PROBLEMS, samples=2, room=20, seed=0)
    # Right are the first, the third and the fourth; the first problem has one right and one wrong.
    lengths = [len(text) + 1 for text in texts]
    lengths[1] -= 1
    assert found == supervise.Sampled(0.75, 0.5, 0.75, 7 / 4, float(np.mean(lengths)), 4)


def test_responses_end_at_the_end_token_or_at_the_limit(model):
    network, tokenizer = model
    torch.manual_seed(0)
    for response in supervise.sample(network, tokenizer, PROBLEMS * 8, 12):
        assert len(response) == 12 or (len(response) < 12 and response[-1] == tokenizer.eos_token_id)
        assert tokenizer.eos_token_id not in response[:-1]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"steps": 0}, "steps=0"),
        ({"steps": 1, "batch_size": 0}, "batch_size=0"),
        ({"steps": 1, "learning_rate": 0}, "learning_rate=0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=f"{message} is not allowed"):
        supervise.Settings(**settings)


def test_a_model_of_another_kind_is_refused(model):
    network, tokenizer = model
    network.config.model_type = "gpt2"
    with pytest.raises(ValueError, match="model_type=gpt2 is not supported"):
        supervise.fit(network, tokenizer, iter(PROBLEMS), supervise.Settings(1), progress=False)


@pytest.mark.parametrize("accuracies, rounds", [([0.3], 1), ([0.1, 0.2], 2), ([0.1, 0.1, 0.1], 3)])
def test_another_round_where_one_is_not_enough(accuracies, rounds, capsys):
    measured, trained = iter(accuracies), []

    def measure():
        return supervise.Sampled(next(measured), 0, 0, 0, 0, 0)

    found, done, _ = supervise.until_good_enough(lambda: trained.append(1), measure, 0.2, 3)
    assert (found.accuracy, done, len(trained)) == (accuracies[-1], rounds, rounds)
