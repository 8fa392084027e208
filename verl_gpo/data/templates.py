"""Prompt templates by name. A template says how the model is asked, and in which form it should answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Template:
    """How a question becomes a prompt.

    Attributes:
        text: the user message, in which ``{question}`` is replaced.
        form: the end of a response that follows the template, in which ``{answer}`` is replaced.
        help: one line for the documentation.
        system: the system message; "" for none.
    """

    text: str
    form: str
    help: str
    system: str = ""

    def messages(self, question: str) -> list[dict[str, str]]:
        """The prompt as verl's list of ``{"role", "content"}``."""
        # Not str.format: questions and templates are full of LaTeX braces.
        user = {"role": "user", "content": self.text.replace("{question}", question)}
        return [{"role": "system", "content": self.system}, user] if self.system else [user]

    def response(self, answer: str) -> str:
        """The end of a response that gives ``answer`` in the form that the template asks for."""
        return self.form.replace("{answer}", answer)


_BOXED, _LINE, _TAG = r"\boxed{{answer}}", "Answer: {answer}", "<answer>{answer}</answer>"

#: The instructions of `boxed`, `gsm8k` and `dapo` are exactly those of verl's and DAPO's data, since models and scores
#: are comparable only under the same prompt.
TEMPLATES: dict[str, Template] = {
    "plain": Template("{question}", "The answer is {answer}.", "The question alone; any answer form below is read."),
    "boxed": Template(
        "{question} Let's think step by step and output the final answer within \\boxed{}.",
        _BOXED,
        "Step by step, the answer in a box (verl's for MATH).",
    ),
    "gsm8k": Template(
        '{question} Let\'s think step by step and output the final answer after "####".',
        "#### {answer}",
        "Step by step, the answer after four hashes (verl's for GSM8K).",
    ),
    "dapo": Template(
        "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
        "$Answer (without quotes) where $Answer is the answer to the problem.\n\n{question}\n\n"
        'Remember to put your answer on its own line after "Answer:".',
        _LINE,
        "Step by step, the answer on a last line of its own (DAPO's).",
    ),
    "choice": Template(
        "{question}\n\nReason step by step, then write the letter of the one correct option on a last line: "
        '"Answer: (X)".',
        "Answer: ({answer})",
        "Step by step, then the letter of an option.",
    ),
    "line": Template(
        '{question}\n\nReason step by step, then write the answer alone on a last line: "Answer: ...". '
        "If there are options, it is the letter of one, in parentheses.",
        _LINE,
        "Step by step, then the answer as the question words it.",
    ),
    "tagged": Template(
        "{question}\n\nReason step by step, then write the final answer, and nothing else, between <answer> and "
        "</answer>.",
        _TAG,
        "The answer between tags, which may hold several lines.",
    ),
    "r1": Template(
        "{question}",
        "<think>...</think>\n" + _TAG,
        "Reasoning and answer in tags of their own (as DeepSeek-R1-Zero), asked for by a system message.",
        system="First reason about the question between <think> and </think>, then give the final answer, and nothing "
        "else, between <answer> and </answer>.",
    ),
}


def reference_table() -> str:
    """The templates as a Markdown table, for the documentation."""
    lines = ["| `--template` | a response ends in | |", "|---|---|---|"]
    for name, template in TEMPLATES.items():
        form = template.response("42").replace("\n", " ")
        lines.append(f"| `{name}` | `{form}` | {template.help} |")
    return "\n".join(lines)
