"""Supervision for any task: responses of several lengths in a batch, sampling, and the measure."""

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from recipes.arithmetic.model import build_model, build_tokenizer  # noqa: E402
from recipes.prepared import TargetMissed  # noqa: E402
from recipes.supervision import (  # noqa: E402
    Graded,
    Measurement,
    TrainSettings,
    byte_tokens,
    fit,
    respond,
    summarise,
    until_good_enough,
)

TOKENIZER = build_tokenizer()
PAIRS = [("a", "1"), ("b", "22\n3"), ("c", "4444444")]


def test_responses_of_any_length_are_learnt_to_their_end():
    torch.manual_seed(0)
    settings = TrainSettings(steps=120, hidden_size=32, n_layers=1, learning_rate=1e-2)
    model = fit(build_model(TOKENIZER, hidden_size=32, n_layers=1), TOKENIZER, lambda: PAIRS, settings, progress=False)
    assert not model.training
    prompts = [prompt for prompt, _ in PAIRS]
    assert respond(model, TOKENIZER, prompts, 16, greedy=True, batch_size=2) == [response for _, response in PAIRS]


def test_the_loss_leaves_out_prompts_and_padding():
    """A step on a padded batch is the step on the mean over its tokens, each response by itself."""

    def stepped(draws):
        torch.manual_seed(0)
        model = build_model(TOKENIZER, hidden_size=32, n_layers=1)
        gradients = [torch.zeros_like(p) for p in model.parameters()]
        for pair in draws:
            messages = [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
            text = TOKENIZER.apply_chat_template(messages, tokenize=False).removesuffix("\n")
            ids = TOKENIZER(text, return_tensors="pt")["input_ids"]
            logits = model(input_ids=ids).logits[0, 1:-1]
            loss = torch.nn.functional.cross_entropy(logits, ids[0, 2:], reduction="sum")
            for total, gradient in zip(gradients, torch.autograd.grad(loss, model.parameters()), strict=True):
                total += gradient
        return gradients

    torch.manual_seed(0)
    model = build_model(TOKENIZER, hidden_size=32, n_layers=1)
    # The gradients of the first step stay in place: the rate of a warm-up's first step is next to nothing.
    fit(model, TOKENIZER, lambda: PAIRS, TrainSettings(steps=1, learning_rate=1e-9), progress=False)
    tokens = sum(len(response) + 1 for _, response in PAIRS)
    expected = [gradient / tokens for gradient in stepped(PAIRS)]
    norm = torch.nn.utils.get_total_norm(expected)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient / max(1.0, norm), rtol=1e-3, atol=1e-6)


def test_the_measure_counts_lines_up_to_the_first_wrong_one():
    graded = [
        Graded(True, [True, True, True], frozenset({1})),
        Graded(False, [True, False, True], frozenset({1})),
        Graded(False, [False], frozenset({1})),
    ]
    found = summarise(byte_tokens(["123", "1", ""]), graded)
    assert (found.accuracy, found.easy_step, found.hard_step) == (1 / 3, 3 / 4, 1 / 2)
    assert (found.responses, found.tokens) == (3, (4 + 2 + 1) / 3)
    assert math.isnan(summarise([1], [Graded(False, [False], frozenset())]).hard_step)


@pytest.mark.parametrize(("accuracies", "rounds"), [([0.4], 1), ([0.2, 0.3], 2), ([0.0, 0.1, 0.6], 3)])
def test_a_model_that_has_not_learnt_enough_is_trained_again(accuracies, rounds):
    trained = []
    found, card = until_good_enough(
        lambda: trained.append(1),
        lambda: Measurement(accuracies[len(trained) - 1], 1.0, 0.5, 8, 9.0),
        (0.3, 0.6),
        steps=100,
        advice="",
    )
    assert (found.accuracy, card["rounds"], len(trained)) == (accuracies[-1], rounds, rounds)


@pytest.mark.parametrize(("accuracies", "rounds"), [([0.7], 1), ([0.2, 0.7], 2), ([0.2, 0.2, 0.29, 0.5], 3)])
def test_a_target_that_is_missed_says_so(accuracies, rounds):
    left = iter(accuracies)
    missed = rf"accuracy {accuracies[rounds - 1]:.3f} after {rounds} x 100 steps .* target \[0.3, 0.6\].* Try this."
    with pytest.raises(TargetMissed, match=missed):
        until_good_enough(
            lambda: None, lambda: Measurement(next(left), 1.0, 0.5, 8, 9.0), (0.3, 0.6), steps=100, advice="Try this."
        )
