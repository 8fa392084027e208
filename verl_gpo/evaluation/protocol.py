"""The protocol of the field: how the papers that a score is compared with sample each benchmark."""

from __future__ import annotations

from ..data.registry import DATASETS, REASONING_GYM

#: DeepSeek-R1 (arXiv 2501.12948, section 3) samples every benchmark so; published scores of reasoning models follow it.
TEMPERATURE, TOP_P, MAX_TOKENS = 0.6, 0.95, 32_768

#: Samples of each problem: the fewer problems, the more samples, so that chance in them stays small beside the choice
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
#: Of files of one's own, and of reasoning-gym's tasks.
OTHER_SAMPLES = 4


def samples_of(benchmark: str) -> int:
    """Samples of each problem where the command line does not say."""
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
