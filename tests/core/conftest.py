"""Real tokenizers of the three families, trained on the spot."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CORPUS = [
    "Let x = 2.\n\nThen y = x + 1, i.e. y is 3. It's done, isn't it?",
    "def f(x):\n    return x + 1\n",
    "The quick brown fox jumps over the lazy dog.",
    "你好，世界。今天天气很好！",
    "Привет, мир. Как дела?",
    "naïve café",
]
END = "<eos>"


def byte_level():
    """As GPT-2, Llama 3 and Qwen. Emoji and rare characters span several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[END],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def sentence_piece():
    """As Llama 2 and Mistral: ``▁`` for the space, bytes for characters it does not know."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    pieces = ["<unk>", END, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=360, special_tokens=pieces, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def word_piece():
    """As BERT: ``##`` continues a word, all else is put behind a space, and line breaks are lost."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=150, special_tokens=["[UNK]", END], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


class Codec:
    """A trained tokenizer, as the splitters see it, and the way back."""

    def __init__(self, tokenizer):
        self.size = tokenizer.get_vocab_size()
        self.encode = lambda text: tokenizer.encode(text).ids
        self.decode = lambda ids: tokenizer.decode(ids, skip_special_tokens=False)


@pytest.fixture(scope="session")
def codecs():
    return {make.__name__: Codec(make()) for make in (byte_level, sentence_piece, word_piece)}


@pytest.fixture(scope="session", params=["byte_level", "sentence_piece", "word_piece"])
def codec(request, codecs):
    return codecs[request.param]
