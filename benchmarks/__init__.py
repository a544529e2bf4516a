"""Benchmarks: speed and quality, compared with other libraries or plain loops: ``python -m benchmarks.<name>``."""
