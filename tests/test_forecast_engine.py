"""Samples of the batched engine: their log-probs are those of the model, whatever they were batched with."""

import asyncio

import pytest
import torch
from transformers import AutoModelForCausalLM

from scripts.forecast_engine import BatchedEngine


def log_probs(model, context, token_ids, temperature=1.0):
    logits = model(input_ids=torch.tensor([[*context, *token_ids]])).logits[0, len(context) - 1 : -1]
    return torch.log_softmax(logits.float() / temperature, -1)[range(len(token_ids)), list(token_ids)].tolist()


@torch.no_grad()
def test_log_probs_are_those_of_the_model(tiny_run):
    contexts, most = [[65, 66], [70, 71, 72, 73, 10], [65]], [6, 3, 5]
    engine = BatchedEngine(f"{tiny_run}/model", 64, temperature=0.7)

    async def run():
        return await asyncio.gather(*(engine.generate(ids, n) for ids, n in zip(contexts, most, strict=True)))

    model = AutoModelForCausalLM.from_pretrained(f"{tiny_run}/model").eval()
    for context, number, found in zip(contexts, most, asyncio.run(run()), strict=True):
        assert len(found.token_ids) == number or found.token_ids[-1] == engine.tokenizer.eos_token_id
        expected = log_probs(model, context, found.token_ids, 0.7)
        assert list(found.log_probs) == pytest.approx(expected, abs=1e-4) and found.context_tokens == len(context)


def test_requests_are_batched_and_bounded_by_the_models_length(tiny_run, monkeypatch):
    engine = BatchedEngine(f"{tiny_run}/model", 5, at_once=2)
    sizes, write = [], engine._write
    monkeypatch.setattr(engine, "_write", lambda contexts, most: sizes.append(most) or write(contexts, most))

    async def run():
        return await asyncio.gather(*(engine.generate([65, 66], 9) for _ in range(5)))

    assert all(len(found.token_ids) <= 3 for found in asyncio.run(run()))
    assert sizes == [[3, 3], [3, 3], [3]]


def test_other_weights(tiny_run, tmp_path):
    engine = BatchedEngine(f"{tiny_run}/model", 64)
    other = AutoModelForCausalLM.from_pretrained(f"{tiny_run}/model")
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(0.5)
    other.save_pretrained(tmp_path)

    async def run():
        await engine.load_weights(str(tmp_path))
        return await engine.generate([65, 66], 3)

    found = asyncio.run(run())
    with torch.no_grad():
        assert list(found.log_probs) == pytest.approx(log_probs(other.eval(), [65, 66], found.token_ids), abs=1e-4)
