"""Being here puts this folder on the path of every test: `from fakes import FakeBench`."""

import signal

# a shell that starts the suite in the background has it, and every process that it starts, ignore Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)
