"""Small tokenizers in the shape of four families: which tokens they add by themselves, and what their templates write.

The templates are written after the documented behaviour of the families' own.
"""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.core.conftest import CORPUS

#: Llama 3: a begin token, header lines, contents stripped; the tokenizer adds the begin token as well.
LLAMA3 = """\
{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>

{{ message['content'] | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant\
<|end_header_id|>

{% endif %}"""

#: Qwen2.5: ChatML, with a system message of its own where there is none; no begin token.
QWEN25 = """\
{% if messages[0]['role'] != 'system' %}<|im_start|>system
You are Qwen.<|im_end|>
{% endif %}{% for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

#: Qwen3: ChatML; the last answer has its thought, an empty one where it has none; enable_thinking=false asks with one.
QWEN3 = """\
{% for message in messages %}{% if message['role'] == 'assistant' %}<|im_start|>assistant
{% set thought = '' %}{% set said = message['content'] %}{% if '</think>' in message['content'] %}\
{% set thought = message['content'].split('</think>')[0].split('<think>')[-1].strip('\\n') %}\
{% set said = message['content'].split('</think>')[-1].lstrip('\\n') %}{% endif %}<think>
{{ thought }}
</think>

{{ said }}<|im_end|>
{% else %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif %}"""

#: R1-Distill: a begin token, which the tokenizer adds as well; asks for a thought, and leaves it out of answers.
R1_DISTILL = """\
{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}<User>{{ message['content'] }}\
{% elif message['role'] == 'assistant' %}<Assistant>{{ message['content'].split('</think>')[-1] }}{{ eos_token }}\
{% endif %}{% endfor %}{% if add_generation_prompt %}<Assistant><think>
{% endif %}"""

#: name -> the chat template, the begin token (None: there is none), the end token, and further special tokens.
SHAPES = {
    "llama3": (LLAMA3, "<|begin_of_text|>", "<|eot_id|>", ["<|start_header_id|>", "<|end_header_id|>"]),
    "qwen25": (QWEN25, None, "<|im_end|>", ["<|im_start|>"]),
    "qwen3": (QWEN3, None, "<|im_end|>", ["<|im_start|>"]),
    "r1_distill": (R1_DISTILL, "<begin>", "<end>", ["<User>", "<Assistant>"]),
}


def tokenizer_of(shape):
    """A tokenizer of transformers: byte-level BPE, trained on the spot."""
    template, begin, end, others = SHAPES[shape]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = [*([begin] if begin else []), end, *others]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, special_tokens=special, show_progress=False),
    )
    if begin:
        number = core.token_to_id(begin)
        core.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, number)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=begin,
        eos_token=end,
        pad_token=end,
        additional_special_tokens=others,
        chat_template=template,
    )
