"""What every grader returns."""

import pytest

from verl_gpo.graders.grade import Grade, verdict


@pytest.mark.parametrize(("right", "score"), [(True, 1.0), (False, 0.0)])
def test_a_verdict_is_all_or_nothing(right, score):
    graded = verdict(right, "7")
    assert graded == Grade(score, score, "7") and type(graded.score) is type(graded.acc) is float
