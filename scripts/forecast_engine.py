"""A small model sampled by transformers, many requests at a time: for forecasts where there is no room for vLLM.

It has what a forecast uses of :class:`verl_gpo.inference.engine.VLLMEngine`. A model of 0.1 M parameters answers as
fast as under vLLM, without its start and its memory. Requests that come within a moment are one batch.
"""

from __future__ import annotations

import asyncio

import torch

from verl_gpo.core.stall import EngineClock
from verl_gpo.core.types import Continuation

#: Seconds in which further requests join a batch.
_MOMENT = 0.005


class BatchedEngine:
    """Answers requests in batches.

    Args:
        folder: Hugging Face folder.
        max_model_len: most tokens of prompt and response.
        temperature: of the sampling.
        seed: of all requests together; a request's own seed is not used.
        at_once: most requests of a batch.
    """

    def __init__(self, folder: str, max_model_len: int, temperature: float = 1.0, seed: int = 0, at_once: int = 256):
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.clock, self.max_model_len = EngineClock(), max_model_len
        self._temperature, self._at_once = temperature, at_once
        self._random = torch.Generator().manual_seed(seed)
        self._waiting: list[tuple[list[int], int, asyncio.Future[Continuation]]] = []
        self._load(folder)

    def _load(self, folder: str) -> None:
        from transformers import AutoModelForCausalLM

        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def decode(self, token_ids: list[int]) -> str:
        """Text of token ids, special tokens included."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    async def generate(self, context: list[int], max_tokens: int, seed: int | None = None) -> Continuation:
        """Continue a list of token ids."""
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._waiting.append((context, min(max_tokens, self.max_model_len - len(context)), answer))
        if len(self._waiting) == 1:
            loop.call_later(_MOMENT, self._work)
        return await answer

    def _work(self) -> None:
        part, self._waiting = self._waiting[: self._at_once], self._waiting[self._at_once :]
        written = self._write([context for context, _, _ in part], [most for _, most, _ in part])
        for (context, _, answer), (token_ids, log_probs) in zip(part, written, strict=True):
            if not answer.done():  # given up meanwhile
                answer.set_result(Continuation(token_ids, log_probs, len(context), 0, "stop", 0.0))
        if self._waiting:
            asyncio.get_running_loop().call_later(_MOMENT, self._work)

    @torch.no_grad()
    def _write(self, contexts: list[list[int]], most: list[int]) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
        """Tokens and log-probs of each; contexts are padded on the left."""
        longest = max(map(len, contexts))
        ids_BT = torch.tensor([[0] * (longest - len(ids)) + ids for ids in contexts])
        attend_BT = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in contexts])
        positions_BT = (attend_BT.cumsum(-1) - 1).clamp(min=0)
        most_B = torch.tensor(most)
        running_B, cache, tokens, log_probs = torch.ones(len(contexts), dtype=torch.bool), None, [], []
        lengths_B = torch.zeros(len(contexts), dtype=torch.long)
        while running_B.any():
            out = self._model(
                input_ids=ids_BT,
                attention_mask=attend_BT,
                position_ids=positions_BT,
                past_key_values=cache,
                use_cache=True,
            )
            cache = out.past_key_values
            log_prob_BV = torch.log_softmax(out.logits[:, -1].float() / self._temperature, -1)
            ids_BT = torch.multinomial(log_prob_BV.exp(), 1, generator=self._random)
            tokens.append(ids_BT[:, 0])
            log_probs.append(log_prob_BV.gather(1, ids_BT)[:, 0])
            lengths_B += running_B
            running_B &= (ids_BT[:, 0] != self.tokenizer.eos_token_id) & (lengths_B < most_B)
            attend_BT = torch.cat([attend_BT, torch.ones_like(attend_BT[:, :1])], -1)
            positions_BT = positions_BT[:, -1:] + 1
        tokens_BT, log_probs_BT = torch.stack(tokens, 1).tolist(), torch.stack(log_probs, 1).tolist()
        lengths = lengths_B.tolist()
        return [(tuple(t[:n]), tuple(p[:n])) for t, p, n in zip(tokens_BT, log_probs_BT, lengths, strict=True)]

    async def load_weights(self, folder: str) -> None:
        """Go on with the weights of another folder."""
        self._load(folder)

    def shutdown(self) -> None:
        """Nothing runs beside this process."""
