"""Rows, optimizer steps and tokens of a training step, from a composed configuration."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from ..config import GPOConfig
from ..core.cost import expected_cost
from ..plugin.batch import StepArithmetic, even_mini_batches, rows_of_steps, step_arithmetic
from ..plugin.estimators import smallest_group
from ..traces.runlog import RunLog
from .configuration import Configuration, PlanError

_ACTOR = "actor_rollout_ref.actor"


@dataclass(frozen=True)
class Expectation:
    """Expected number of steps and length of a response.

    Attributes:
        steps: number of steps of a response (``K``).
        response_tokens: mean length.
        source: where the two numbers come from.
    """

    steps: int
    response_tokens: float
    source: str


@dataclass(frozen=True)
class Workload:
    """One training step.

    Attributes:
        prompts, n: of the step; rollouts of a prompt as configured.
        mini_batch_rows: rows of one optimizer step of the actor.
        root_rows, reentry_rows: rows that are trained on.
        root_tokens, value_tokens, reentry_tokens: number of generated tokens.
        actor, critic: padding and optimizer steps that verl makes from the rows; None for a run without a critic.
    """

    prompts: int
    n: int
    mini_batch_rows: int
    root_rows: float
    reentry_rows: float
    root_tokens: float
    value_tokens: float
    reentry_tokens: float
    actor: StepArithmetic
    critic: StepArithmetic | None

    @property
    def tokens(self) -> float:
        """All tokens that are generated."""
        return self.root_tokens + self.value_tokens + self.reentry_tokens


def uses_critic(configuration: Configuration) -> bool:
    """Whether the run has a critic, decided as in verl's ``need_critic``, which is not imported."""
    enabled = configuration.get("critic.enable")
    return bool(enabled) if enabled is not None else configuration.get("algorithm.adv_estimator") == "gae"


def uses_reference(configuration: Configuration) -> bool:
    """Whether the run has a reference policy, decided as in verl's ``need_reference_policy``, which is not imported."""
    return bool(configuration.get("algorithm.use_kl_in_reward") or configuration.get(f"{_ACTOR}.use_kl_loss"))


def gpus(configuration: Configuration) -> int:
    """Number of GPUs of all nodes."""
    return configuration.integer("trainer.n_gpus_per_node") * configuration.integer("trainer.nnodes")


def model_parallel(configuration: Configuration) -> int:
    """Number of GPUs that compute one row together (the actor's model parallelism)."""
    if configuration.get(f"{_ACTOR}.strategy") == "megatron":
        megatron = f"{_ACTOR}.megatron"
        sizes = [f"{kind}_parallel_size" for kind in ("tensor_model", "pipeline_model", "context")]
        return math.prod(configuration.integer(f"{megatron}.{size}") for size in sizes)
    return configuration.get(f"{_ACTOR}.ulysses_sequence_parallel_size", 1)


def data_parallel(configuration: Configuration) -> int:
    """Number of ranks to which rows are distributed.

    Raises:
        PlanError: the GPUs cannot be divided this way.
    """
    total, shared = gpus(configuration), model_parallel(configuration)
    if total % shared:
        raise PlanError(
            f"trainer.n_gpus_per_node={configuration.get('trainer.n_gpus_per_node')}: {total} GPUs cannot be divided "
            f"by the {shared} of the actor's tensor, pipeline, context or sequence parallelism"
        )
    return total // shared


@dataclass(frozen=True)
class Batch:
    """The three numbers that a twin may change: prompts of a step, rollouts of each, prompts of a mini-batch."""

    prompts: int
    n: int
    mini_batch: int

    @classmethod
    def of(cls, configuration: Configuration) -> Batch:
        """As configured."""
        keys = ("data.train_batch_size", "actor_rollout_ref.rollout.n", f"{_ACTOR}.ppo_mini_batch_size")
        return cls(*(configuration.integer(key) for key in keys))


def workload(
    configuration: Configuration, gpo: GPOConfig, expected: Expectation, batch: Batch | None = None
) -> Workload:
    """Rows, tokens and optimizer steps of one training step, as configured or with another batch.

    Raises:
        PlanError: a value is not a valid number.
    """
    configured = Batch.of(configuration)
    batch = batch or configured
    prompts, n = batch.prompts, batch.n
    estimator = str(configuration.get("algorithm.adv_estimator"))
    smallest = smallest_group(estimator, gpo.base_estimator)
    cost = expected_cost(gpo, expected.steps, expected.response_tokens, n, prompts, smallest_group=smallest)
    rows = round(cost.root_rows + cost.reentry_rows)
    ranks, mini_batches, critic = data_parallel(configuration), [batch.mini_batch * n], None
    multiple = ranks
    if uses_critic(configuration):
        mini_batch = configuration.integer("critic.ppo_mini_batch_size")
        mini_batches.append((batch.mini_batch if mini_batch == configured.mini_batch else mini_batch) * n)
    if gpo.rows_vary:
        sampled = prompts * n if gpo.rows == "downsampled" else round(cost.root_rows)
        as_many_as = rows_of_steps(gpo.rows, rows, sampled)
        mini_batches = even_mini_batches(rows, as_many_as, mini_batches, math.lcm(n, ranks))
    actor_rows = mini_batches[0]
    if uses_critic(configuration):
        critic_rows = mini_batches[1]
        multiple = math.lcm(ranks, critic_rows)
        epochs = configuration.integer("critic.ppo_epochs")
        critic = step_arithmetic(rows, critic_rows, epochs, math.lcm(ranks, actor_rows))
    return Workload(
        prompts=prompts,
        n=n,
        mini_batch_rows=actor_rows,
        root_rows=cost.root_rows,
        reentry_rows=cost.reentry_rows,
        root_tokens=cost.root_tokens,
        value_tokens=cost.value_tokens,
        reentry_tokens=cost.reentry_tokens,
        actor=step_arithmetic(rows, actor_rows, configuration.integer(f"{_ACTOR}.ppo_epochs"), multiple),
        critic=critic,
    )


def expectation(configuration: Configuration, measured: Path | None = None) -> Expectation:
    """Steps and length of a response: measured by a run, or assumed by the recipe, or taken from the limits.

    Raises:
        PlanError: a metrics file that cannot be read or has no GPO run in it.
    """
    if measured is not None:
        run = measured_run(measured)
        return Expectation(run.steps, run.response_tokens, f"measured: {measured}")
    limit = configuration.integer("data.max_response_length")
    steps, tokens = configuration.get("recipe.steps"), configuration.get("recipe.response_tokens")
    if steps is not None and tokens is not None:
        steps, tokens = configuration.integer("recipe.steps"), configuration.integer("recipe.response_tokens")
        if tokens > limit:
            raise PlanError(f"recipe.response_tokens={tokens}: must be at most data.max_response_length={limit}")
        return Expectation(steps, tokens, "assumed by the recipe (recipe.steps, recipe.response_tokens)")
    return Expectation(16, limit, "assumed: 16 steps, data.max_response_length tokens")


@dataclass(frozen=True)
class MeasuredRun:
    """Tokens and steps of a GPO run, averaged over its training steps."""

    steps: int
    response_tokens: float
    tokens: float


def measured_run(path: Path) -> MeasuredRun:
    """Read the metrics of a run with re-entry (verl's file logger).

    Raises:
        PlanError: no such file, or no training step with GPO's metrics in it.
    """
    try:
        log = RunLog.read(path)
    except (OSError, ValueError, json.JSONDecodeError) as error:
        raise PlanError(f"--measured {path}: {error}") from error
    steps = len(log.series("gpo/tokens/root"))
    rollouts, root = log.total("gpo/rollouts/root"), log.total("gpo/tokens/root")
    found = log.series("gpo/steps")
    if not steps or not rollouts or not found:
        raise PlanError(f"--measured {path}: no training step with gpo/steps and gpo/tokens/root in it")
    spent = sum(log.total(f"gpo/tokens/{kind}") for kind in ("root", "value", "reentry"))
    return MeasuredRun(
        steps=max(1, round(sum(found.values()) / len(found))),
        response_tokens=root / rollouts,
        tokens=spent / steps,
    )


def training_steps(configuration: Configuration) -> tuple[int | None, str]:
    """Training steps of the whole run and how they are known; None if the data are not on this host."""
    stated = configuration.get("trainer.total_training_steps")
    if stated is not None:
        return configuration.integer("trainer.total_training_steps"), "trainer.total_training_steps"
    files = configuration.get("data.train_files")
    paths = [Path(str(path)).expanduser() for path in ([files] if isinstance(files, str) else files)]
    if not all(path.is_file() for path in paths):
        return None, "unknown: trainer.total_epochs of data that are not here"
    import pyarrow.parquet

    rows = sum(pyarrow.parquet.read_metadata(path).num_rows for path in paths)
    epochs = configuration.integer("trainer.total_epochs")
    return rows // configuration.integer("data.train_batch_size") * epochs, f"{epochs} epochs of {rows:,} prompts"
