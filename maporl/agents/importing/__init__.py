"""Models from elsewhere: GGUF files, hub ids and registry wheels, read as they are or written as plain folders."""
