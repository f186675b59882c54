"""Whether a query returns the same rows, to the last bit, on every build.

An allow-list over the bound, typed plan of DuckDB or Polars: what is not listed, or not understood,
is refused. Knows plans as plain values; imports no engine.
"""
