"""Measures the cost of traces: seconds and bytes of a record, and their share of a training step.

    python -m scripts.bench_traces --out scripts/results/bench_traces.json

A record has 16 steps and 8 continuations at each of 8 states, and every text has 1,000 tokens. The tokenizer
(byte-level BPE) is trained on the text of this repository, and a Markov chain samples texts from it. A training step is
assumed to last as long as it takes to sample the continuations of its records, at a rate of tokens that the result
states, with one worker that traces all prompts. A real step also updates the weights, and has several workers, so the
share is an upper bound.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from verl_gpo.core.critical import CriticalStep
from verl_gpo.core.learn import ReentryGroup
from verl_gpo.core.result import GroupResult, Reentry
from verl_gpo.core.types import Continuation, ScoredContinuation, Trajectory
from verl_gpo.core.values import UNKNOWN, group_value, monte_carlo_value, observed_value
from verl_gpo.traces.reader import count_traces
from verl_gpo.traces.record import trace_record
from verl_gpo.traces.writer import LEVEL, TraceWriter, json_line

ROOT = Path(__file__).parents[1]
STEPS, STATES, CONTINUATIONS, TOKENS = 16, 8, 8, 1000
ROOTS = 8


class Language:
    """A tokenizer, and random texts of any length."""

    def __init__(self, seed: int = 0, vocabulary: int = 4000):
        files = sorted([*ROOT.glob("verl_gpo/**/*.py"), *ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
        corpus = [path.read_text(encoding="utf-8") for path in files]
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(corpus, trainer)
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        self._rng = random.Random(seed)
        self._next: dict[int, list[int]] = defaultdict(list)
        for text in corpus:
            ids = tokenizer.encode(text).ids
            for before, after in zip(ids, ids[1:], strict=False):
                self._next[before].append(after)
        self._starts = sorted(self._next)

    def text(self, length: int) -> tuple[int, ...]:
        """Token ids. Each is drawn from those that follow the one before it in the corpus."""
        ids = [self._rng.choice(self._starts)]
        while len(ids) < length:
            ids.append(self._rng.choice(self._next[ids[-1]] or self._starts))
        return tuple(ids)

    def decode(self, ids: list[int]) -> str:
        """The text of token ids."""
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def prompt(language: Language, rng: random.Random) -> tuple[list[Trajectory], GroupResult]:
    """The roots of one prompt, and the result that the procedure would return for them."""
    roots = [Trajectory(language.text(TOKENS), None, float(rng.random() < 0.5)) for _ in range(ROOTS)]
    ends = tuple(TOKENS * (k + 1) // STEPS for k in range(STEPS))
    values = [group_value([root.reward for root in roots]), *[UNKNOWN] * (STEPS - 1), observed_value(roots[0].reward)]
    for state in range(1, STEPS, STEPS // STATES):
        samples = [
            ScoredContinuation(
                Continuation(language.text(TOKENS), cached_tokens=ends[state]), float(rng.random() < 0.5)
            )
            for _ in range(CONTINUATIONS)
        ]
        values[state] = monte_carlo_value(samples)
    step = rng.randrange(0, STEPS - 1, STEPS // STATES) + 1
    group = ReentryGroup(step, roots[0].token_ids[: ends[step - 1]], values[step].samples, True)
    critical = CriticalStep(step, -0.5, rng.random())
    return roots, GroupResult([Reentry(0, ends, tuple(values), critical, (group,))])


def synthetic_records(count: int, seed: int = 0, language: Language | None = None) -> Iterator[dict]:
    """Records of this size, eight for each training step.

    Args:
        count: number of records.
        seed: of the texts.
        language: that they are made of; None for a new one.
    """
    language, rng = language or Language(seed), random.Random(seed)
    for number in range(count):
        roots, result = prompt(language, rng)
        text = language.decode(list(language.text(200)))
        about = {"uid": f"{number:08x}", "global_step": 1 + number // 8, "sample_index": number}
        yield trace_record(roots, result, language.decode, text, **about, rule="argmin", search="uniform")


def best(function: Callable[[], object], repeats: int = 5) -> float:
    """The smallest CPU seconds of several calls, since other work on the machine can only add to them."""
    seconds = []
    for _ in range(repeats):
        started = time.thread_time()
        function()
        seconds.append(time.thread_time() - started)
    return min(seconds)


def measure(records: int, tokens_per_second: float) -> dict:
    """The figures of the result file."""
    language, rng = Language(), random.Random(0)
    prompts = [prompt(language, rng) for _ in range(records)]
    text = language.decode(list(language.text(200)))

    def build(roots: list[Trajectory], result: GroupResult) -> dict:
        return trace_record(roots, result, language.decode, text, uid="0", global_step=1)

    record = build(*prompts[0])
    line = json_line(record)
    seconds = {
        "decode_and_build": best(lambda: build(*prompts[0])),
        "json": best(lambda: json_line(record)),
        "gzip": best(lambda: gzip.compress(line, LEVEL)),
    }
    calls = []
    with tempfile.TemporaryDirectory() as folder:
        writer = TraceWriter(folder, "bench")
        for roots, result in prompts:
            started = time.perf_counter()
            writer.write(lambda roots=roots, result=result: build(roots, result))
            calls.append(time.perf_counter() - started)
        writer.close(120)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        if count_traces(folder) != records or writer.dropped or writer.failed:
            raise SystemExit(f"{count_traces(folder)} of {records} records were written")
    sampled = STATES * CONTINUATIONS * TOKENS
    step = sampled / tokens_per_second
    thread = sum(seconds.values())
    return {
        "cores": os.cpu_count(),
        "record": {"steps": STEPS, "states": STATES, "continuations": CONTINUATIONS, "tokens_of_a_text": TOKENS},
        "bytes_raw": len(line),
        "bytes_a_record": round(size / records),
        "seconds_in_the_caller": sorted(calls)[len(calls) // 2],
        "seconds_in_the_thread": {**seconds, "all": thread},
        "step": {"tokens_per_second": tokens_per_second, "seconds_a_prompt": step},
        "share_of_a_step_in_the_caller": sorted(calls)[len(calls) // 2] / step,
        "share_of_a_step_if_nothing_overlapped": thread / step,
    }


def markdown(result: dict) -> str:
    """The result as the table of docs/report.md."""
    rows = {
        "bytes a record": f"{result['bytes_a_record']:,} ({result['bytes_raw']:,} before compression)",
        "in the rollout worker's event loop": f"{1e6 * result['seconds_in_the_caller']:.0f} µs",
        "in the thread": f"{1e3 * result['seconds_in_the_thread']['all']:.0f} ms",
        "a prompt's part of a training step": f"{result['step']['seconds_a_prompt']:.1f} s, at "
        f"{result['step']['tokens_per_second']:,.0f} tokens a second",
        "share of a step, event loop": f"{result['share_of_a_step_in_the_caller']:.5%}",
        "share of a step, thread, if nothing overlapped": f"{result['share_of_a_step_if_nothing_overlapped']:.2%}",
    }
    head = f"| {result['cores']} cores | |\n|---|---:|\n"
    return head + "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=30, help="records that are written (default: 30)")
    parser.add_argument("--tokens-per-second", type=float, default=20_000, help="of the rollout (default: 20,000)")
    parser.add_argument("--out", type=Path, help="write the raw result to this JSON file")
    arguments = parser.parse_args()
    result = measure(arguments.records, arguments.tokens_per_second)
    print(json.dumps(result, indent=1))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
