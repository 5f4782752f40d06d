#!/bin/sh
# A whole command: measured as it stands and with other thread counts; then run with what was found.
#   whole_command.sh --budget 5m
set -eu
cd "$(dirname "$0")"

autotune tune "$@" -- python simulate.py --steps 40
autotune tune "$@" --metric 'rate: ([0-9.]+)' --maximize --name simulate_rate -- python simulate.py
autotune run -- python simulate.py --steps 40               # with the counts that this machine's profile has
autotune run --environment-only -- python simulate.py --steps 40    # or through environment variables alone
