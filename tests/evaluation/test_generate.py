"""One engine's share of an evaluation: what it draws, what it loses, and what it takes for unanswered."""

import pytest

from tests.evaluation.fakes import FakeEngine
from verl_gpo.evaluation import generate
from verl_gpo.evaluation.generate import draw, share
from verl_gpo.evaluation.samples import REFUSED, Sample, Writer, file_of, read_samples
from verl_gpo.evaluation.settings import make_settings, parse_args


@pytest.fixture
def settings(model, sums, tmp_path):
    fixed = ["--model", model, "--benchmarks", f"sums={sums}", "--out", tmp_path / "run", "--k", 2, "--concurrency", 1]
    (tmp_path / "run").mkdir()
    return make_settings(parse_args(list(map(str, fixed))))


@pytest.fixture
def drawn(settings, monkeypatch):
    """``drawn(shard, shards, **engine)``: what went wrong, the samples, and the engine."""

    def run(shard=0, shards=1, **engine):
        made = []
        monkeypatch.setattr(
            generate, "build_engine", lambda _, seed: made.append(FakeEngine(seed, **engine)) or made[0]
        )
        ticks = []
        failures = draw(settings, shard, shards, lambda total: lambda: ticks.append(total))
        samples = read_samples(file_of(settings.out, "sums", (shard, shards)))
        return failures, samples, made, ticks

    return run


def test_an_engine_draws_its_share_and_is_stopped(drawn, settings):
    failures, samples, (engine,), ticks = drawn(1, 3)
    assert failures == [] and engine.stopped and ticks == [4] * 4  # six problems, twice, for three engines
    assert len({each.task for each in samples}) == len(samples) == 4 and share(settings, 1, 3) == []
    assert [len(share(settings, shard, 3)) for shard in (0, 2)] == [4, 4]  # the others have not drawn yet
    assert all(each.tokens == len(each.response) and each.finish == "stop" for each in samples)
    assert {each.accuracy for each in samples} <= {0.0, 1.0} and all(each.settings == settings.hash for each in samples)


def test_where_nothing_is_missing_no_engine_is_made(drawn, settings):
    drawn()
    failures, samples, made, _ = drawn()
    assert failures == [] and made == [] and len(samples) == 12


def test_what_the_engine_loses_is_named_and_missing(drawn):
    failures, samples, (engine,), ticks = drawn(fail_after=5)
    assert len(samples) == 5 and len(failures) == 7 and len(ticks) == 12 and engine.stopped
    assert all(line.startswith("sums, row ") and line.endswith(": no more") for line in failures)


def test_a_prompt_that_does_not_fit_is_unanswered_and_asks_nothing(drawn):
    failures, samples, (engine,), _ = drawn(max_model_len=1)
    assert failures == [] and engine.requests == [] and len(samples) == 12
    assert {(each.response, each.tokens, each.accuracy) for each in samples} == {("", 0, 0.0)}
    assert all(each.finish.startswith(REFUSED) and "the engine takes 1" in each.finish for each in samples)


def test_what_this_engine_has_drawn_before_is_not_its_share(settings):
    first = share(settings, 0, 2)[0]
    with Writer(settings.out, (0, 2)) as writer:
        writer.write(Sample(*first, "r", "1", 1.0, 1.0, 1, "stop", "p", settings.hash))
    assert first not in share(settings, 0, 2)
    assert len(share(settings, 0, 2)) == 5 and len(share(settings, 1, 2)) == 6
