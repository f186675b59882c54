"""The notebook interface: shows progress as a bar."""
