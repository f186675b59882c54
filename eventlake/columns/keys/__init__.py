"""Keys, and the files in which they are found."""

from eventlake.columns.keys.key_runs import KeyRun, merged
from eventlake.columns.keys.keys import event_keys, subject_keys, text_key

__all__ = ["KeyRun", "event_keys", "merged", "subject_keys", "text_key"]
