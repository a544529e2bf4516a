"""Entity-level scores."""
