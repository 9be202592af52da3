"""Foreign pickles, read without running them: what ``torch.save`` and ``pickle.dump`` wrote, at any
age.

A pickle is a program for a machine with a stack. This is that machine without its dangerous half:
it knows the operations that binary protocols write, builds lists, dicts, strings, numbers and
tensors, and imports nothing. A class becomes a :class:`Record` that holds attributes and does
nothing; a function is called only if it is one of the few below that make tensors and dicts, and
then it is ours. Everything a file claims is compared with the file itself before memory is asked
for:

- operations, items that calls copy: ``OPERATIONS``, and one more for every 8 bytes of the file;
- storages: as long as their entry of the archive, all together no longer than the file, never
  packed;
- tensors: inside their storage; all together ``TENSORS`` times the file and ``SPARE``, however
  their strides repeat;
- keys of dicts: those whose hashes a file cannot choose, and at most ``ODD_KEYS`` others, which do
  not nest.

What comes back may be nested as deep as the file likes and may hold itself: walk it without
recursion.
"""

from partreid.utils.pickles.archives import LEGACY, PICKLE, ZIP, Damaged, Foreign, Refused, load
from partreid.utils.pickles.machine import Record

__all__ = ["LEGACY", "PICKLE", "ZIP", "Damaged", "Foreign", "Record", "Refused", "load"]
