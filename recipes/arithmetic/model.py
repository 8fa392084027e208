"""The byte-level tokenizer of the arithmetic task, and a small Qwen2 model with random weights."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

ROPE_THETA = 100.0
HEAD_SIZE = 32  # the smallest size that vLLM supports on the CPU
PAD, END = "<|endoftext|>", "<|im_end|>"

# A user turn ends with a newline, as every line of a response does, so that the first line follows the start value in
# the same way as each later line follows the value before it. verl assumes for Qwen that an assistant turn ends with
# the end token and a newline.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token for each byte (ids 0 to 255, in the order of bytes) and two special tokens.

    Any text survives encoding and decoding. There are no merges, so a part of a text has the same token ids as in the
    whole text, and a newline is one token.
    """
    # Byte-level BPE writes each byte as one printable character. With ids in the order of bytes they can be read.
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
    """The character that byte-level BPE uses for each byte: the byte itself if it is printable, else one above 255."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    shifted = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(shifted)) for byte in range(256)]


def encode_prompt(tokenizer: PreTrainedTokenizerFast, prompt: str) -> list[int]:
    """The token ids before the response: the prompt in the chat template."""
    messages = [{"role": "user", "content": prompt}]
    return list(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))


def build_model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    hidden_size: int = 64,
    n_layers: int = 2,
    distances: tuple[int, ...] = (),
) -> Qwen2ForCausalLM:
    """An untrained model in float32. Its weights depend on torch's global random state.

    Args:
        tokenizer: of :func:`build_tokenizer`.
        hidden_size: a multiple of 32, the size of a head.
        n_layers: number of layers.
        distances: for each of the first heads of the first layer, how many tokens back its attention points at the
            start. This only chooses where the training begins: all weights are trained.

    Raises:
        ValueError: the hidden size is not a positive multiple of 32, or there are more distances than heads.
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
        # Contexts have a few hundred tokens. With a small base, most of a head can tell short distances apart.
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
    """Set the biases of query and key in the first layer so that head ``h`` attends to ``distances[h]`` tokens back.

    The key is constant, and the query is the same vector rotated back by ``distance`` positions. With rotary embedding
    their product then depends on the distance of the two tokens only, and is largest at ``distance``.
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
