"""What is put on a backbone: targets, their losses and probabilities, and the layers that learn them."""
