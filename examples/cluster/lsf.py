"""Calibrates the nodes of a LSF cluster: one job for each node, which no other job uses.

    python lsf.py --nodes 4 --cpus 64 --store /nfs/autotune [--queue long]

`pip install ".[calibrate,share]" dask-jobqueue` in a checkout, into a folder that all nodes see.
Where nodes are of several kinds, ask for all of them: equal ones share the work.
Further lines of the batch file: --directive '-R select[type==X86_64]'.
"""

import argparse
import subprocess
import sys

from dask_jobqueue import LSFCluster


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, required=True, help="of a node: all of them")
    parser.add_argument("--memory", default="8GB", help="of a node, as the site lets a job ask for it")
    parser.add_argument("--store", required=True)
    parser.add_argument("--queue")
    parser.add_argument("--walltime", default="01:00")
    parser.add_argument("--directive", action="append", default=[], help="a line for the batch file")
    parser.add_argument("--print", action="store_true", help="print the batch file and end")
    parser.add_argument("words", nargs="*", help="further words for autotune calibrate, after --")
    options = parser.parse_args()
    with LSFCluster(
        cores=1,  # threads of the worker: it does nothing but start what measures
        processes=1,
        memory=options.memory,
        queue=options.queue,
        walltime=options.walltime,
        python=sys.executable,
        ncpus=options.cpus,
        job_extra_directives=["-x", *options.directive],
        scheduler_options={"dashboard_address": ":0"},
    ) as cluster:
        if options.print:
            print(cluster.job_script())
            return 0
        cluster.scale(jobs=options.nodes)
        command = [sys.executable, "-m", "autotune", "cluster", "calibrate", cluster.scheduler_address]
        return subprocess.run([*command, "--store", options.store, *options.words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
