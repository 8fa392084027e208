"""An engine that adds, sometimes wrongly: run as a file it is the command line with that engine."""

import os
import random
import re
import sys

from verl_gpo.core.types import Continuation, SamplingError


class FakeTokenizer:
    """One token a character."""

    def apply_chat_template(self, messages, add_generation_prompt, tokenize, **template):
        written = "".join(f"[{key}={value}]" for key, value in template.items())
        return [ord(character) for character in messages[-1]["content"] + written]

    def decode(self, token_ids, skip_special_tokens):
        return "".join(map(chr, token_ids))


class FakeEngine:
    """Right three times out of four; ``fail_after`` requests raise, ``die_after`` end the process."""

    made = []

    def __init__(self, seed, fail_after=None, die_after=None, max_model_len=1000):
        self.max_model_len = max_model_len
        self.tokenizer, self.seed = FakeTokenizer(), seed
        self.requests, self.stopped = [], False
        self._random, self._fail_after, self._die_after = random.Random(seed), fail_after, die_after
        FakeEngine.made.append(self)

    async def generate(self, context, max_tokens, seed=None):
        self.requests.append(tuple(context))
        if len(context) >= self.max_model_len:
            raise SamplingError("the prompt is longer than the maximum model length")
        if self._fail_after is not None and len(self.requests) > self._fail_after:
            raise SamplingError("no more")
        if self._die_after is not None and len(self.requests) > self._die_after:
            os._exit(9)
        a, b = map(int, re.findall(r"\d+", self.tokenizer.decode(context, True))[:2])
        answer = a + b + (self._random.random() > 0.75)
        text = f"#### {answer}"[:max_tokens]
        return Continuation(tuple(map(ord, text)), None, len(context), None, "stop" if max_tokens > 20 else "length")

    def shutdown(self):
        self.stopped = True


if __name__ == "__main__":
    from verl_gpo.evaluation import __main__ as command
    from verl_gpo.evaluation import generate

    dying = os.environ.get("FAKE_DIES") if any(part.startswith("1/") for part in sys.argv) else None
    generate.build_engine = lambda settings, seed: FakeEngine(seed, die_after=int(dying) if dying else None)
    sys.exit(command.main(sys.argv[1:]))
