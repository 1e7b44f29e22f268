"""A frozen base model with LoRA adapters: loading, forward passes, log-probs, critics."""
