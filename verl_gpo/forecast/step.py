"""Success after one step of fixed length along a gradient, sampled from the model that the step makes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ..core.types import SamplingError, ScoringError
from .sample import Source


def length(weights: Mapping[str, torch.Tensor]) -> float:
    """Euclidean length of all weights together."""
    return math.sqrt(sum(float((weight.detach().double() ** 2).sum()) for weight in weights.values()))


class Stepped:
    """A model that is moved along a direction for the time of a ``with`` block, and is what it was afterwards.

    Args:
        weights: that move.
        direction: their gradient, flattened in the same order. Shape ``(numbers,)``.
        distance: Euclidean length of the step.

    Raises:
        ValueError: the direction has no length.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor], direction: torch.Tensor, distance: float):
        norm = float(direction.double().norm())
        if not norm:
            raise ValueError("the gradient is 0: there is no direction for a step")
        self._weights, self._direction, self._scale = weights, direction, distance / norm
        self._before: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def __enter__(self) -> None:
        at = 0
        for name, weight in self._weights.items():
            self._before[name] = weight.detach().clone()
            piece = self._direction[at : at + weight.numel()].view(weight.shape)
            weight += (self._scale * piece).to(weight)
            at += weight.numel()

    @torch.no_grad()
    def __exit__(self, *exception: object) -> None:
        for name, weight in self._weights.items():
            weight.copy_(self._before[name])


async def success(
    sources: Sequence[Source], samples: int, response_length: int, seed: int, at_once: int = 64
) -> np.ndarray:
    """Mean reward of each prompt, NaN where no response came back. Shape ``(prompts,)``.

    Args:
        sources: the prompts.
        samples: responses to each.
        response_length: most tokens of a response.
        seed: of the requests.
        at_once: requests in flight.
    """
    slots = asyncio.Semaphore(at_once)

    async def one(source: Source, number: int) -> float:
        async with slots:
            try:
                continuation = await source.sampler.sample((), response_length, seed + number)
                return (await source.scorer.score((), continuation)).reward
            except (SamplingError, ScoringError):
                return math.nan

    tasks = [one(source, place * samples + k) for place, source in enumerate(sources) for k in range(samples)]
    rewards_PS = np.array(await asyncio.gather(*tasks)).reshape(len(sources), samples)
    known_P = ~np.isnan(rewards_PS).all(axis=1)
    means_P = np.full(len(sources), math.nan)
    means_P[known_P] = np.nanmean(rewards_PS[known_P], axis=1)
    return means_P
