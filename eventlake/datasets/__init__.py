"""Datasets: built from projections, published atomically, found by hash, reproduced and compared.

Knows manifests, archives and locks; must not know how a projection runs. May import
``eventlake.projections`` and everything it may.
"""
