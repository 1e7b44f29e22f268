"""What is known of English: which of the things that a text names it takes as its answer, and numbers in words."""
