"""What a user declares: features, windows and conditions, as plain values."""
