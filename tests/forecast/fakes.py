"""An engine that samples from a Hugging Face model token by token, and prompts of a coin's outcome."""

import torch

from verl_gpo.core.stall import EngineClock
from verl_gpo.core.types import Continuation, SamplingError, ScoredContinuation
from verl_gpo.forecast.groups import Drawn, Row


class TorchEngine:
    """The part of ``VLLMEngine`` that a forecast uses."""

    def __init__(self, folder, max_model_len=256, seed=0, temperature=1.0, fail=False):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.max_model_len, self.temperature, self.fail = max_model_len, temperature, fail
        self.random = torch.Generator().manual_seed(seed)
        self.clock = EngineClock()
        self.loaded, self.requests, self.stopped = [], 0, False

    def decode(self, token_ids):
        return self.tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    async def generate(self, context, max_tokens, seed=None):
        self.requests += 1
        if self.fail:
            raise SamplingError("lost")
        return self._write(context, max_tokens)

    @torch.no_grad()
    def _write(self, context, max_tokens):
        ids, log_probs, cache = [], [], None
        new = torch.tensor([context])
        for _ in range(max_tokens):
            out = self.model(input_ids=new, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            log_prob = torch.log_softmax(out.logits[0, -1].float() / self.temperature, -1)
            token = int(torch.multinomial(log_prob.exp(), 1, generator=self.random))
            ids.append(token)
            log_probs.append(float(log_prob[token]))
            if token == self.tokenizer.eos_token_id:
                break
            new = torch.tensor([[token]])
        return Continuation(tuple(ids), tuple(log_probs), len(context), 0, "stop", 0.0)

    async def load_weights(self, folder):
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.loaded.append(folder)

    def shutdown(self):
        self.stopped = True


class Coins:
    """Sampler and scorer in one: responses of four tokens, rewards in the given order."""

    def __init__(self, rewards, fail=()):
        self.rewards, self.fail, self.asked = list(rewards), set(fail), []

    async def sample(self, prefix, max_tokens, seed, lane=0):
        self.asked.append((len(prefix), max_tokens, seed))
        if len(self.asked) in self.fail:
            raise SamplingError("lost")
        number = 4 - len(prefix)
        return Continuation((len(self.asked),) * number, (-1.0,) * number)

    async def score(self, prefix, continuation):
        return ScoredContinuation(continuation, self.rewards[(len(self.asked) - 1) % len(self.rewards)])


def drawn(method="grpo", batch=0, prompt=0, tokens=8, rows=(), **more):
    """A record; ``rows`` are ``(token ids, start, runs)``."""
    learnt = tuple(Row(tuple(ids), start, tuple(runs)) for ids, start, runs in rows)
    own = {"trained": 8, "rows": 2, "mixed": (True,), "rewards": (1.0, 0.0)} | more
    return Drawn(method, batch, prompt, tokens, learnt=learnt, **own)
