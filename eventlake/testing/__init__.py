"""What a test of a lake, or of a storage for one, can build on.

Shipped, so that an adapter written elsewhere is held to the same contract. ``contract`` needs
pytest. Nothing of the library imports it.
"""
