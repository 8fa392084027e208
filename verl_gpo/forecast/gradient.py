"""The policy gradient of a part of a model's weights, on groups whose advantages are known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch
from torch.nn.functional import cross_entropy

from .groups import Drawn, Row


def chosen_weights(model: torch.nn.Module, pattern: str, most: int) -> dict[str, torch.nn.Parameter]:
    """The weights whose gradient is computed: those that match, from the last one backwards, whole tensors.

    The last ones, because their gradient needs no pass through the layers before them.

    Args:
        model: any.
        pattern: regular expression that is searched in the names; empty: all.
        most: numbers in all. A tensor that does not fit is left out.

    Raises:
        ValueError: no tensor is chosen.
    """
    found: dict[str, torch.nn.Parameter] = {}
    size = 0
    for name, weight in reversed(list(model.named_parameters())):
        if re.search(pattern, name) and size + weight.numel() <= most:
            found[name] = weight
            size += weight.numel()
    if not found:
        smallest = min((w.numel() for name, w in model.named_parameters() if re.search(pattern, name)), default=None)
        if smallest is None:
            raise ValueError(f"--weights={pattern!r}: must be found in the name of a weight of the model")
        raise ValueError(f"--most-weights={most}: must be at least {smallest}, the smallest tensor that matches")
    return dict(reversed(found.items()))


def policy_gradient(
    model: torch.nn.Module,
    weights: Sequence[torch.nn.Parameter],
    groups: Sequence[Drawn],
    prompts: dict[int, list[int]],
    temperature: float = 1.0,
    tokens_at_once: int = 8192,
) -> torch.Tensor:
    """``sum_rows sum_tokens A grad log pi / number of tokens with loss``: verl's ``token-mean``, on the policy itself.

    The tokens with loss include those of rows whose advantage is 0, which a training averages over as well.

    Args:
        model: causal language model; only ``weights`` get a gradient.
        weights: where the gradient is taken.
        groups: at least one.
        prompts: row of the data -> token ids of its prompt.
        temperature: of the sampling, which the probabilities are of.
        tokens_at_once: padded tokens of one forward pass.

    Returns:
        Float32 on the CPU. Shape ``(numbers in the weights,)``.
    """
    rows = [(prompts[group.prompt], row) for group in groups for row in group.learnt]
    total = torch.zeros(sum(weight.numel() for weight in weights))
    for part in _parts(rows, tokens_at_once):
        value = _weighted_log_probs(model, part, temperature)
        gradients = torch.autograd.grad(value, list(weights), allow_unused=True)
        pieces = [
            torch.zeros(weight.numel()) if piece is None else piece.detach().float().flatten().cpu()
            for piece, weight in zip(gradients, weights, strict=True)
        ]
        total += torch.cat(pieces)
    return total / max(sum(group.trained for group in groups), 1)


def _parts(rows: Sequence[tuple[list[int], Row]], most: int) -> Iterator[list[tuple[list[int], Row]]]:
    """Rows of similar length together, so that little is padded."""
    part: list[tuple[list[int], Row]] = []
    longest = 0
    for prompt, row in sorted(rows, key=lambda one: len(one[0]) + len(one[1].token_ids)):
        length = len(prompt) + len(row.token_ids)
        if part and max(longest, length) * (len(part) + 1) > most:
            yield part
            part, longest = [], 0
        part.append((prompt, row))
        longest = max(longest, length)
    if part:
        yield part


def _weighted_log_probs(
    model: torch.nn.Module, rows: Sequence[tuple[list[int], Row]], temperature: float
) -> torch.Tensor:
    """Sum of the rows' log-probs, each times its advantage."""
    length = max(len(prompt) + len(row.token_ids) for prompt, row in rows)
    ids_BT = torch.zeros(len(rows), length, dtype=torch.long)
    attend_BT = torch.zeros(len(rows), length, dtype=torch.long)
    advantages_BT = torch.zeros(len(rows), length)
    for number, (prompt, row) in enumerate(rows):
        ids = [*prompt, *row.token_ids]
        ids_BT[number, : len(ids)] = torch.tensor(ids)
        attend_BT[number, : len(ids)] = 1
        first = 0
        for end, advantage in row.runs:
            begin = max(first, row.start)
            advantages_BT[number, len(prompt) + begin : len(prompt) + end] = advantage
            first = end
    device = next(model.parameters()).device
    ids_BT, attend_BT, advantages_BT = ids_BT.to(device), attend_BT.to(device), advantages_BT.to(device)
    logits_BTV = model(input_ids=ids_BT, attention_mask=attend_BT, use_cache=False).logits[:, :-1].float()
    losses_BT = cross_entropy((logits_BTV / temperature).transpose(1, 2), ids_BT[:, 1:], reduction="none")
    return -(losses_BT * advantages_BT[:, 1:]).sum()
