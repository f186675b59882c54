"""Dataset definitions in files: ``dataset.toml`` and ``dataset.lock``."""
