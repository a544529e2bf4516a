"""Encoders and models."""
