"""Results read back, and what follows from them."""
