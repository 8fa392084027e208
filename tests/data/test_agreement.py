"""Templates, ground truths and graders agree: an answer in the form that was asked for is graded as it deserves.

With ``VERL_GPO_BENCHMARKS`` set to a folder of published files (gsm8k_train.jsonl, ..., bbh/*.json) all of them is
prepared and graded as well:

    VERL_GPO_BENCHMARKS=/data python -m pytest tests/data/test_agreement.py -k published -s
"""

import pytest

pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from tests.benchmarks import PUBLISHED, SAMPLES, perturbed  # noqa: E402
from verl_gpo.data.prepare import Request, prepare  # noqa: E402
from verl_gpo.data.registry import DATASETS, GRADER_OF  # noqa: E402
from verl_gpo.data.templates import TEMPLATES  # noqa: E402
from verl_gpo.graders import compute_score, pool  # noqa: E402
from verl_gpo.graders.score import GRADERS, grader_of  # noqa: E402

REASONING = "First I thought of (A) and of 12, which is no answer.\n"


@pytest.fixture(scope="module", autouse=True)
def _small_pool():
    before, pool._pool = pool._pool, pool.Pool(size=1)
    yield
    pool._pool.close()
    pool._pool = before


def prepared(name, path, out, split=(), **settings):
    prepare(Request(name, local_path=path, split=split, **settings), out, progress=False)
    return [row for file in sorted(out.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def score(row, template, answer):
    gold, source = row["reward_model"]["ground_truth"], row["data_source"]
    return compute_score(source, REASONING + TEMPLATES[template].response(answer), gold, row["extra_info"])


@pytest.mark.parametrize("name", DATASETS)
def test_samples_under_every_template(name, tmp_path):
    for row in prepared(name, SAMPLES, tmp_path / "out", allow_partial=True):
        gold = row["reward_model"]["ground_truth"]
        for template in TEMPLATES:
            if template == "choice" and DATASETS[name].grader != "choice":  # puts parentheses around letters
                continue
            if template == "boxed" and gold.count("{") != gold.count("}"):  # a box cannot hold half a pair of braces
                continue
            assert score(row, template, gold)["score"] == 1.0, (template, gold)
            wrong = score(row, template, perturbed(gold))
            assert (wrong["score"], wrong["acc"]) == (0.0, 0.0), (template, gold, perturbed(gold))


def test_every_source_has_a_grader():
    assert set(GRADER_OF.values()) | {"reasoning_gym"} == set(GRADERS)
    assert grader_of("reasoning_gym/anything") == "reasoning_gym"
    assert len(GRADER_OF) == sum(1 + len(entry.aliases) for entry in DATASETS.values())  # none stands for two


#: Wrong answers that are graded right, and why: none is known.
ACCEPTED_WRONG: dict[str, set[str]] = {}


@pytest.mark.skipif(PUBLISHED is None, reason="VERL_GPO_BENCHMARKS is not set")
@pytest.mark.parametrize("name", list(DATASETS))
def test_published(name, tmp_path):
    """Sizes are as published, every ground truth is right by its own grader, and wrong when changed."""
    entry = DATASETS[name]
    splits = tuple(
        split
        for split in entry.splits
        if (PUBLISHED / f"{name}_{split}.jsonl").is_file()
        or (len(entry.splits) == 1 and ((PUBLISHED / f"{name}.jsonl").is_file() or (PUBLISHED / name).is_dir()))
    )
    if not splits:
        pytest.skip(f"{PUBLISHED} has no {name}")
    rows = prepared(name, PUBLISHED, tmp_path / "out", splits)  # checks the number of rows
    rejected = [row["reward_model"]["ground_truth"] for row in rows if not right(row, entry.template)]
    wrong = [(gold, perturbed(gold)) for gold in (row["reward_model"]["ground_truth"] for row in rows)]
    accepted = [pair for row, pair in zip(rows, wrong, strict=True) if score(row, entry.template, pair[1])["score"]]
    print(f"\n{name} {'+'.join(splits)}: {len(rows)} rows, {len(rejected)} rejected, accepted wrong {accepted}")
    assert rejected == []
    assert {gold for gold, _ in accepted} == ACCEPTED_WRONG.get(name, set())


def right(row, template):
    return score(row, template, row["reward_model"]["ground_truth"])["score"] == 1.0
