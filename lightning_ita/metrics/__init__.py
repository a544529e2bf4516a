"""Entity-level precision, recall and F1."""

from lightning_ita.metrics.entity_f1 import EntityF1, entity_counts, find_mentions, sentence_counts

__all__ = ["EntityF1", "entity_counts", "find_mentions", "sentence_counts"]
