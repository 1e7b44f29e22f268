"""Chat templates that behave like those of well-known families, in short, and tokenizers that go with them."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing

from maporl.agents.chat import PLAIN_CHAT_TEMPLATE
from maporl.agents.models.make_model import make_tokenizer

PLAIN = PLAIN_CHAT_TEMPLATE
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
BEGINS = CHATML.replace("assistant\n' }}", "assistant\n<think>\n' }}")  # every answer begins by reasoning
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n'"
    " + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (  # refuses a system message, and wants user and assistant to alternate
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + m['content'] | trim"
    " + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PHI_3 = (  # drops a system message in silence
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '<|user|>\n' + m['content'] + '<|end|>\n<|assistant|>\n' }}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + '<|end|>\n' }}{% endif %}{% endfor %}"
)
MISTRAL = (  # text opens a turn; the system message moves along before the last question
    "{% if messages[0]['role'] == 'system' %}{% set told = messages[0]['content'] + '\n\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set told = '' %}{% set rest = messages %}{% endif %}{{ bos_token }}{% for m in rest %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + (told if loop.index0 >= loop.length - 2 else '')"
    " + m['content'] + '[/INST]' }}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
GLM = (  # opens turns, and closes none
    "{{ '<sop>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
QWEN_3 = (  # takes the reasoning out of all but the last answer, which gets an empty one where it has none; can be told not to think
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{% set said = m['content'].split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = m['content'].split('</think>')[0].split('<think>')[-1].strip('\n') if '</think>' in m['content'] else '' %}"
    "{{ '<|im_start|>assistant\n' }}{% if loop.last %}{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}{{ said }}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)

FAMILIES = {  # name -> template, the token that ends a turn, whether the tokenizer begins texts with BOS
    "plain": (PLAIN, "</s>", True),
    "chatml": (CHATML, "<|im_end|>", False),
    "llama_3": (LLAMA_3, "<|eot_id|>", True),
    "gemma": (GEMMA, "<end_of_turn>", True),
    "phi_3": (PHI_3, "<|end|>", True),
    "mistral": (MISTRAL, "</s>", True),
    "glm": (GLM, "<|user|>", False),
    "qwen_3": (QWEN_3, "<|im_end|>", False),
}


def family_tokenizer(template: str, *, adds_bos: bool = False) -> Any:
    """A small tokenizer with a template, BOS "<s>", EOS "</s>" whatever ends a turn, and as special what the template writes."""
    tokenizer = make_tokenizer(vocab_size=300)
    words = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    words += ["<start_of_turn>", "<end_of_turn>", "<sop>", "[INST]", "[/INST]"]
    tokenizer.add_tokens([AddedToken(word, special=True, normalized=False) for word in words])
    tokenizer.add_tokens([AddedToken(word, special=False, normalized=False) for word in ("<think>", "</think>")])
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.chat_template = "<s>", "</s>", template
    if adds_bos:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
        )
    return tokenizer
