"""How a question is asked, and how a response that follows the template ends."""

import pytest

from verl_gpo.data.templates import TEMPLATES, Template, reference_table

LATEX = r"What is $\frac{1}{2}$ of {x}?"


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_the_question_stands_in_the_prompt_as_it_is(name):
    messages = TEMPLATES[name].messages(LATEX)
    assert messages[-1]["role"] == "user" and messages[-1]["content"].count(LATEX) == 1
    assert [message["role"] for message in messages[:-1]] == (["system"] if TEMPLATES[name].system else [])
    assert "{question}" not in messages[-1]["content"]


@pytest.mark.parametrize(
    ("name", "end"),
    [("boxed", r"\boxed{{1}}"), ("gsm8k", "#### {1}"), ("choice", "Answer: ({1})"), ("tagged", "<answer>{1}</answer>")],
)
def test_the_end_of_a_response(name, end):
    assert TEMPLATES[name].response("{1}") == end


def test_prompts_that_scores_are_compared_under_are_verls_to_the_letter():
    assert TEMPLATES["gsm8k"].messages("Q")[0]["content"] == (
        'Q Let\'s think step by step and output the final answer after "####".'
    )
    assert TEMPLATES["boxed"].messages("Q")[0]["content"] == (
        "Q Let's think step by step and output the final answer within \\boxed{}."
    )


def test_a_system_message_comes_first():
    assert Template("{question}", "{answer}", "", system="s").messages("q") == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "q"},
    ]


def test_the_table_has_a_line_for_each_template():
    lines = reference_table().splitlines()
    assert len(lines) == 2 + len(TEMPLATES) and all("\n" not in line for line in lines)
    assert any(line.startswith("| `boxed` | `\\boxed{42}` |") for line in lines)
