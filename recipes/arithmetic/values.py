"""The state values of a model on the arithmetic task, computed from its probabilities instead of from samples.

In this task a chain that has gone wrong stays wrong, so ``V(s_k)`` is 0 after a wrong line. If all lines so far are
right, it is the probability that the model writes all remaining lines of the right response, which takes one forward
pass.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedTokenizerBase, Qwen2ForCausalLM

from recipes.arithmetic.model import encode_prompt
from recipes.arithmetic.task import Problem, step_correctness


@torch.no_grad()
def line_probabilities(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, problem: Problem) -> list[float]:
    """The probability of each line of the right response, given the right lines before it.

    The token that ends the response belongs to the answer line. The list has ``n_steps + 1`` entries.
    """
    prompt = encode_prompt(tokenizer, problem.prompt)
    lines = [f"{line}\n" for line in problem.right_lines[:-1]] + [problem.right_lines[-1]]
    pieces = [tokenizer(line, add_special_tokens=False)["input_ids"] for line in lines]
    pieces[-1] = [*pieces[-1], tokenizer.eos_token_id]
    ids = [*prompt, *(token for piece in pieces for token in piece)]
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    targets = torch.tensor(ids[len(prompt) :])
    log_probs = torch.log_softmax(logits.float(), dim=-1)[torch.arange(len(targets)), targets]
    return [float(part.sum().exp()) for part in log_probs.split([len(piece) for piece in pieces])]


def model_values(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, problem: Problem, response_text: str
) -> tuple[float, ...]:
    """``V(s_0) .. V(s_K)`` of a response of ``K`` lines, for the model at temperature 1."""
    probabilities = line_probabilities(model, tokenizer, problem)
    left = [1.0]
    for probability in reversed(probabilities):
        left.append(left[-1] * probability)
    left.reverse()  # left[k]: the probability that all lines from the k-th on are right
    values, on_track = [left[0]], True
    for k, right in enumerate(step_correctness(problem, response_text)):
        on_track = on_track and right
        values.append(left[min(k + 1, len(probabilities))] if on_track else 0.0)
    return tuple(values)
