"""An engine that writes four lines, right or wrong ones: run as a file it is the command line with that engine."""

import os
import random
import sys

from verl_gpo.core.stall import EngineClock
from verl_gpo.core.types import Continuation, SamplingError

END = 3
LINES = 4
RIGHT, WRONG = "good\n", "fail\n"

#: A reward function file: right if no line is wrong.
REWARD = "def compute_score(solution_str, **row):\n    return float('fail' not in solution_str)\n"


class FakeTokenizer:
    """One token a character; token 3 ends a response."""

    bos_token = eos_token = bos_token_id = None
    eos_token_id = END

    def apply_chat_template(self, messages, add_generation_prompt, tokenize, **template):
        if "refuse me" in messages[0]["content"]:
            raise ValueError("no such\nrole")
        question = f"<{messages[0]['content']}{''.join(f' {key}={value}' for key, value in template.items())}>"
        text = question + "".join(f"{message['content']}{chr(END)}" for message in messages[1:])
        return [ord(character) for character in text] if tokenize else text

    def decode(self, token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False):
        return "".join(chr(token) for token in token_ids if not (skip_special_tokens and token == END))

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [ord(character) for character in text]}


class FakeEngine:
    """Each line is right three times out of four. ``fail_after`` requests raise, ``die_after`` end the process.

    Attributes:
        answers: of each request, its context and what was written.
    """

    made = []

    def __init__(self, seed, fail_after=None, die_after=None, max_model_len=1000):
        self.tokenizer, self.stopped, self.clock = FakeTokenizer(), False, EngineClock()
        self.max_model_len = max_model_len
        self.answers = []
        self._random, self._fail_after, self._die_after = random.Random(seed), fail_after, die_after
        FakeEngine.made.append(self)

    def decode(self, token_ids):
        return self.tokenizer.decode(token_ids)

    async def generate(self, context, max_tokens, seed=None):
        count = len(self.answers) + 1
        if len(context) >= self.max_model_len:
            raise SamplingError("the prompt is longer than the maximum model length")
        if self._fail_after is not None and count > self._fail_after:
            raise SamplingError("no more")
        if self._die_after is not None and count > self._die_after:
            os._exit(9)
        left = LINES - self.decode(context).count("\n")
        text = "".join(RIGHT if self._random.random() < 0.75 else WRONG for _ in range(left))
        written = [*map(ord, text), END][:max_tokens]
        self.answers.append((tuple(context), tuple(written)))
        return Continuation(
            tuple(written), (-0.5,) * len(written), len(context), None, "stop" if written[-1] == END else "length"
        )

    def shutdown(self):
        self.stopped = True


if __name__ == "__main__":
    from verl_gpo.offline import build

    dying = os.environ.get("FAKE_DIES") if any(part.startswith("1/") for part in sys.argv) else None
    build.build_engine = lambda settings, seed: FakeEngine(seed, die_after=int(dying) if dying else None)
    build.build_tokenizer = lambda settings: FakeTokenizer()
    sys.exit(build.main(sys.argv[1:]))
