"""The common protocol: how published papers, to which a score is compared, sample each benchmark."""

from __future__ import annotations

from ..data.registry import DATASETS, REASONING_GYM

#: Settings of DeepSeek-R1 (arXiv 2501.12948, section 3), which published scores of reasoning models use.
TEMPERATURE, TOP_P, MAX_TOKENS = 0.6, 0.95, 32_768

#: Samples of each problem: benchmarks with fewer problems get more samples, so that their noise is small beside that
#: of problems. avg@32 on AIME is DAPO's (arXiv 2503.14476).
SAMPLES: dict[str, int] = {
    "aime24": 32,
    "aime25": 32,
    "amc23": 32,
    "math500": 4,
    "minerva_math": 4,
    "gsm8k": 1,
    "math": 1,
    "bbh": 1,
    "mmlu": 1,
    "mmlu_stem": 1,
    "mmlu_pro": 1,
}
#: Samples for the user's own files and for reasoning-gym's tasks.
OTHER_SAMPLES = 4


def samples_of(benchmark: str) -> int:
    """Number of samples of each problem if the command line does not set it."""
    return SAMPLES.get(benchmark, OTHER_SAMPLES)


def reference_table() -> str:
    """The protocol as a Markdown table, for the documentation."""
    lines = ["| benchmark | problems | k | responses |", "|---|---:|---:|---:|"]
    for name, k in SAMPLES.items():
        problems = DATASETS[name].splits["test"][1]
        lines.append(f"| `{name}` | {problems:,} | {k} | {problems * k:,} |")
    lines.append(f"| `{REASONING_GYM}:TASK`, `NAME=PATH` | | {OTHER_SAMPLES} | |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference_table())
