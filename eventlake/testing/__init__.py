"""Support for tests of a lake, or of a storage for lakes.

It is shipped, so that an adapter written elsewhere can be tested against the same contract.
``contract`` needs pytest. The library itself imports nothing from here.
"""
