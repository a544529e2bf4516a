"""Speed against peers, each with its method: ``python -m benchmarks.<name>``."""
