"""One forecast from the engine's start to its rows: draws groups, computes gradients, takes the steps."""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..config import BLOCK
from ..core.segment.steps import configured_splitter
from ..inference import jsonl
from ..inference.launch import print_failures
from ..inference.task import FunctionScorer, UnusablePrompt
from . import groups
from .gradient import chosen_weights, policy_gradient
from .groups import Drawn
from .methods import BASE
from .report import Line, lines, start_of
from .sample import Source, fill
from .settings import Forecast, ForecastSettings
from .step import Stepped, length, success

#: Seeds of evaluations are beyond those of groups.
_EVALUATION = 1 << 40


class Run:
    """One forecast: its engine, its prompts, and what has been drawn.

    Args:
        forecast: checked.
        engine: has ``generate``, ``decode``, ``tokenizer``, ``load_weights`` and ``shutdown``.
        console: for progress.
    """

    def __init__(self, forecast: Forecast, engine: Any, console: Console):
        self.forecast, self.settings, self.engine, self.console = forecast, forecast.settings, engine, console
        self.ids: dict[int, list[int]] = {}
        self.left_out: list[str] = []
        order = list(range(len(forecast.prompts)))
        random.Random(f"forecast/{self.settings.seed}").shuffle(order)
        usable = [row for row in order if self._usable(row)]
        wanted = self.settings.eval_prompts if self.settings.step else 0
        self.held_out, self.asked = usable[:wanted], usable[wanted:]
        if len(self.asked) < self.settings.batches:
            raise ValueError(f"--data={self.settings.data}: only {len(usable)} prompts are usable")

    def _usable(self, row: int) -> bool:
        from ..inference.engine import usable_ids

        try:
            self.ids[row] = usable_ids(self.engine, self.forecast.prompts[row], self.forecast.template)
        except UnusablePrompt as error:
            self.left_out.append(f"warning: row {row} is left out: {error}")
        return row in self.ids

    def source(self, row: int) -> Source:
        """A row's sampler and scorer."""
        from ..inference.engine import VLLMSampler

        scorer = FunctionScorer(self.forecast.reward, self.engine.tokenizer, self.forecast.prompts[row])
        return Source(row, VLLMSampler(self.engine, self.ids[row]), scorer)

    async def draw(self) -> tuple[list[Drawn], dict[str, float]]:
        """The groups of all methods, and the seconds of each."""
        settings, path = self.settings, self.settings.out / "groups.jsonl"
        there = groups.read(path)
        groups.rewrite(path, there)
        clock = settings.out / "seconds.jsonl"
        spent: dict[str, float] = {}
        for one in jsonl.read(clock, lambda row: (row["method"], float(row["seconds"])), "time"):
            spent[one[0]] = spent.get(one[0], 0.0) + one[1]
        found: list[Drawn] = []
        tokens = 0
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console) as progress:
            for method in self.forecast.methods:
                splitter = configured_splitter(method.config, self.engine.decode)
                # The tokens of a batch are those of the base, which is drawn first: a number of groups, not of tokens.
                base = method.name == BASE
                goal = settings.groups * settings.n * settings.response_length if base else tokens
                task = progress.add_task(method.name, total=settings.batches * goal)
                started = time.perf_counter()
                mine = await fill(
                    method,
                    settings.batches,
                    goal,
                    self.asked,
                    self.source,
                    splitter,
                    settings.response_length,
                    there,
                    path,
                    lambda drawn, task=task: progress.advance(task, drawn),
                    most_groups=settings.groups if base else None,
                )
                progress.update(task, completed=settings.batches * goal)
                seconds = time.perf_counter() - started
                with clock.open("a", encoding="utf-8") as out:
                    out.write(json.dumps({"method": method.name, "seconds": seconds}) + "\n")
                spent[method.name] = spent.get(method.name, 0.0) + seconds
                found += mine
                if base:
                    tokens = math.ceil(sum(one.tokens for one in mine) / settings.batches)
        return found, spent

    def gradients(self, model: torch.nn.Module, weights: dict[str, torch.Tensor], drawn: Sequence[Drawn]):
        """One vector for each batch of each method, in order. Shape ``(methods x batches, numbers)``."""
        settings, vectors = self.settings, []
        with Progress(console=self.console) as progress:
            task = progress.add_task("gradients", total=len(self.forecast.methods) * settings.batches)
            for method in self.forecast.methods:
                for batch in range(settings.batches):
                    mine = [one for one in drawn if one.method == method.name and one.batch == batch]
                    vectors.append(policy_gradient(model, list(weights.values()), mine, self.ids, settings.temperature))
                    progress.advance(task)
        return torch.stack(vectors)

    async def steps(
        self, model: torch.nn.Module, weights: dict[str, torch.Tensor], vectors: torch.Tensor
    ) -> dict[str, np.ndarray]:
        """Mean reward of each held-out prompt, before a step (``""``) and after that of each method."""
        settings = self.settings
        sources = [self.source(row) for row in self.held_out]

        async def measure() -> np.ndarray:
            return await success(sources, settings.eval_samples, settings.response_length, _EVALUATION)

        found = {"": await measure()}
        distance, folder = settings.step * length(weights), settings.out / "step"
        for place, method in enumerate(self.forecast.methods):
            direction = vectors[place * settings.batches : (place + 1) * settings.batches].mean(dim=0)
            if not direction.any():
                found[method.name] = found[""]  # no gradient, no step
                continue
            with Stepped(weights, direction, distance):
                model.save_pretrained(folder)
                await self.engine.load_weights(str(folder))
                found[method.name] = await measure()
        shutil.rmtree(folder, ignore_errors=True)
        return found


def load_model(settings: ForecastSettings) -> torch.nn.Module:
    """The model, in float32, on the CPU or on a GPU that has the room."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.float32).eval()
    size = 4 * sum(weight.numel() for weight in model.parameters())
    if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > 4 * size:
        model = model.cuda()
    return model


def pick(model: torch.nn.Module, pattern: str, most: int) -> dict[str, torch.Tensor]:
    """:func:`~verl_gpo.forecast.gradient.chosen_weights`, and no other weight gets a gradient."""
    model.requires_grad_(False)
    weights = chosen_weights(model, pattern, most)
    for weight in weights.values():
        weight.requires_grad_(True)
    return weights


def build_engine(forecast: Forecast) -> Any:
    """The engine, a :class:`~verl_gpo.inference.engine.VLLMEngine`."""
    from ..inference.engine import VLLMEngine

    settings = forecast.settings
    options = {"max_model_len": settings.max_model_len, **settings.engine_settings()}
    return VLLMEngine(settings.model, temperature=settings.temperature, seed=settings.seed, **options)


async def measure(
    forecast: Forecast, model: torch.nn.Module, weights: dict[str, torch.Tensor], console: Console
) -> tuple[list[Line], dict[str, Any]]:
    """The rows of a forecast, and what it was of."""
    settings = forecast.settings
    engine = build_engine(forecast)
    try:
        run = Run(forecast, engine, console)
        print_failures(run.left_out, "rows left out")
        drawn, seconds = await run.draw()
        vectors = run.gradients(model, weights, drawn)
        products = (vectors.double() @ vectors.double().T).numpy()
        successes = await run.steps(model, weights, vectors) if settings.step else {}
    finally:
        engine.shutdown()
    found = lines(forecast.methods, drawn, products, seconds, settings.mini_batch, successes)
    about = {
        "model": Path(settings.model).name,
        "data": Path(settings.data).name,
        "batches": settings.batches,
        "weights": sum(weight.numel() for weight in weights.values()),
        "of_weights": sum(weight.numel() for weight in model.parameters()),
        "mini_batch": settings.mini_batch,
        "step": settings.step,
        "settings": {one.name: {"n": one.rollouts, BLOCK: _named(one.config)} for one in forecast.methods},
    }
    if successes:
        start = start_of(successes[""])
        about["start"] = {"value": start.value, "low": start.low, "high": start.high}
    return found, about


def _named(config: Any) -> dict[str, Any]:
    keys = ("preset", "search", "rows", "n_reentry", "learn_from", "n_mc", "search_budget", "rule")
    return {key: getattr(config, key) for key in keys}
