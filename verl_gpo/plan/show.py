"""The plan on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..config import GPOConfig
from ..core.cost import Cost
from ..data.registry import DATASETS
from .architecture import Architecture
from .configuration import Configuration
from .memory import ASSUMPTIONS, GIB, Memory
from .numbers import Expectation, Workload, data_parallel, gpus
from .twin import Twin


def _count(value: float) -> str:
    return f"{value:,.0f}"


def pairs(title: str, rows: list[tuple[str, str]]) -> Table:
    """A table of labels and values."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=34)
    table.add_column(overflow="fold")
    for label, value in rows:
        table.add_row(label, value)
    return table


def cost_table(costs: Mapping[str, Cost]) -> Table:
    """Tokens of settings without a configuration, one row for each setting."""
    table = Table()
    table.add_column("setting", overflow="fold", min_width=24)
    for column in ("roots", "search", "re-entry", "x GRPO", "requests", "rows", "+ rows"):
        table.add_column(column, justify="right")
    for setting, cost in costs.items():
        tokens = (cost.root_tokens, cost.value_tokens, cost.reentry_tokens)
        rest = (cost.requests, cost.root_rows, cost.reentry_rows)
        table.add_row(setting, *map(_count, tokens), f"{cost.multiple:.2f}", *map(_count, rest))
    return table


def run_table(configuration: Configuration, gpo: GPOConfig, model: Architecture | None) -> Table:
    """A description of the run: model, method, GPUs."""
    get = configuration.get
    rank = get("actor_rollout_ref.model.lora_rank", 0) or get("actor_rollout_ref.model.lora.rank", 0)
    sizes = f"{_count(model.parameters)} parameters ({model.source})" if model else "size unknown"
    method = f"gpo, search={gpo.search}, preset={gpo.preset}" if gpo.enable else "plain: no search, no re-entry"
    rows = [
        (
            "model",
            f"{get('actor_rollout_ref.model.path')}, {sizes}, {f'LoRA of rank {rank}' if rank else 'all weights'}",
        ),
        ("method", f"{method}; adv_estimator={get('algorithm.adv_estimator')}"),
        ("GPUs", f"{gpus(configuration)}: {data_parallel(configuration)} ranks, {_engines(configuration)}"),
    ]
    return pairs("Run", rows)


def _engines(configuration: Configuration) -> str:
    parallel = configuration.integer("actor_rollout_ref.rollout.tensor_model_parallel_size")
    return f"{max(1, gpus(configuration) // parallel)} engines of {parallel} GPUs"


def step_table(columns: dict[str, Workload], expected: Expectation) -> Table:
    """A training step of the run, next to its twins."""
    title = f"A training step, with {expected.steps} steps and {expected.response_tokens:,.0f} tokens a response"
    table = Table(title=f"{title}, {expected.source}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column(min_width=28, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    own = next(iter(columns.values()))
    lines: list[tuple[str, Callable[[Workload], str]]] = [
        ("prompts", lambda step: _count(step.prompts)),
        ("rollout.n", lambda step: _count(step.n)),
        ("rows, root", lambda step: _count(step.root_rows)),
        ("rows, re-entry", lambda step: _count(step.reentry_rows)),
        ("rows, padding", lambda step: _count(step.actor.padding)),
        ("rows of a mini-batch", lambda step: _count(step.mini_batch_rows)),
        ("optimizer steps, actor", lambda step: _count(step.actor.optimizer_steps)),
        ("optimizer steps, critic", lambda step: _count(step.critic.optimizer_steps if step.critic else 0)),
        ("tokens, root", lambda step: _count(step.root_tokens)),
        ("tokens, Monte Carlo values", lambda step: _count(step.value_tokens)),
        ("tokens, re-entry", lambda step: _count(step.reentry_tokens)),
        ("tokens, all", lambda step: _count(step.tokens)),
        ("of this run's", lambda step: f"{step.tokens / own.tokens:.1%}"),
    ]
    for label, value in lines:
        if label != "optimizer steps, critic" or own.critic:
            table.add_row(label, *(value(step) for step in columns.values()))
    return table


def twins_table(twins: list[Twin]) -> Table:
    """Overrides with which the twins cost the same; recipes/math/run.sh uses them by itself."""
    rows = [(f"METHOD={twin.method}", " ".join(twin.overrides) or "nothing to change") for twin in twins]
    return pairs("Twins at equal tokens", rows)


def memory_table(configuration: Configuration, memory: Memory, gpu_gib: float) -> Table:
    """The memory of one GPU."""
    get = configuration.get
    longest = configuration.integer("data.max_prompt_length") + configuration.integer("data.max_response_length")
    parts = {
        "weights and optimizer, kept": memory.states,
        "gradients": memory.gradients,
        "weights in use, gathered": memory.gathered,
        "activations": memory.activations,
        "logits": memory.logits,
    }
    rows = [(label, _gib(size)) for label, size in parts.items()]
    rows.append(
        ("peak while training", f"{_gib(memory.training)} of {gpu_gib:g} GiB{_verdict(memory.training, gpu_gib)}")
    )
    share = f"gpu_memory_utilization={get('actor_rollout_ref.rollout.gpu_memory_utilization')}"
    rows.append(("peak while sampling", f"{_gib(memory.sampling)}, {share}{_verdict(memory.sampling, gpu_gib)}"))
    held = f"{memory.kv_tokens:,} tokens, {memory.kv_tokens / longest:,.0f} of the longest responses at once"
    rows.append(("cache of an engine", held if memory.kv_tokens else "the weights do not fit"))
    return pairs("Memory of a GPU, estimated", rows)


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"


def _verdict(size: float, gpu_gib: float) -> str:
    share = size / GIB / gpu_gib
    return "" if share <= 0.9 else ": tight" if share <= 1 else ": does not fit"


def notes(
    configuration: Configuration,
    gpo: GPOConfig,
    model: Architecture | None,
    ignored: Sequence[str],
    missing: Sequence[tuple[str, str]],
) -> list[str]:
    """Settings without effect, assumptions, and missing files.

    Args:
        configuration, gpo, model: of the run.
        ignored: settings without effect, a line each.
        missing: key and path of files that are not on this host.
    """
    said = [f"without effect: {line}" for line in ignored]
    if gpo.enable:
        said.append("every prompt is searched and has a critical step; continuations are as long as what they replace")
    if gpo.enable and gpo.search in ("adaptive", "propose"):
        said.append(f"search={gpo.search} stops early: its tokens, and so a twin's, are an upper bound (--measured)")
    if gpo.enable and gpo.search == "informative":
        said.append(
            "search=informative moves weights more than plain GRPO at the same learning rate: take 3/4 of its twin's"
        )
    if model is not None:
        said += [f"memory: {text}" for text in ASSUMPTIONS]
    else:
        path = configuration.get("actor_rollout_ref.model.path")
        said.append(f"memory: not estimated, {path} is neither on this host nor in the table of known models")
    for key, path in missing:
        folder = Path(path).parent
        remedy = f"; python -m verl_gpo.data.prepare --dataset {folder.name} --out {folder}"
        said.append(f"not here: {path} ({key}){remedy if folder.name in DATASETS else ''}")
    return said


def print_plan(console: Console, tables: Sequence[Table], said: Sequence[str]) -> None:
    """Print all tables and the assumptions of the plan."""
    for table in tables:
        console.print(table)
        console.print()
    console.print("Assumed, and noticed", style="italic")
    console.print("\n".join(f"  - {line}" for line in said), soft_wrap=True, markup=False)
