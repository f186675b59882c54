"""Datasets: built from a projection at a watermark, published atomically, found by hash, made again and compared.

Knows manifests, archives and locks; must not know how a projection runs. May import
``eventlake.projections`` and everything it may.
"""
