"""A process that appends batch after batch and says on stdout what was acknowledged; run by the tests, which kill it.

Usage: appender.py LAKE NAME BATCHES EVENTS. One line per receipt: ``start stop first-id``.
"""

import sys

import eventlake as el


def main(uri, name, batches, rows):
    """Appends ``batches`` batches of ``rows`` events, named after ``name`` and their numbers."""
    lake = el.open(uri)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for number in range(batches):
        ids = [f"{name}-{number}-{row}" for row in range(rows)]
        receipt = lake.append(
            [
                {"id": event_id, "source": name, "type": "t", "data": {"n": number}}
                for event_id in ids
            ]
        )
        sys.stdout.write(f"{receipt.start} {receipt.stop} {ids[0]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
