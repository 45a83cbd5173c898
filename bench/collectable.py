"""`python -m bench.collectable MODULE …`: run MODULE unchanged, and collect garbage on SIGUSR1.

This separates memory in use from memory that waits for the garbage collector.
"""

import gc
import runpy
import signal
import sys

if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, lambda *_: gc.collect() and None)
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
