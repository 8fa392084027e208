"""Make the walk ready to train on: problems in verl's parquet schema and a model supervised from scratch.

    python -m recipes.agents.prepare --out ~/data/agents

writes ``train.parquet``, ``test.parquet``, ``model/`` (a Hugging Face folder) and ``card.json`` (what was made and
how well it does). The same call again finds them and returns at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from recipes.agents.task import AgentSpec, Problem, generate_problems, tools_kwargs
from recipes.prepared import check_sizes, command_line, common_options, find, save, told
from verl_gpo.data.write import new_folder

DATA_SOURCE = "verl_gpo/agents"
#: The agent loop that verl runs for a row.
AGENT = "gpo_tool_agent"
SUPERVISED_PROBLEMS = 6000
MEASURED_RESPONSES = 512
# Part of the cache key: raise it when the problems, the model or the supervision change.
FORMAT_VERSION = 1
#: A chance success above this is no task for reinforcement learning.
MOST_CHANCE = 0.01


def row(problem: Problem, split: str, index: int, agent: str) -> dict[str, Any]:
    """One problem in verl's schema; ``extra_info`` also tells which turns are critical."""
    return {
        "data_source": DATA_SOURCE,
        "agent_name": agent,
        "prompt": [{"role": "user", "content": problem.prompt}],
        "ability": "agent",
        "reward_model": {"style": "rule", "ground_truth": problem.answer},
        "extra_info": {
            "split": split,
            "index": index,
            "hard_steps": list(problem.hard_turns),
            "need_tools_kwargs": True,
            "tools_kwargs": tools_kwargs(problem),
        },
    }


def write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.int64()
    created = pa.struct([("create_kwargs", pa.struct([("building", number), ("signs", text)]))])
    extra = [("split", text), ("index", number), ("hard_steps", pa.list_(number)), ("need_tools_kwargs", pa.bool_())]
    schema = pa.schema(
        [
            ("data_source", text),
            ("agent_name", text),
            ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            # Named types: inferred ones would be null for a walk without hard moves.
            ("extra_info", pa.struct([*extra, ("tools_kwargs", pa.struct([("walk", created)]))])),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def prepare(
    out: Path,
    spec: AgentSpec,
    *,
    train: int = 2048,
    test: int = 256,
    seed: int = 0,
    target: tuple[float, float] = (0.2, 0.6),
    steps: int | None = None,
    agent: str = AGENT,
    force: bool = False,
    progress: bool = True,
) -> tuple[dict, bool]:
    """Write the folder, or find it written.

    Args:
        train, test: number of problems for training and of held-out problems.
        target: lowest and highest sampled accuracy (temperature 1) that is accepted.
        steps: optimizer steps of a round of the supervision, None for the default.
        agent: the agent loop, as verl's registry names it.
        force: make it anew, and replace a folder made with other settings.

    Returns:
        The card and whether it came from the cache.

    Raises:
        ValueError: for a setting out of its range, a target that the spec's root success cannot meet, or a walk that
            chance solves too often.
        FileExistsError: if ``out`` holds anything else than the result of the same request.
        TargetMissed: if the accuracy is outside the target when the budget is spent. Nothing is written then.
    """
    check_sizes(train, test, target)
    low, high = target
    if not low <= spec.root_success <= high:
        raise ValueError(
            f"target={target} is not allowed: slip={spec.slip} and n_hard={spec.n_hard} give a root success of "
            f"{spec.root_success:.3f}, which must lie in the target"
        )
    if spec.chance > MOST_CHANCE:
        raise ValueError(
            f"n_moves={spec.n_moves} is not allowed with n_free={spec.n_free}: doors taken at random are right with "
            f"probability {spec.chance:.3f}, which must be at most {MOST_CHANCE}"
        )
    request = {"format": FORMAT_VERSION, "spec": spec.to_dict(), "train": train, "eval": test, "seed": seed}
    request |= {"target": [low, high], "steps": steps, "agent": agent}
    card = find(out, request, force)
    if card is not None:
        return card, True
    with new_folder(out) as work:
        card = _make(work, spec, request, progress)
    return card, False


def _make(folder: Path, spec: AgentSpec, request: dict, progress: bool) -> dict:
    # Imported here: a cache hit and --help need neither torch nor transformers, which take seconds to load.
    from recipes.agents import warmstart
    from recipes.supervision import train_and_measure

    seed, agent = request["seed"], request["agent"]
    settings = warmstart.settings(request["steps"])
    supervised = generate_problems(spec, max(SUPERVISED_PROBLEMS, request["train"]), seed)
    held_out = generate_problems(spec, request["eval"], seed, "eval")
    for split, problems in (("train", supervised[: request["train"]]), ("test", held_out)):
        write_parquet([row(one, split, i, agent) for i, one in enumerate(problems)], folder / f"{split}.parquet")

    model, tokenizer, train = warmstart.supervise(supervised, spec.slip, settings, seed, progress)
    measured = train_and_measure(
        train,
        lambda **how: warmstart.measure(model, tokenizer, held_out, seed=seed, **how),
        request["target"],
        settings,
        -(-MEASURED_RESPONSES // len(held_out)),
        f"Root success of the data {spec.root_success:.3f}. More --steps help if easy turns are below 0.99, else "
        "change --slip or --n-hard.",
    )
    measured |= {"root_success": spec.root_success, "chance": spec.chance}
    return save(folder, model, tokenizer, request, measured)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    default = AgentSpec()
    parser = command_line(__doc__.partition("\n")[0], train=2048, test=256, target=(0.2, 0.6))
    parser.add_argument("--n-moves", type=int, default=default.n_moves, help="doors to go through")
    parser.add_argument("--n-hard", type=int, default=default.n_hard, help="how many of the moves are hard")
    parser.add_argument("--n-free", type=int, default=default.n_free, help="how many are free: any door is right")
    parser.add_argument("--slip", type=float, default=default.slip, help="how often the data get a hard move wrong")
    parser.add_argument("--n-signs", type=int, default=default.n_signs, help="different signs of hard moves")
    parser.add_argument("--agent", default=AGENT, help="agent loop of the rows")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)

    def make() -> tuple[dict, bool]:
        spec = AgentSpec(args.n_moves, args.n_hard, args.n_free, args.slip, args.n_signs)
        return prepare(
            args.out.expanduser().resolve(),
            spec,
            agent=args.agent,
            **common_options(args),
        )

    return told(args.out, make)


if __name__ == "__main__":
    sys.exit(main())
