"""Tweets on disk to two-view batches."""
