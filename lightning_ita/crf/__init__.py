"""The linear-chain CRF as a distribution over tag sequences."""
