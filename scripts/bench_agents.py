"""What keeping the states of a trajectory costs, by number of turns and size of the environment: memory and CPU time.

    python -m scripts.bench_agents --out scripts/results/bench_agents.json

A trajectory is a conversation as ``gpo_tool_agent`` has it: each turn the policy writes 200 tokens and a tool answers
with 100. Before each turn the state is kept, with a snapshot of an environment that is a dictionary of the given size.
Counted is what is still in memory when the rollout has ended, beside the rollout's own tokens, mask and log-probs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from verl_gpo.plugin.agents.states import Recording

TURNS, STORED = (2, 8, 32), (0, 1_000, 100_000)
#: Tokens that the policy writes in a turn, and that a tool answers with; a token is four characters.
WRITTEN, ANSWERED = 200, 100


class Environment:
    """A tool with a store of ``size`` bytes, in values of 100."""

    def __init__(self, size: int):
        self.store = {f"key{number}": "x" * 99 + chr(64 + number % 50) for number in range(size // 100)}

    def snapshot(self, agent_data: Any) -> Any:
        return self.store

    def restore(self, agent_data: Any, state: Any) -> None:
        self.store = state


async def record(turns: int, size: int) -> tuple[Recording, SimpleNamespace, float]:
    """A trajectory of ``turns`` turns: its noted states, its data, and the CPU seconds that noting them took."""
    recording, tools = Recording(), {"store": Environment(size)}
    data = SimpleNamespace(
        messages=[{"role": "user", "content": "go"}],
        **dict.fromkeys(("image_data", "video_data", "audio_data", "mm_processor_output")),
        mm_processor_kwargs={},
        prompt_ids=list(range(1000, 1100)),
        response_mask=[],
        user_turns=0,
        assistant_turns=0,
        turn_scores=[],
        tool_rewards=[],
        extra_fields={},
    )
    seconds = 0.0
    for turn in range(turns):
        started = time.process_time()
        await recording.begin_turn(data, tools, None)
        seconds += time.process_time() - started
        data.extra_fields |= {"min_global_steps": 1, "max_global_steps": 1, "num_cached_tokens": 100}
        # verl makes new lists for each merge.
        data.prompt_ids = [*data.prompt_ids, *range(2000, 2000 + WRITTEN + ANSWERED)]
        data.response_mask = [*data.response_mask, *[1] * WRITTEN, *[0] * ANSWERED]
        text = f"{turn:04d}"
        data.messages.append({"role": "assistant", "content": text * WRITTEN})
        data.messages.append({"role": "tool", "content": text * ANSWERED})
        data.tool_rewards.append(0.5)
        data.assistant_turns += 1
        data.user_turns += 1
    started = time.process_time()
    recording.finish(data.prompt_ids[:100], data.prompt_ids[100:], data.response_mask)
    return recording, data, seconds + time.process_time() - started


def measure(turns: int, size: int, repeats: int = 5) -> dict[str, float]:
    """Kilobytes that a recording keeps, and the least CPU milliseconds of several."""
    gc.collect()
    tracemalloc.start()
    recording, data, _ = asyncio.run(record(turns, size))
    assert recording.reason is None and len(recording.states) == turns
    del data
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    seconds = min(asyncio.run(record(turns, size))[2] for _ in range(repeats))
    return {"turns": turns, "environment_bytes": size, "kept_kb": kept / 1000, "cpu_ms": 1000 * seconds}


def share_of_a_step(file: Path, prompts: int) -> dict[str, Any]:
    """What share of a run's training steps was spent on keeping states, from verl's metrics file."""
    steps = [json.loads(line)["data"] for line in file.read_text(encoding="utf-8").splitlines()]
    steps = [step for step in steps if "gpo/seconds/snapshot" in step]
    kept = prompts * sum(step["gpo/seconds/snapshot"] for step in steps)
    seconds = sum(step["timing_s/step"] for step in steps)
    turns = sum(step["gpo/turns"] for step in steps) / len(steps)
    about = {"run": file.parent.name, "steps": len(steps), "prompts": prompts, "turns": turns}
    return about | {"snapshot_seconds": kept, "step_seconds": seconds, "share": kept / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=Path, nargs="*", default=[], help="metrics files of runs, for the share of a step"
    )
    parser.add_argument("--prompts", type=int, default=4, help="data.train_batch_size of these runs")
    parser.add_argument("--out", type=Path, help="write the raw result to this JSON file")
    arguments = parser.parse_args()
    rows = [measure(turns, size) for turns in TURNS for size in STORED]
    runs = [share_of_a_step(file, arguments.prompts) for file in arguments.runs]
    if arguments.out:
        arguments.out.write_text(json.dumps({"states": rows, "runs": runs}, indent=1) + "\n", encoding="utf-8")
    print("turns  environment    kept      CPU")
    for row in rows:
        print(
            f"{row['turns']:5d}  {row['environment_bytes'] / 1000:8.0f} kB {row['kept_kb']:7.0f} kB "
            f"{row['cpu_ms']:7.2f} ms"
        )
    for run in runs:
        print(f"{run['run']}: {run['turns']:.1f} turns, {100 * run['share']:.2f} % of {run['steps']} training steps")


if __name__ == "__main__":
    main()
