"""Keys, and the files in which they are found."""
