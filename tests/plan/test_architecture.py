"""Parameter counts, against those that the models' cards publish."""

import json

import pytest

from verl_gpo.plan.architecture import KNOWN, architecture


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", 494_032_768),
        ("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304),
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", 7_615_616_512),
        ("Qwen/Qwen3-4B", 4_022_468_096),
    ],
)
def test_the_table_gives_the_published_counts(model, parameters):
    assert KNOWN[model].parameters == parameters


def test_a_model_on_this_host_is_read_from_its_own_file(tiny_run):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_run / "model")
    found = architecture(str(tiny_run / "model"))
    assert found.parameters == sum(weights.numel() for weights in model.parameters())
    assert found.source.endswith("model/config.json")


def test_adapters_and_cache_by_hand(tmp_path):
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4}
    stated = {**sizes, "num_key_value_heads": 2, "vocab_size": 10, "tie_word_embeddings": True, "model_type": "llama"}
    (tmp_path / "config.json").write_text(json.dumps(stated))
    found = architecture(str(tmp_path))
    # q 8x8, k and v 8x4, o 8x8, gate and up 8x16, down 16x8: rank 2 times the sum of both sides.
    assert found.lora_parameters(2) == 3 * 2 * (16 + 12 + 12 + 16 + 24 + 24 + 24)
    assert found.kv_bytes_per_token() == 2 * 3 * 4 * 2
    assert found.parameters == 80 + 3 * (64 + 32 + 32 + 64 + 3 * 128 + 16) + 8


def test_what_is_not_known_is_not_guessed(tmp_path):
    assert architecture("someone/something") is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3_moe", "num_experts": 128}))
    assert architecture(str(tmp_path)) is None
