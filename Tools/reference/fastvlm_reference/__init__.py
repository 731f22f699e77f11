"""The independent PyTorch truth that the Swift runtime is tested against."""
