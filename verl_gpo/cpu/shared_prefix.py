"""Rows that begin with the same tokens, computed once: the layout of such a batch, and the attention over it.

A GRPO group repeats its prompt in every row, and a re-entry rollout repeats its anchor up to the reset. What a causal
model computes for a token depends on the tokens before it alone, so the shared beginning is the same in each of these
rows. Here a batch is a radix tree: a token that several rows share is in it once, each row attends to the tokens on its
own path, and nothing is padded. The result is that of the padded batch, up to the order of floating-point sums.

Needs a causal model without dropout that treats every position alike (:func:`supports`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

#: The name under which :func:`attention` is registered with transformers.
ATTENTION = "verl_gpo_shared_prefix"

#: Architectures whose attention goes through transformers' registry with nothing of its own. Others keep verl's path.
_ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True)
class RowPath:
    """A row's place in a layout.

    Attributes:
        tokens: number of tokens that are the row's own: not shared with a row before it.
        segments: indices of the segments from the first token of the row to its last.
        mask: shape ``(tokens, length of the row)``, True where an own token sees one of the row's tokens; None where
            that is plain causality, because the row shares nothing.
    """

    tokens: int
    segments: tuple[int, ...]
    mask: torch.Tensor | None


@dataclass(frozen=True)
class Layout:
    """Rows as a radix tree of tokens, all of them in one sequence.

    Attributes:
        source: shape ``(nodes,)``: which token of the rows, one after the other, each node is.
        positions: shape ``(nodes,)``: a node's position in its rows.
        node_of: shape ``(tokens of all rows,)``: the node of each token of the rows, one after the other.
        segments: lengths of the parts of the sequence that every row shares as a whole or not at all.
        paths: of the rows that have tokens of their own, in the order of the sequence.
    """

    source: torch.Tensor
    positions: torch.Tensor
    node_of: torch.Tensor
    segments: tuple[int, ...]
    paths: tuple[RowPath, ...]

    def to(self, device: torch.device | str) -> Layout:
        """The layout with what the model's attention needs of it on a device."""
        paths = (replace(path, mask=None if path.mask is None else path.mask.to(device)) for path in self.paths)
        return replace(self, paths=tuple(paths))


def _shared(a: np.ndarray, b: np.ndarray) -> int:
    """Number of tokens that two rows have in common from their start."""
    length = min(len(a), len(b))
    differs = np.flatnonzero(a[:length] != b[:length])
    return int(differs[0]) if len(differs) else length


def in_order(rows: Sequence[np.ndarray]) -> list[int]:
    """Indices of the rows, sorted by their tokens: each then shares most with the one before it."""
    return sorted(range(len(rows)), key=lambda row: rows[row].tolist())


def micro_batches(rows: Sequence[np.ndarray], max_tokens: int) -> list[list[int]]:
    """Split rows so that each part has at most ``max_tokens`` tokens, shared ones counted once.

    Returns:
        Indices of the rows of each part. A row that is longer than ``max_tokens`` has a part of its own.
    """
    parts: list[list[int]] = []
    room = 0
    for row in in_order(rows):
        own = len(rows[row]) - _shared(rows[parts[-1][-1]], rows[row]) if parts else 0
        if not parts or own > room:
            parts.append([])
            own, room = len(rows[row]), max_tokens
        parts[-1].append(row)
        room -= own
    return parts


def in_at_least(parts: Sequence[list[int]], count: int) -> list[list[int]]:
    """Divide the parts that have most rows until there are ``count`` of them.

    Raises:
        ValueError: there are fewer rows than parts are wanted.
    """
    found = list(parts)
    while len(found) < count:
        index = max(range(len(found)), key=lambda part: len(found[part]))
        part = found[index]
        half = len(part) // 2
        if not half:
            raise ValueError(f"{sum(map(len, parts))} rows cannot be divided into {count} micro-batches")
        found[index : index + 1] = [part[:half], part[half:]]
    return found


def layout_of(rows: Sequence[np.ndarray]) -> Layout:
    """The layout of rows of token ids, each at least one token long.

    Example: of ``[5, 6, 7]`` and ``[5, 6, 8, 9]`` five nodes remain (5 6 7 8 9) in the segments 5 6 | 7 | 8 9.
    """
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    nodes: list[np.ndarray] = [np.empty(0, int)] * len(rows)
    source, positions, own, cuts = [], [], [], {0}
    total, before = 0, None
    for row in in_order(rows):
        ids = rows[row]
        shared = 0 if before is None else _shared(rows[before], ids)
        prefix = nodes[before][:shared] if shared else np.empty(0, int)
        count = len(ids) - shared
        nodes[row] = np.concatenate([prefix, np.arange(total, total + count)])
        before = row
        if not count:
            continue
        source.append(np.arange(offsets[row] + shared, offsets[row + 1]))
        positions.append(np.arange(shared, len(ids)))
        own.append((row, count))
        cuts.add(total)
        if shared:
            cuts.add(int(prefix[-1]) + 1)
        total += count
    edges = np.array([*sorted(cuts - {total}), total])
    return Layout(
        source=torch.from_numpy(np.concatenate(source)),
        positions=torch.from_numpy(np.concatenate(positions)),
        node_of=torch.from_numpy(np.concatenate(nodes)),
        segments=tuple(np.diff(edges).tolist()),
        paths=tuple(RowPath(count, *_path(nodes[row], count, edges)) for row, count in own),
    )


def _path(nodes: np.ndarray, own: int, edges: np.ndarray) -> tuple[tuple[int, ...], torch.Tensor | None]:
    segments = np.searchsorted(edges, nodes, side="right") - 1
    path = tuple(segments[np.flatnonzero(np.diff(segments, prepend=-1))].tolist())
    shared = len(nodes) - own
    return path, torch.ones(own, len(nodes), dtype=torch.bool).tril(shared) if shared else None


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    shared_prefix_layout: Layout | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: each row of a layout attends to the tokens on its own path.

    Args:
        query: shape ``(1, heads, nodes, head size)``; ``key`` and ``value`` likewise, with their number of heads.
        shared_prefix_layout: what the model was called with; it reaches this function among its keyword arguments.

    Returns:
        Shape ``(1, nodes, heads, head size)``, and None for the weights.

    Raises:
        ValueError: there is no layout: the model drops keyword arguments on their way here.
    """
    if shared_prefix_layout is None:
        raise ValueError(f"{type(module).__name__} did not hand on the layout of the batch to its attention")
    keys = key.split(shared_prefix_layout.segments, dim=2)
    values = value.split(shared_prefix_layout.segments, dim=2)
    grouped = {"enable_gqa": True} if key.shape[1] != query.shape[1] else {}
    outputs = [
        F.scaled_dot_product_attention(
            own,
            torch.cat([keys[segment] for segment in path.segments], dim=2),
            torch.cat([values[segment] for segment in path.segments], dim=2),
            attn_mask=path.mask,
            is_causal=path.mask is None,
            scale=scaling,
            **grouped,
        )
        for own, path in zip(
            query.split([path.tokens for path in shared_prefix_layout.paths], dim=2),
            shared_prefix_layout.paths,
            strict=True,
        )
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def supports(config: Any) -> bool:
    """Whether a model with this transformers configuration gives the same results in this layout."""
    full = set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    return (
        config.model_type in _ARCHITECTURES
        and getattr(config, "_attn_implementation", None) in ("sdpa", ATTENTION)
        and not getattr(config, "attention_dropout", 0.0)
        and (full or not getattr(config, "sliding_window", None))
        and (config.model_type != "mistral" or not getattr(config, "sliding_window", None))
    )


def register() -> None:
    """Make :func:`attention` known to transformers, which then leaves the mask to it."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, attention)
