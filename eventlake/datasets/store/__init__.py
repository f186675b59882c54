"""Built datasets as they are stored: their files, tags, retention and removal."""
