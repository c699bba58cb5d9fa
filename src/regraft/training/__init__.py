"""Frozen features, heads fitted on them, and fine-tuning of the last stages."""
