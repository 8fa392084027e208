"""A tiny model with random weights, its data and its reward: enough for two training steps, without a network.

The weights are large, so the probabilities range from near 0 to near 1 and one update changes them a lot. If the new
weights do not reach the rollout engine, its probabilities therefore differ clearly from the actor's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHARACTERS = "0123456789+-*=() \n"
PAD, END = "<|pad|>", "<|end|>"
SPREAD = 0.25  # standard deviation of the weights. With Qwen2's own, 0.02, all characters would be equally probable
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{{ '\n' }}{% endfor %}"


def build_tokenizer() -> Any:
    """A ``PreTrainedTokenizerFast`` with one token for each character of ``CHARACTERS``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    # Byte-level BPE without merges, which writes space and line break as printable characters. Beside a Qwen2 model,
    # transformers loads any vocabulary as Qwen2's own tokenizer, and a vocabulary of this kind survives that unchanged.
    written = [{" ": "\u0120", "\n": "\u010a"}.get(character, character) for character in CHARACTERS]
    vocabulary = {token: index for index, token in enumerate([*written, PAD, END])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, padding_side="left", clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_model(tokenizer: Any, seed: int = 0) -> Any:
    """A Qwen2 model of two layers with heads of size 64, for which vLLM has kernels on CPUs and on GPUs.

    Args:
        tokenizer: of :func:`build_tokenizer`.
        seed: of the weights; torch's global randomness is seeded with it.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        initializer_range=SPREAD,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    return Qwen2ForCausalLM(config)


def write(folder: Path, rows: int) -> None:
    """Write the model to ``model/``, and ``rows`` prompts in verl's schema to ``data.parquet``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tokenizer = build_tokenizer()
    build_model(tokenizer).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    prompts = [f"{index % 10}+{index // 10 % 10}=" for index in range(rows)]
    table = [
        {
            "data_source": "verl_gpo/doctor",
            "prompt": [{"role": "user", "content": prompt}],
            "reward_model": {"style": "rule", "ground_truth": ""},
            "extra_info": {"index": index},
        }
        for index, prompt in enumerate(prompts)
    ]
    pq.write_table(pa.Table.from_pylist(table), folder / "data.parquet")


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: dict | None = None) -> float:
    """1.0 if the last digit of the response is at least 5, else 0.0. About half of random responses get 1.0."""
    digits = [character for character in solution_str if character.isdigit()]
    return float(bool(digits) and digits[-1] >= "5")
