"""ColBench: code for a person who alone knows what it must do."""
