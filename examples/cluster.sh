#!/bin/sh
# A whole cluster: one node of each kind measures, a second one confirms, all others pull.
#   AUTOTUNE_STORE=/nfs/autotune cluster.sh [BUDGET]      on a node that measures
set -eu
: "${AUTOTUNE_STORE:?names the store: a folder that all nodes see, or s3://bucket/folder}"

autotune store keys 2>/dev/null || autotune store keys --new     # the key that signs what this site publishes, made once
autotune calibrate qr log --effort quick --budget "${1:-2m}"
autotune store publish --sign
autotune store list                                             # who published what
autotune store pull || echo "nothing that two hosts, or a trusted key, confirm yet"
autotune store prune --dry-run                                  # what can be removed
