"""Picture files to tensors."""
