"""No ground truth is matched by an answer that is nearly it.

    VERL_GPO_BENCHMARKS=/data python -m pytest tests/graders/test_mutations.py -s

takes all published answers; a plain run those of the committed samples.
"""

from collections import Counter

import pytest

pytest.importorskip("pyarrow")

from tests.benchmarks import PUBLISHED, SAMPLES, rows  # noqa: E402
from tests.graders.mutations import MUTATIONS  # noqa: E402
from verl_gpo.data import load  # noqa: E402
from verl_gpo.data.registry import DATASETS  # noqa: E402
from verl_gpo.graders import compute_score  # noqa: E402
from verl_gpo.graders.gold import alternatives  # noqa: E402

MATHEMATICAL = [name for name, entry in DATASETS.items() if entry.grader == "math"]

#: Ground truth and accepted answer, and why it is accepted.
ACCEPTED = {('["-3", "3"]', "3"): "the published solution says that 3 is accepted as well (MATH, test row 333)"}


def golds(name, folder):
    """The different ground truths of all splits that the folder has."""
    entry, found = DATASETS[name], {}
    for split in entry.splits:
        try:
            examples = [entry.read(row) for row in rows(entry, split, folder)]
        except load.LoadError:
            continue
        found |= dict.fromkeys(example.answer for example in examples if example)
    return list(found)


def accepted(source, answers):
    """Mutated answers that are graded right, and how many of each mutation were tried."""
    wrong, tried = set(), Counter()
    for gold in answers:
        for mutation in MUTATIONS:
            answer = mutation(alternatives(gold)[0])
            if answer is None or answer == gold:
                continue
            tried[mutation.__name__] += 1
            if compute_score(source, rf"\boxed{{{answer}}}", gold)["acc"]:
                wrong.add((gold, answer))
    return wrong, tried


@pytest.mark.parametrize("name", MATHEMATICAL)
def test_samples(name):
    wrong, tried = accepted(DATASETS[name].source, golds(name, SAMPLES))
    assert tried.total() and wrong <= set(ACCEPTED)


def test_each_mutation_has_something_to_change():
    answers = [
        *("12", "123456", r"\frac{1}{2}", "x+3", "6xy", r"25\text{ cm}", "(1,2)", "1,2", r"\text{even}", r"3\sqrt{2}"),
    ]
    for mutation in MUTATIONS:
        assert any(mutation(answer) not in (None, answer) for answer in answers), mutation.__name__


@pytest.mark.skipif(PUBLISHED is None, reason="VERL_GPO_BENCHMARKS is not set")
@pytest.mark.parametrize("name", MATHEMATICAL)
def test_published(name):
    answers = golds(name, PUBLISHED)
    if not answers:
        pytest.skip(f"{PUBLISHED} has no {name}")
    wrong, tried = accepted(DATASETS[name].source, answers)
    print(f"\n{name}: {len(answers)} ground truths, {tried.total()} changed answers {dict(tried)}, accepted {wrong}")
    assert wrong <= set(ACCEPTED)
