"""Image-Text Alignments (ITA) for multimodal named entity recognition, and the means to ablate them.

The way from a tweet and its image to a table: ``contexts`` (image to text), ``data`` (tweets to two-view batches),
``models`` (encoder, emissions), ``crf`` (the distribution over tag sequences), ``metrics`` (entity F1). Studies of
many runs live in the package ``experiments`` beside this one.
"""

__version__ = "0.1.0"
