"""Seconds of a training step on GPUs, from specifications and assumptions: nothing here was measured on a GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from verl_gpo.config import GPOConfig
from verl_gpo.core.cost import expected_cost
from verl_gpo.plan.architecture import KNOWN, Architecture

_SHEET = "NVIDIA H100 SXM data sheet"
_ASSUMED = "assumed"


def _constant(value: float, unit: str, source: str) -> Any:
    return field(default=value, metadata={"unit": unit, "source": source})


@dataclass(frozen=True)
class Assumptions:
    """What a GPU does, and what share of it is reached."""

    flops: float = _constant(989e12, "FLOP/s", f"{_SHEET}: bf16, dense")
    bandwidth: float = _constant(3.35e12, "byte/s", f"{_SHEET}: memory")
    memory: float = _constant(80e9, "byte", f"{_SHEET}: memory")
    nvlink: float = _constant(450e9, "byte/s", f"{_SHEET}: NVLink, half of 900 GB/s in both directions")
    network: float = _constant(50e9, "byte/s", "NVIDIA DGX H100 data sheet: a 400 Gb/s adapter for each GPU")
    gpus_a_node: float = _constant(8, "GPUs", "NVIDIA DGX H100 data sheet")
    train_utilization: float = _constant(
        0.4,
        "share of FLOP/s",
        f"{_ASSUMED}; pre-training of Llama 3 405B reports 0.38 to 0.43 (arXiv 2407.21783, table 4)",
    )
    prefill_utilization: float = _constant(0.5, "share of FLOP/s", _ASSUMED)
    decode_utilization: float = _constant(0.5, "share of FLOP/s", _ASSUMED)
    decode_bandwidth: float = _constant(0.7, "share of memory bandwidth", _ASSUMED)
    link_utilization: float = _constant(0.5, "share of NVLink or network", _ASSUMED)
    engine_step: float = _constant(0.003, "s an engine step", f"{_ASSUMED}: scheduling and launches")
    all_reduce: float = _constant(15e-6, "s, two a layer and engine step", f"{_ASSUMED}; with tensor parallelism")
    request: float = _constant(0.001, "s a request and engine", f"{_ASSUMED}: agent loop, scheduling, scoring")
    sync_fixed: float = _constant(5.0, "s a training step", f"{_ASSUMED}: engines sleep, wake and load weights")
    step_fixed: float = _constant(5.0, "s a training step", f"{_ASSUMED}: polls, batch assembly, advantages")
    tail: float = _constant(2.0, "longest response of a phase over its mean", _ASSUMED)
    prefix_hits: float = _constant(
        0.95,
        "share of prefix tokens",
        f"{_ASSUMED}; the CPU engine finds all of them (docs/search.md, The real engine)",
    )
    engine_memory: float = _constant(0.5, "share of GPU memory", "verl 0.9.1's default, rollout.gpu_memory_utilization")
    sequences: float = _constant(256, "sequences in flight an engine", "verl 0.9.1's default, rollout.max_num_seqs")
    recompute: float = _constant(1, "forward passes in an update", "verl 0.9.1's default: gradient checkpointing")
    round_states: float = _constant(4, "states a round of search=adaptive", "verl_gpo/core/search/adaptive.py")


ASSUMED = Assumptions()
#: Numbers of its config.json on the Hugging Face hub.
LLAMA_70B = Architecture(8192, 28672, 80, 64, 8, 128256, False, source="config.json of meta-llama/Llama-3.1-70B")


@dataclass(frozen=True)
class Scenario:
    """A model, the machines, and what a training step asks of them.

    Attributes:
        tensor_parallel: GPUs of an engine.
        prompts, n: of a training step; roots of a prompt.
        prompt_tokens, response_tokens: mean lengths.
        steps: of a response (``K``).
    """

    name: str
    model: Architecture
    gpus: int
    tensor_parallel: int
    prompts: int = 128
    n: int = 8
    prompt_tokens: int = 512
    response_tokens: int = 2048
    steps: int = 32

    @property
    def engines(self) -> float:
        """Copies of the model that sample."""
        return self.gpus / self.tensor_parallel


SCENARIOS = (
    Scenario("7B, 8 GPUs", KNOWN["deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"], 8, 1),
    Scenario("70B, 64 GPUs", LLAMA_70B, 64, 8, prompts=512),
)


@dataclass(frozen=True)
class Load:
    """What a sampling phase asks of the engines.

    Attributes:
        requests: dealt out evenly to the engines, in ``rounds`` equal parts, of which each waits for the one before.
        mean, longest: tokens of a response.
        prefix: tokens before it.
        computed: prompt and prefix tokens that the cache does not hold.
    """

    requests: float
    mean: float
    longest: float
    prefix: float
    computed: float
    rounds: int = 1


@dataclass(frozen=True)
class StepSeconds:
    """One training step.

    Attributes:
        roots, values, reentry: seconds of sampling, one phase after the other.
        overlapped: seconds of all three where prompts do not wait for each other.
        log_probs, update, weights, rest: seconds of the trainer's phases.
        tokens: generated.
        rows: learnt from.
    """

    roots: float
    values: float
    reentry: float
    overlapped: float
    log_probs: float
    update: float
    weights: float
    rest: float
    tokens: float
    rows: float

    @property
    def most(self) -> float:
        """Seconds of the step where a phase begins when the last prompt has ended the one before."""
        return self.roots + self.values + self.reentry + self._trainer

    @property
    def least(self) -> float:
        """Seconds of the step where sampling phases overlap as far as they can."""
        return self.overlapped + self._trainer

    @property
    def _trainer(self) -> float:
        return self.log_probs + self.update + self.weights + self.rest


def step_seconds(scenario: Scenario, gpo: GPOConfig, assumed: Assumptions = ASSUMED) -> StepSeconds:
    """Expected seconds of a training step; every prompt re-enters, which is at most what it costs.

    Raises:
        ValueError: a model that does not fit into an engine's memory.
    """
    loads = sampling(scenario, gpo, assumed)
    cost = expected_cost(gpo, scenario.steps, scenario.response_tokens, scenario.n, scenario.prompts)
    rows, sequence = cost.root_rows + cost.branch_rows, scenario.prompt_tokens + scenario.response_tokens
    forward = rows * sequence * flops_a_token(scenario.model, sequence)
    trainers = scenario.gpus * assumed.flops * assumed.train_utilization
    link = assumed.nvlink if scenario.gpus <= assumed.gpus_a_node else assumed.network
    weights = 2 * scenario.model.parameters / scenario.tensor_parallel
    roots, values, reentry = (apart(scenario, load, assumed) for load in loads)
    return StepSeconds(
        roots=roots,
        values=values,
        reentry=reentry,
        overlapped=together(scenario, loads, assumed),
        log_probs=forward / trainers,
        update=forward * (3 + assumed.recompute) / trainers,
        weights=weights / (link * assumed.link_utilization) + assumed.sync_fixed,
        rest=assumed.step_fixed,
        tokens=cost.root_tokens + cost.value_tokens + cost.reentry_tokens,
        rows=rows,
    )


def sampling(scenario: Scenario, gpo: GPOConfig, assumed: Assumptions = ASSUMED) -> tuple[Load, Load, Load]:
    """Roots, value continuations and re-entry rollouts of a training step, as ``core/cost.py`` expects them."""
    length, steps = scenario.response_tokens, scenario.steps
    cost = expected_cost(gpo, steps, length, scenario.n, scenario.prompts)
    typical = length / 2 if steps > 1 else length  # of what is drawn from a state, all states being as likely
    longest = assumed.tail * length * (1 - 1 / steps if steps > 1 else 1)
    reentries = cost.reentry_tokens / typical
    draws = cost.requests - reentries
    prefix, missed = scenario.prompt_tokens + length - typical, 1 - assumed.prefix_hits
    # A prompt is computed once for its roots; the others find it as often as any prefix.
    prompts = scenario.prompts + (cost.root_rows - scenario.prompts) * missed
    cap = gpo.max_continuation_tokens or math.inf
    rounds = _rounds(gpo, steps, draws / scenario.prompts, assumed)
    return (
        Load(cost.root_rows, length, assumed.tail * length, scenario.prompt_tokens, prompts * scenario.prompt_tokens),
        Load(draws, min(typical, cap), min(longest, cap), prefix, draws * prefix * missed, rounds),
        Load(reentries, typical, longest, prefix, reentries * prefix * missed),
    )


def _rounds(gpo: GPOConfig, steps: int, draws: float, assumed: Assumptions) -> int:
    """How often a prompt waits for continuations of its search."""
    if gpo.search == "bisection":
        return max(1, math.ceil(math.log2(max(steps, 1))))
    if gpo.search == "adaptive":
        size = assumed.round_states * max(1, gpo.n_mc // assumed.round_states)
        return max(1, math.ceil(draws / size))
    return max(1, gpo.max_proposals) if gpo.search == "propose" else 1


def flops_a_token(model: Architecture, context: float) -> float:
    """Floating-point operations of a forward pass, a token of a sequence of ``context`` tokens.

    Two for each weight of the linear layers and the output layer, and causal attention, of half the context on average.
    """
    linear = model.num_hidden_layers * model.block_parameters + model.embedding_parameters
    width = model.num_attention_heads * (model.head_dim or model.hidden_size // model.num_attention_heads)
    return 2 * linear + 2 * model.num_hidden_layers * width * context


def _work(scenario: Scenario, load: Load, assumed: Assumptions) -> float:
    """Seconds of an engine that grow with what it is asked for: forward passes, keys and values read, requests."""
    model, parallel = scenario.model, scenario.tensor_parallel
    context = load.prefix + load.mean / 2
    forward = flops_a_token(model, context) / (parallel * assumed.flops * assumed.decode_utilization)
    reading = model.kv_bytes_per_token() * context / (parallel * assumed.bandwidth * assumed.decode_bandwidth)
    prefill = flops_a_token(model, load.prefix) / (parallel * assumed.flops * assumed.prefill_utilization)
    spent = load.requests * (load.mean * (forward + reading) + assumed.request) + load.computed * prefill
    return spent / scenario.engines


def _engine_step(scenario: Scenario, assumed: Assumptions) -> float:
    """Seconds of an engine step without that: all weights are read, by however few sequences."""
    model, parallel = scenario.model, scenario.tensor_parallel
    reduce = 2 * model.num_hidden_layers * assumed.all_reduce if parallel > 1 else 0.0
    weights = 2 * model.parameters / (parallel * assumed.bandwidth * assumed.decode_bandwidth)
    return weights + assumed.engine_step + reduce


def _full(scenario: Scenario, load: Load, assumed: Assumptions) -> float:
    """Engine steps of a load where as many sequences are in flight as an engine has room for."""
    room = kv_tokens(scenario, assumed) / (load.prefix + load.mean / 2)
    return load.requests * load.mean / scenario.engines / max(1.0, min(assumed.sequences, room))


def _steps(scenario: Scenario, load: Load, assumed: Assumptions) -> float:
    """Engine steps of a load alone: each round lasts until its longest response."""
    return load.rounds * (max(load.mean, _full(scenario, load, assumed) / load.rounds) + load.longest - load.mean)


def apart(scenario: Scenario, load: Load, assumed: Assumptions = ASSUMED) -> float:
    """Seconds of a sampling phase by itself.

    Reading weights, reading keys and values, and forward passes are added up: as far as they overlap in an engine, it
    is in the shares that are reached.
    """
    if load.requests <= 0:
        return 0.0
    return _steps(scenario, load, assumed) * _engine_step(scenario, assumed) + _work(scenario, load, assumed)


def together(scenario: Scenario, loads: tuple[Load, Load, Load], assumed: Assumptions = ASSUMED) -> float:
    """Seconds of all sampling where no prompt waits for another.

    Engine steps are those of the slowest prompt, whose roots take as long as all roots and whose continuations are of
    mean length, or those of full engines, whichever are more.
    """
    roots, *later = (load for load in loads if load.requests > 0)
    chain = _steps(scenario, roots, assumed) + sum(load.rounds * load.mean for load in later)
    full = sum(_full(scenario, load, assumed) for load in (roots, *later)) + roots.longest - roots.mean
    work = sum(_work(scenario, load, assumed) for load in (roots, *later))
    return max(chain, full) * _engine_step(scenario, assumed) + work


def kv_tokens(scenario: Scenario, assumed: Assumptions = ASSUMED) -> float:
    """Tokens whose keys and values an engine has room for.

    Raises:
        ValueError: there is none.
    """
    parallel, model = scenario.tensor_parallel, scenario.model
    room = parallel * assumed.memory * assumed.engine_memory - 2 * model.parameters
    if room <= 0:
        raise ValueError(f"{scenario.name}: the weights do not fit into {parallel} GPUs")
    return room / model.kv_bytes_per_token()
