"""What a user sets of a forecast: one dataclass, which the command line is made from, checked before an engine."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..config import BLOCK
from ..inference.fingerprint import identified_reward
from ..inference.model import identify
from ..inference.settings import add_template_option, read_settings, read_template
from ..inference.task import Prompt, check_reward, read_prompts
from .methods import BASE, DEFAULT, NAMES, Method, method

#: Settings of the engine that have an option of their own.
_OWN = ("max_model_len", "temperature", "top_p", "seed")


def _option(flag: str, default: Any, text: str, least: float | None = None) -> Any:
    return field(
        **({} if default is MISSING else {"default": default}), metadata={"flag": flag, "help": text, "least": least}
    )


@dataclass(frozen=True)
class ForecastSettings:
    """A forecast, as it is asked for. ``None`` of a length is the model's."""

    model: str = _option("--model", MISSING, "Hugging Face folder or name")
    data: str = _option("--data", MISSING, "parquet file in verl's schema: the prompts that would be trained on")
    out: Path = _option(
        "--out", MISSING, "folder of what is drawn, forecast.json and the steps; the same command continues it"
    )
    reward: str | None = _option("--reward", None, "FILE.py or FILE.py:FUNCTION instead of the shared grader")
    methods: str = _option(
        "--methods", ",".join(DEFAULT), f"comma-separated, of {', '.join(NAMES)}; {BASE} is always among them"
    )
    n: int = _option("--n", 8, "rollouts of a prompt, verl's rollout.n", 2)
    mini_batch: int = _option("--mini-batch", 64, "prompts of an optimizer step, verl's ppo_mini_batch_size", 1)
    batches: int = _option("--batches", 12, "independent batches of each method", 3)
    groups: int = _option("--groups", 4, f"groups of {BASE} whose tokens a batch has, whatever the method", 1)
    weights: str = _option(
        "--weights", "", "regular expression: the weights whose gradient is computed; empty: all that fit"
    )
    most_weights: int = _option(
        "--most-weights", 4_000_000, "numbers of these weights at most, the last layers first", 1
    )
    step: float = _option(
        "--step", 0.001, "length of the step, as a share of the length of these weights; 0: no step", 0
    )
    eval_prompts: int = _option("--eval-prompts", 128, "prompts on which the success after a step is measured", 2)
    eval_samples: int = _option("--eval-samples", 4, "responses to each of them", 1)
    response_length: int = _option("--response-length", 1024, "most tokens of a response", 2)
    max_model_len: int | None = _option("--max-model-len", None, "prompt and response", 3)
    temperature: float = _option("--temperature", 1.0, "of all sampling; above 0")
    top_p: float = _option(
        "--top-p", 1.0, "of all sampling; 1, or the gradient is not that of the distribution sampled from"
    )
    seed: int = _option("--seed", 0, "of the order of the prompts, and of all random choices", 0)
    engine: tuple[str, ...] = _option("--engine", (), "KEY=VALUE: setting of vLLM's engine; may be repeated")
    template: tuple[str, ...] = ()
    gpo: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for known in fields(self):
            value, least = getattr(self, known.name), known.metadata.get("least")
            if least is not None and value is not None and value < least:
                raise ValueError(f"{known.metadata['flag']}={value}: must be at least {least}")
        if not self.temperature > 0:
            raise ValueError(f"--temperature={self.temperature}: must be above 0: otherwise all rollouts are the same")
        if self.top_p != 1:
            raise ValueError(f"--top-p={self.top_p}: must be 1, as in a training: log-probs are those of the whole")
        if self.max_model_len is not None and self.max_model_len <= self.response_length:
            raise ValueError(
                f"--max-model-len={self.max_model_len}: must be above --response-length={self.response_length}, "
                "as the prompt counts, too"
            )
        try:
            re.compile(self.weights)
        except re.error as error:
            raise ValueError(f"--weights={self.weights!r}: must be a regular expression ({error})") from error
        for name in self.methods.split(","):
            if name not in NAMES:
                raise ValueError(f"--methods={name}: must be of {', '.join(NAMES)}")
        for key in self.engine_settings():
            if key in _OWN:
                raise ValueError(f"--engine {key}: give it as --{key.replace('_', '-')}")

    def engine_settings(self) -> dict[str, Any]:
        """Of ``--engine``."""
        try:
            return read_settings(self.engine)
        except ValueError as error:
            raise ValueError(f"--engine {error}") from error

    def all_methods(self) -> list[Method]:
        """The methods, the one that all are compared with first.

        Raises:
            ValueError, ConfigError: a setting of theirs that cannot be.
        """
        shared = read_settings(self.gpo)
        named = dict.fromkeys([BASE, *self.methods.split(",")])
        return [method(name, self.n, shared) for name in named]


@dataclass(frozen=True)
class Forecast:
    """A forecast that can start: what the settings name, read and checked.

    Attributes:
        prompts: all rows of the data.
        reward: verl's ``compute_score``.
        template: arguments of the chat template.
        drawn_with: all settings that a group depends on besides its prompt, by name.
    """

    settings: ForecastSettings
    methods: list[Method]
    prompts: list[Prompt]
    reward: Callable[..., Any]
    template: dict[str, Any]
    drawn_with: dict[str, Any]


def check(settings: ForecastSettings) -> Forecast:
    """Everything that can be checked without an engine.

    Raises:
        ValueError, ConfigError: names the option or file, what is wrong and what is allowed.
    """
    methods, template = settings.all_methods(), read_template(settings.template)
    identity = identify(settings.model)
    reward, reward_id = identified_reward(settings.reward)
    try:
        prompts = read_prompts(settings.data, answers_are_text=settings.reward is None)
    except ValueError as error:
        raise ValueError(f"--{error}") from error
    wanted = settings.batches + (settings.eval_prompts if settings.step else 0)
    if len(prompts) < wanted:
        raise ValueError(
            f"--data={settings.data}: has {len(prompts)} rows; --batches={settings.batches} without a common prompt"
            + (f" and --eval-prompts={settings.eval_prompts} that no batch has" if settings.step else "")
            + f" need at least {wanted}"
        )
    try:
        check_reward(reward, prompts)
    except ValueError as error:
        raise ValueError(f"--reward={settings.reward}: {error}") from error
    options = ("n", "batches", "groups", "eval_prompts", "response_length", "max_model_len", "temperature", "seed")
    drawn_with = {
        **identity,
        "reward": reward_id,
        "data": len(prompts),
        **{key: getattr(settings, key) for key in options},
        BLOCK: sorted(settings.gpo),
        "engine": sorted(settings.engine),
        "apply_chat_template_kwargs": template,
    }
    return Forecast(settings, methods, prompts, reward, template, drawn_with)


def parse_args(argv: Sequence[str] | None) -> ForecastSettings:
    """The command line.

    Raises:
        ValueError: a value that is not allowed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m verl_gpo.forecast",
        description="Forecast, before any training, which method gives most signal for its tokens.",
    )
    for known in fields(ForecastSettings):
        if "help" not in known.metadata:
            continue
        text, name = known.metadata["help"].replace("%", "%%"), known.metadata["flag"]
        if known.default is MISSING:
            parser.add_argument(name, required=True, help=text, type=Path if known.name == "out" else str)
        elif known.default == ():
            parser.add_argument(name, action="append", default=[], metavar="KEY=VALUE", help=text)
        else:
            kind = {"int": int, "float": float}.get(str(known.type).partition(" |")[0], str)
            parser.add_argument(name, default=known.default, type=kind, help=f"{text} (default: {known.default})")
    add_template_option(parser)
    parser.add_argument("gpo", nargs="*", metavar="KEY=VALUE", help=f"settings of {BLOCK} that all methods share")
    given = vars(parser.parse_args(argv))
    return ForecastSettings(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})
