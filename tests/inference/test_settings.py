"""``KEY=VALUE`` arguments: values as YAML, patterns as text."""

import pytest

from verl_gpo.config import GPOConfig
from verl_gpo.core.segment.steps import build_splitter
from verl_gpo.inference.settings import read_settings, read_template

PATTERNS = [
    r"\n\n|(?<=\.)\s",
    r"[.!?]\s",
    r"[abc]",
    r"\d: ",
    r"a: b",
    r"{2}",
    r"x #y",
    r"*+",
    r"!x",
    r"&a",
    r"# ",
    r"%",
    r"`",
    r"@",
    r"- a",
    r"| a",
    r"> a",
    r'"a',
    r"'a",
    r"? ",
    r"\1",
    "a\nb",
    "3",
    "0x10",
    "true",
    "1e3",
    "2024-99-99",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_text_whatever_yaml_makes_of_it(pattern):
    assert read_settings([f"splitter_option={pattern}"]) == {"splitter_option": pattern}
    assert read_settings([f"algorithm.gpo.splitter_option={pattern}"]) == {"splitter_option": pattern}


def test_a_pattern_splits_as_it_is_written():
    config = GPOConfig.from_mapping(
        read_settings(["splitter=regex", r"splitter_option=\n\n|(?<=\.)\s", "min_step_tokens=1"])
    )
    text = "One. Two.\n\nThree"
    decode = lambda ids: "".join(text[i] for i in ids)  # noqa: E731
    ends = build_splitter(config.splitter, config.splitter_option, decode)(range(len(text)))
    assert [text[a:b] for a, b in zip([0, *ends], ends, strict=False)] == ["One. ", "Two.\n\n", "Three"]


def test_a_pair_of_quotes_is_taken_off_and_nothing_is_nothing():
    assert read_settings(['splitter_option="\\n\\n"']) == {"splitter_option": r"\n\n"}
    assert read_settings(["splitter_option='[a]'"]) == {"splitter_option": "[a]"}
    assert read_settings(["splitter_option=", "splitter_option=null"]) == {"splitter_option": None}


@pytest.mark.parametrize("value", ["[", "a: b: c", "{", "*x", "2024-99-99"])
def test_a_value_that_yaml_cannot_read_is_text(value):
    assert read_settings([f"trace_dir={value}"]) == {"trace_dir": value}


def test_other_values_are_yaml():
    settings = read_settings(["n_mc=4", "min_advantage=0.5", "enable=false", "max_steps=null", "x=[1, 2]"])
    assert settings == {"n_mc": 4, "min_advantage": 0.5, "enable": False, "max_steps": None, "x": [1, 2]}


def test_arguments_of_the_chat_template():
    assert read_template(["enable_thinking=false", "date=today"]) == {"enable_thinking": False, "date": "today"}
    for key in ("tokenize", "add_generation_prompt", "return_dict", "return_tensors"):
        with pytest.raises(ValueError, match=f"--apply-chat-template-kwargs {key}: must be an argument of"):
            read_template([f"{key}=true"])
    with pytest.raises(ValueError, match="--apply-chat-template-kwargs 'x': must be KEY=VALUE"):
        read_template(["x"])
