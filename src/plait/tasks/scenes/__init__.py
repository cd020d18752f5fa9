"""Relations between the objects that a detector found in pictures."""
