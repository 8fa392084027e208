"""Programs in new processes: what they answer, and what is said of those that fail."""

import pytest

from verl_gpo.doctor.process import ProgramFailed, ask


def test_a_program_answers_by_its_last_line():
    assert ask("print('noise'); print('{\"a\": [1]}')") == {"a": [1]}


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise ValueError('no good')", "ValueError: no good"),
        ("import sys; sys.exit(3)", "ended with status 3"),
        ("print('words')", "said 'words'"),
    ],
)
def test_a_program_that_fails_says_so_in_one_line(program, said):
    with pytest.raises(ProgramFailed) as failed:
        ask(program)
    assert str(failed.value) == said


def test_a_program_that_hangs_is_left():
    with pytest.raises(ProgramFailed, match="no answer within 1 s"):
        ask("import time; time.sleep(60)", timeout=1)
