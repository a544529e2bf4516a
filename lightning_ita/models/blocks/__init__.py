"""Parts that several systems are built of, one idea per file."""
