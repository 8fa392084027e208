"""The tiny model: its text survives, and weights of the step before would be noticed in its probabilities."""

import copy

import pyarrow.parquet as pq
import pytest
import torch

from verl_gpo.doctor import tiny
from verl_gpo.doctor.trial import ALLOWED


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.build_tokenizer()


def chosen(model, ids):
    """Probabilities of the tokens of ``ids`` ``[B, T]`` behind the first five."""
    return model(ids).logits[:, 4:-1].softmax(-1).gather(-1, ids[:, 5:, None])[..., 0]


def differ(first, second):
    """(mean difference, correlation), as verl's metrics are."""
    both = torch.stack([first.flatten(), second.flatten()])
    return (first - second).abs().mean().item(), torch.corrcoef(both)[0, 1].item()


def passes(first, second, where):
    difference, correlation = differ(first, second)
    most, least = ALLOWED[where]
    return difference <= most and correlation >= least


def test_a_character_is_a_token(tokenizer):
    text = "12+3=\n(4)"
    assert len(tokenizer.encode(text)) == len(text) and tokenizer.decode(tokenizer.encode(text)) == text
    messages = [{"role": "user", "content": "1+2="}]
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == "1+2=\n"


@pytest.mark.parametrize(("text", "score"), [("", 0.0), ("9-4", 0.0), ("4=5 ", 1.0), ("no", 0.0), ("9\n", 1.0)])
def test_the_reward_by_hand(text, score):
    assert tiny.compute_score("", text, "") == score


def test_weights_of_the_step_before_are_noticed_and_rounding_is_not(tokenizer):
    model = tiny.build_model(tokenizer)
    ids = torch.tensor([tokenizer.encode(f"{index % 10}+{index // 10}=\n") for index in range(16)])
    ids = model.generate(ids, do_sample=True, max_new_tokens=48, suppress_tokens=[tokenizer.eos_token_id])
    with torch.no_grad():
        before = chosen(model, ids)
        rounded = chosen(copy.deepcopy(model).to(torch.bfloat16), ids).float()
    rewards = torch.tensor([tiny.compute_score("", tokenizer.decode(row[5:]), "") for row in ids])
    assert 0 < rewards.mean() < 1  # there is something to learn from
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)  # the rate of trial.command
    (-(chosen(model, ids).log().mean(1) * (rewards - rewards.mean())).mean()).backward()
    optimizer.step()
    with torch.no_grad():
        after = chosen(model, ids)
    for where in ALLOWED:
        assert passes(before, before, where) and not passes(before, after, where)
    assert passes(before, rounded, "gpu")


def test_model_and_data_are_written(tmp_path, tokenizer):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny.write(tmp_path, 12)
    rows = pq.read_table(tmp_path / "data.parquet").to_pylist()
    assert len(rows) == 12 and rows[11]["prompt"] == [{"role": "user", "content": "1+1="}]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert model.config.vocab_size == len(tokenizer) and model.dtype == torch.float32
    # As verl and vLLM load it.
    loaded = AutoTokenizer.from_pretrained(tmp_path / "model")
    text = "12+3=\n(4)"
    assert loaded.encode(text) == tokenizer.encode(text) and loaded.decode(loaded.encode(text)) == text
    assert loaded.chat_template == tiny.TEMPLATE and loaded.eos_token_id == tokenizer.eos_token_id
