"""Questions about one dataset: explanations, leaks, splits and predictions."""
