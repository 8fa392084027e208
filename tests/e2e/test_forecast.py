"""A forecast with the real vLLM, weights exchanged in the running engine."""

import asyncio
import json

import pytest

from tests.e2e.conftest import RECIPE
from verl_gpo.forecast.__main__ import main
from verl_gpo.forecast.groups import read

pytestmark = pytest.mark.e2e


def test_forecast_on_a_model_and_a_data_set(arithmetic_data, tmp_path, capsys):
    where = ["--model", f"{arithmetic_data}/model", "--data", f"{arithmetic_data}/train.parquet"]
    where += ["--reward", f"{RECIPE}/reward.py", "--out", f"{tmp_path}/out", "--max-model-len", "256"]
    small = ["--methods", "lean,fast", "--batches", "6", "--groups", "3", "--response-length", "96"]
    small += ["--eval-prompts", "96", "--eval-samples", "2"]
    assert main([*where, *small, "min_step_tokens=3"]) == 0
    record = json.loads((tmp_path / "out" / "forecast.json").read_text())
    assert [row["name"] for row in record["methods"]] == ["grpo", "lean", "fast"]
    drawn = read(tmp_path / "out" / "groups.jsonl")
    # The supervised model is right in 30 to 60 % of its responses, so most groups of eight are mixed.
    base = record["methods"][0]
    assert base["mixed"]["value"] > 0.5 and base["cosine"]["value"] > 0
    assert 0.2 < sum(sum(one.rewards) for one in drawn if one.method == "grpo") / (8 * base["groups"]) < 0.8
    # A step along the policy gradient raises the success: the engine did sample from the new weights.
    assert base["gain"]["value"] > 0.03
    assert record["recommendation"].split(".")[0] in " ".join(capsys.readouterr().out.split())


def test_weights_are_exchanged_and_the_prefix_cache_is_emptied(arithmetic_data, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    from verl_gpo.inference.engine import VLLMEngine

    model = AutoModelForCausalLM.from_pretrained(f"{arithmetic_data}/model")
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.5)
    model.save_pretrained(tmp_path / "other")
    context = [ord(character) for character in "a+123 b*456 c+789 d+111 123\n" * 2]

    async def run():
        engine = VLLMEngine(f"{arithmetic_data}/model", max_model_len=256)
        try:
            before = await engine.generate(context, 1)
            await engine.load_weights(str(tmp_path / "other"))
            after = await engine.generate(context, 1)
            logits = model(input_ids=torch.tensor([context])).logits[0, -1].detach()
            expected = torch.log_softmax(logits.float(), -1)[after.token_ids[0]]
            assert after.log_probs[0] == pytest.approx(float(expected), abs=1e-3)
            assert after.cached_tokens == 0 and before.log_probs[0] != after.log_probs[0]
        finally:
            engine.shutdown()

    asyncio.run(run())
