"""Posts in files: reading them in any usual format, tagging them as a stream, writing what was found."""
