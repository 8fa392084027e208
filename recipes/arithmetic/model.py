"""The byte-level tokenizer and the small Qwen2 model of the arithmetic task, both built from nothing."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

ROPE_THETA = 100.0
HEAD_SIZE = 32  # the smallest that vLLM's CPU attention takes
PAD, END = "<|endoftext|>", "<|im_end|>"

# A user turn ends with the newline that also ends every response line, so the first line follows the start value as
# each later line follows the value before it. The end token followed by a newline after an assistant turn is what
# verl's Qwen boundary handling assumes.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token a byte (ids 0..255, in byte order) and two special tokens, no merges.

    Any text round-trips, a newline is one token, and text cut at any place tokenizes to the same ids as in the whole.
    """
    # Byte-level BPE writes each byte as one printable character; sorting by the byte keeps ids readable.
    vocab = {character: byte for byte, character in enumerate(_byte_characters())}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _byte_characters() -> list[str]:
    """The character that byte-level BPE uses for each byte value: itself where printable, else one above 255."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    shifted = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(shifted)) for byte in range(256)]


def encode_prompt(tokenizer: PreTrainedTokenizerFast, prompt: str) -> list[int]:
    """Token ids that the model sees before its response: the chat template's rendering."""
    messages = [{"role": "user", "content": prompt}]
    return list(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))


def build_model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    hidden_size: int = 64,
    n_layers: int = 2,
    distances: tuple[int, ...] = (),
) -> Qwen2ForCausalLM:
    """An untrained float32 model; seed torch before for the same weights.

    Args:
        hidden_size: a multiple of 32 (the head size).
        distances: for each of the first heads of the first layer, the number of tokens back where it starts out
            looking. The weights stay free: this only chooses where training begins.

    Raises:
        ValueError: for a hidden size that is no positive multiple of 32 or for more distances than heads.
    """
    if hidden_size <= 0 or hidden_size % HEAD_SIZE:
        raise ValueError(f"hidden_size={hidden_size} is not allowed: it must be a positive multiple of {HEAD_SIZE}")
    heads = hidden_size // HEAD_SIZE
    if len(distances) > heads:
        raise ValueError(f"distances={distances} is not allowed: it must have at most one entry a head ({heads})")
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=n_layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        # Contexts are of a few hundred tokens: a small base gives most of a head to short, sharp distances.
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    _look_back(model, distances)
    return model


@torch.no_grad()
def _look_back(model: Qwen2ForCausalLM, distances: tuple[int, ...], strength: float = 5.0) -> None:
    """Set query and key biases of the first layer so that head ``h`` attends ``distances[h]`` tokens back.

    Rotary embedding turns a constant key and a query turned back by ``distance`` into a score that depends on the
    distance only, with its maximum there.
    """
    half = HEAD_SIZE // 2
    frequencies = ROPE_THETA ** (-torch.arange(half, dtype=torch.float32) / half)
    attention = model.model.layers[0].self_attn
    for head, distance in enumerate(distances):
        first = head * HEAD_SIZE
        angle = -distance * frequencies
        attention.q_proj.bias[first : first + half] = strength * angle.cos()
        attention.q_proj.bias[first + half : first + HEAD_SIZE] = strength * angle.sin()
        attention.k_proj.bias[first : first + half] = strength
        attention.k_proj.bias[first + half : first + HEAD_SIZE] = 0.0
