#!/bin/sh
# A whole command: measured as it stands and with other thread counts; then run with what was found.
set -eu
cd "$(dirname "$0")"
budget=${1:-5m}

autotune tune --budget "$budget" -- python simulate.py --steps 40
autotune tune --budget "$budget" --metric 'rate: ([0-9.]+)' --maximize --name simulate-rate -- python simulate.py
autotune run -- python simulate.py --steps 40               # with the counts that this machine's profile has
autotune run --per-call -- python simulate.py --steps 40    # or call by call, in a program that stays as it is
