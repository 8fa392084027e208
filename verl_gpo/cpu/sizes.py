"""How large a model is, by its ``config.json``, and what a token of a micro-batch takes in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FLOAT32 = 4  # bytes; what is kept for the backward pass is kept so at most
#: What a layer keeps of a token: norms, residuals, queries, keys, values, the rotated ones and the attention's output
#: are 14 hidden sizes or fewer; projections up, activation and product are 5 intermediate ones or fewer.
_HIDDEN, _INTERMEDIATE = 14, 5
#: Logits, their exponentials, and the gradients of both.
_VOCABULARY = 4


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder.

    Attributes:
        layers, hidden, intermediate, vocabulary: as in its configuration.
        tied: whether the embedding is the output layer too.
    """

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    tied: bool

    @property
    def parameters(self) -> int:
        """About how many parameters it has: attention with as many keys as queries."""
        layer = 4 * self.hidden**2 + 3 * self.hidden * self.intermediate
        return self.layers * layer + self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def bytes_of_token(self) -> int:
        """Upper bound of what a token with a loss takes until its backward pass, without gradient checkpointing."""
        layer = _HIDDEN * self.hidden + _INTERMEDIATE * self.intermediate
        return _FLOAT32 * (self.layers * layer + _VOCABULARY * self.vocabulary)


def read(path: Any) -> Shape | None:
    """The shape of a model in a local folder; None for a name on a hub, or a configuration of another kind."""
    try:
        config = json.loads((Path(str(path)).expanduser() / "config.json").read_text())
        names = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
        return Shape(*(int(config[name]) for name in names), tied=bool(config.get("tie_word_embeddings")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def free_memory() -> int:
    """Bytes that this host's processes may still take."""
    import psutil

    return psutil.virtual_memory().available
