"""A small random-weight checkpoint with its own tokenizer and chat template (``maporl make-model DIR``).

No weights are downloaded: this is what the demo's warm start grows from, and what makes "any Hugging Face checkpoint
folder" testable on a machine without a network. The result is an ordinary folder: ``AutoModelForCausalLM`` and
``AutoTokenizer`` load it, and nothing in the library treats it specially.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maporl.errors import UserValueError

if (
    TYPE_CHECKING
):  # torch and transformers are imported where they are used, so that the flags of a command do not wait for them
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

__all__ = ["ARCHITECTURES", "CHAT_TEMPLATE", "make_model", "make_tokenizer", "without_progress_bars"]

# What a family calls a size differently from Llama, and what its defaults would get wrong at this scale.
ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": "hidden_size // num_heads"},
    "phi3": {},
    "smollm3": {},
    "olmo2": {},
    "gemma": {"head_dim": "hidden_size // num_heads"},
    "gemma2": {"head_dim": "hidden_size // num_heads", "query_pre_attn_scalar": "hidden_size // num_heads"},
    "gpt_neox": {},
    "gpt2": {"n_inner": "intermediate_size", "n_positions": "context"},
}

# The pad token has this name because transformers loads every qwen2 folder with a tokenizer class that insists on it.
END, PAD = "<|end|>", "<|endoftext|>"
ROLES = ("system", "user", "assistant")

# Prefix-stable: rendering a longer discussion only ever appends, so cached keys and values stay valid. Every message
# ends with the one end-of-turn token, which is EOS; a role is one token.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message['role'] + '; use system, user or assistant') }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

# What the default vocabulary is learned from: the words in which tasks ask and agents answer, and plain English.
DEFAULT_TEXTS: tuple[str, ...] = (
    "Only you know this: clear view of the vault: 7. Only you know this: foggy view of the safe: 3.",
    "The code of the locker, the chest, the door, the gate, the phone, the case. Digit 2 of the code is 4.",
    "These are the answers of the other agents:\n\nagent_0: Answer: 5\n\nagent_1: Answer: 12\n\nagent_2: Answer: 3",
    "Read them critically, check your own reasoning against theirs, and give your updated answer.",
    "Think step by step. Give the final answer after ####. Reply with Answer: and the number. Reply with the letter.",
    "What is 12 + 35? What is 90 - 17? How many apples are left? How much money does she have in total?",
    "Choices: A, B, C, D, E. The premise and the hypothesis: entailment, neutral, contradiction.",
    "He bought a few and gave half of them to his friends, so there were some more than before. If each of these "
    "costs one dollar and they work for an hour every day of the week, what would that be in a year?",
    "She sells twice as many as he does on Monday, and then a third of the rest on the other days of the month.",
    "There are three times more of the first than the second. How many of them will have been there after two hours?",
    "It takes 5 minutes to read each page, so how long would it take him to read the whole book at this rate?",
    "John has some money. Mary makes twice that amount per week. How much did they save together if they spent half?",
    "Find the value of the expression. Let x be the number of the things that are not in the set. Then we have that",
    "So the total is the sum of both, which means that the cost for all of it was $20 and the number left is 8.",
    "I think that the other agent is right, because my own answer did not count every one of them. I do not agree.",
)


def make_tokenizer(
    texts: Iterable[str] | None = None, *, vocab_size: int = 512, context: int = 2048
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with single digits and the chat template above.

    Byte level means that any unicode text can be encoded and comes back unchanged, whatever it was trained on.

    Args:
        texts: What the merges are learned from; words of the shipped tasks and plain English by default.
        vocab_size: At most this many entries: 5 special tokens, 256 bytes, and merges while there are any to learn.
        context: Longest sequence in tokens, recorded as ``model_max_length``.

    Raises:
        ValueError: `vocab_size` has no room for the bytes.
    """
    special = [PAD, END, *(f"<|{role}|>" for role in ROLES)]
    smallest = len(special) + 256
    if vocab_size < smallest:
        raise UserValueError(
            f"vocab_size {vocab_size} is too small: {smallest} are needed for the bytes and special tokens."
        )
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    # Digits split singly: a number's digits are then the same tokens wherever it stands, so copying one is learnable.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        list(DEFAULT_TEXTS if texts is None else texts),
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            min_frequency=2,
            show_progress=False,
        ),
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=special[2:],
        model_max_length=context,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def make_model(
    path: str | Path,
    *,
    architecture: str = "llama",
    hidden_size: int = 128,
    num_layers: int = 2,
    num_heads: int = 4,
    intermediate_size: int = 384,
    vocab_size: int = 512,
    context: int = 2048,
    seed: int = 0,
    texts: Iterable[str] | None = None,
) -> int:
    """Write a random-weight causal language model and its tokenizer to the folder `path`.

    Two calls with the same arguments write identical files. Input and output embeddings are tied, weights are float32,
    the global random state is left as it was. Matrices are drawn with standard deviation .04 and embeddings with .08, not
    with the usual .02, which suits widths of thousands: a model of width 128 learns to copy in half as many steps.

    Args:
        path: The folder to write; files of an older checkpoint in it are replaced.
        architecture: A key of :data:`ARCHITECTURES`.
        hidden_size: Width; a multiple of ``2 * num_heads`` (rotary embeddings turn pairs).
        num_layers: Transformer blocks.
        num_heads: Attention heads (as many key and value heads).
        intermediate_size: Width of the feed-forward layer.
        vocab_size: Upper bound of the vocabulary, see :func:`make_tokenizer`.
        context: The window in tokens.
        seed: Of the weights.
        texts: What the tokenizer is trained on.

    Returns:
        The number of parameters (tied weights counted once).

    Raises:
        ValueError: Unknown architecture, or sizes that do not fit together.
    """
    tokenizer = make_tokenizer(texts, vocab_size=vocab_size, context=context)
    config = _config(architecture, len(tokenizer), hidden_size, num_layers, num_heads, intermediate_size, context)
    config.bos_token_id = None  # a family's own ids lie outside this vocabulary
    config.eos_token_id = tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.get_input_embeddings().weight.data.mul_(2.0)
    with without_progress_bars():
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Loading or saving a small model takes milliseconds: no bar for it. The setting is restored."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _config(
    architecture: str,
    vocab_size: int,
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    intermediate_size: int,
    context: int,
) -> PreTrainedConfig:
    if architecture not in ARCHITECTURES:
        raise UserValueError(f"unknown architecture {architecture!r}; known: {', '.join(ARCHITECTURES)}.")
    if num_heads < 1 or hidden_size < 1 or hidden_size % (2 * num_heads):
        raise UserValueError(f"hidden_size {hidden_size} must be a multiple of 2 x num_heads = {2 * num_heads}.")
    if min(num_layers, intermediate_size, context) < 1:
        raise UserValueError(
            f"num_layers {num_layers}, intermediate_size {intermediate_size} and context {context} must be positive."
        )
    sizes = {
        "hidden_size // num_heads": hidden_size // num_heads,
        "intermediate_size": intermediate_size,
        "context": context,
    }
    extra = {key: sizes.get(str(value), value) for key, value in ARCHITECTURES[architecture].items()}
    from transformers import AutoConfig

    return AutoConfig.for_model(
        architecture,
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        intermediate_size=intermediate_size,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        initializer_range=0.04,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        **extra,
    )
