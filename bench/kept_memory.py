"""Keeps a virtual machine's free memory from going back to its host while something is measured.

With free page reporting, a page that was free for some seconds has to be given to the machine again
by its host at the next first write: 1.5 to 3 CPU-seconds for each GiB that any program writes,
beside 0.4 for a page that is there. That is a property of the machine's host and of none of the
systems that are compared.
"""

import contextlib
import pathlib
import tempfile

ORDER = pathlib.Path("/sys/module/page_reporting/parameters/page_reporting_order")
NEVER = "11"  # larger than any block of free pages


@contextlib.contextmanager
def kept_memory(base, size):
    """Within it, `size` bytes that were written to the tmpfs `base` and freed again stay with this
    machine. Gives a sentence about what was done; the setting is put back."""
    before = None
    try:
        before = ORDER.read_text().strip()
        ORDER.write_text(NEVER)
    except OSError:
        before = None  # no such machine, or not root
    try:
        if before is None:
            yield "memory is as the machine has it"
            return
        with tempfile.TemporaryFile(dir=base, buffering=0) as file:
            block = bytes(1 << 20)
            for _ in range(0, size, len(block)):
                file.write(block)
        yield (f"free page reporting was off (order {before} before), and {size >> 20} MiB were "
               "written once before")
    finally:
        if before is not None:
            ORDER.write_text(before)
