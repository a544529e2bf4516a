"""Search for hyper-parameters: with Optuna on this machine or a database, and as sweeps of Weights & Biases."""
