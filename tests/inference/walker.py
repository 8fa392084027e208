"""An engine that plays the walk of ``recipes/agents`` turn by turn, with that recipe's tokenizer and chat template."""

import random
import re

from recipes.agents.chat import agent_tokenizer
from recipes.agents.task import HARD_SIGNS, Room
from verl_gpo.core.stall import EngineClock
from verl_gpo.core.types import Continuation

TOKENIZER = agent_tokenizer()
ROOM = re.compile(r"(\d{3})([^\d\s])([a-d=])")
SUM = re.compile(r"<tool_response>(\d+)</tool_response>\n$")


class Walker:
    """Right in every move but the hard ones, which it gets wrong with probability ``slip``.

    Attributes:
        asked: the text of each request's context.
    """

    def __init__(self, slip=0.5, seed=0):
        self.tokenizer, self.clock, self.max_model_len = TOKENIZER, EngineClock(), 4096
        self.slip, self._random, self.asked = slip, random.Random(seed), []

    def decode(self, token_ids):
        return self.tokenizer.decode(token_ids)

    def turn(self, text):
        """The whole turn that follows on a text that ends between turns."""
        rooms = [Room(int(number), sign, letter) for number, sign, letter in ROOM.findall(text)]
        if found := SUM.search(text):
            return f"The sum: {found[1]}<|im_end|>"
        if rooms[-1].sign == "=":
            name, arguments = "add", f'{{"a": {rooms[-1].number}, "b": {rooms[-2].number}}}'
        else:
            door = rooms[-1].right_door or self._random.choice("abcd")
            if rooms[-1].sign in HARD_SIGNS and self._random.random() < self.slip:
                door = rooms[-1].letter
            name, arguments = "walk", f'{{"door": "{door}"}}'
        return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call><|im_end|>'

    async def generate(self, context, max_tokens, seed=None):
        text = self.decode(list(context))
        self.asked.append(text)
        # A turn that has begun goes on as it began.
        between = max(text.rfind("</tool_response>\n"), text.rfind("<|im_end|>\n"))
        start = text.index("\n", between) + 1
        begun, whole = text[start:], self.turn(text[:start])
        while not whole.startswith(begun):
            whole = self.turn(text[:start])
        written = self.tokenizer(whole[len(begun) :])["input_ids"][:max_tokens]
        ended = written[-1] == self.tokenizer.eos_token_id
        return Continuation(tuple(written), (-0.5,) * len(written), len(context), 0, "stop" if ended else "length", 0.5)

    def shutdown(self):
        pass
