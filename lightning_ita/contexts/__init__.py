"""Contexts: texts about the image of a tweet, read by engines, stored, and written to files."""
