"""Sizes of a language model: from its ``config.json`` if this machine has it, otherwise from a table."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """A dense decoder of the Llama family. Field names are Hugging Face's.

    Attributes:
        source: where the numbers come from.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    tie_word_embeddings: bool
    head_dim: int = 0
    attention_bias: bool = False
    qk_norm: bool = False
    source: str = ""

    @property
    def _head(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def _linear(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of the linear layers of one block."""
        hidden, inner = self.hidden_size, self.intermediate_size
        queries, keys = self.num_attention_heads * self._head, self.num_key_value_heads * self._head
        attention = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
        return [*attention, (hidden, inner), (hidden, inner), (inner, hidden)]

    @property
    def block_parameters(self) -> int:
        """Parameters of one transformer block."""
        weights = sum(rows * columns for rows, columns in self._linear)
        bias = (self.num_attention_heads + 2 * self.num_key_value_heads) * self._head if self.attention_bias else 0
        return weights + bias + 2 * self.hidden_size + (2 * self._head if self.qk_norm else 0)

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the token embedding, or of the output layer."""
        return self.vocab_size * self.hidden_size

    @property
    def parameters(self) -> int:
        """All parameters."""
        embeddings = self.embedding_parameters * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.num_hidden_layers * self.block_parameters + self.hidden_size

    def lora_parameters(self, rank: int) -> int:
        """Parameters of adapters on all linear layers of the blocks."""
        return self.num_hidden_layers * sum(rank * (rows + columns) for rows, columns in self._linear)

    def kv_bytes_per_token(self, bytes_per_value: int = 2) -> int:
        """Key and value cache of one token."""
        return 2 * self.num_hidden_layers * self.num_key_value_heads * self._head * bytes_per_value


_TABLE = "table, from config.json on the hub"


def _qwen2(hidden: int, inner: int, layers: int, heads: int, keys: int, vocab: int, tied: bool) -> Architecture:
    return Architecture(
        hidden,
        inner,
        layers,
        heads,
        keys,
        vocab,
        tied,
        attention_bias=True,
        source=_TABLE,
    )


#: Dense models that the recipes use, with the numbers of their config.json on the Hugging Face hub.
KNOWN = {
    "Qwen/Qwen2.5-0.5B-Instruct": _qwen2(896, 4864, 24, 14, 2, 151936, True),
    "Qwen/Qwen2.5-1.5B-Instruct": _qwen2(1536, 8960, 28, 12, 2, 151936, True),
    "Qwen/Qwen2.5-7B-Instruct": _qwen2(3584, 18944, 28, 28, 4, 152064, False),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": _qwen2(3584, 18944, 28, 28, 4, 152064, False),
    "Qwen/Qwen3-4B": Architecture(2560, 9728, 36, 32, 8, 151936, True, 128, qk_norm=True, source=_TABLE),
}


def _from_file(path: Path) -> Architecture | None:
    stated = json.loads(path.read_text(encoding="utf-8"))
    kind = stated.get("model_type", "")
    if any(key in stated for key in ("num_experts", "num_local_experts", "n_routed_experts", "text_config")):
        return None  # experts and vision towers are not in the formula
    names = {field.name for field in fields(Architecture)}
    given: dict[str, Any] = {key: value for key, value in stated.items() if key in names and value is not None}
    given.setdefault("num_key_value_heads", given.get("num_attention_heads"))
    given.setdefault("tie_word_embeddings", False)
    given["attention_bias"] = kind == "qwen2" or bool(stated.get("attention_bias"))
    given["qk_norm"] = kind == "qwen3"
    try:
        return Architecture(**{**given, "source": str(path)})
    except TypeError:
        return None


def architecture(model: str) -> Architecture | None:
    """Sizes of a model by folder or name; None if they are not known on this machine. Nothing is downloaded."""
    local = Path(model).expanduser() / "config.json"
    if local.is_file():
        return _from_file(local)
    cached = _in_hub_cache(model)
    found = _from_file(cached) if cached else None
    return found or KNOWN.get(model)


def _in_hub_cache(model: str) -> Path | None:
    if model.count("/") != 1 or model.startswith(("/", ".", "~")):
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, "config.json")
    return Path(found) if isinstance(found, str) else None
