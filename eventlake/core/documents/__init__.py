"""The documents of a lake: commits, manifests, provenance and their strict decoding."""
