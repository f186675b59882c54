"""From declared features to the exact numbers that an engine must find."""
