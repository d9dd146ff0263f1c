"""A stand-in for ai-toolkit."""
