"""Reads posts from files in common formats, tags them as a stream, and writes their mentions."""
