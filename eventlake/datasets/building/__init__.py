"""From a projection and a pinned history to a published dataset."""
