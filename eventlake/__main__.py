"""``python -m eventlake`` is the command ``eventlake``."""

from eventlake.cli import main

main()
