"""Workers of a loader live as long as the process that they load for, whatever is signalled."""

import os
import signal
import threading


def outlive_signals(worker: int) -> None:
    """Leave what a scheduler or Ctrl-C sends to the whole process group to the training process.

    It finishes its step and saves; without its workers it cannot. A SIGTERM of the training process
    itself still ends a worker, as torch has it.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
