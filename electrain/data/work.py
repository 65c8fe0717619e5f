"""What the parts of `prepare` leave for each other in OUT/.work.

- plan/00003.json: the pieces of task 3, which it reads
- progress/00003: bytes read, documents, tokens so far, written by the task now and then
- tasks/00003.json: what the task has found, written last; 00003.npy: how often each token occurs in its training part
- errors/00003: one line for the user and whether the work is kept, written when the task meets bad input; empty if the
  disk is full; the other tasks then end
- stop: there when the tasks that run are to end
- settings.json: what is being prepared
- log.txt: what datatrove says; its own state is in datatrove/
"""

import errno

from electrain.errors import UserError

WORK = ".work"
LOG = "log.txt"
STOP = "stop"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE)  # what else a disk says that takes nothing


class Resumable(UserError):
    """The work so far is kept: the same command goes on with it."""
