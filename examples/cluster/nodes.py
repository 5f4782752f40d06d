"""Calibrates the nodes of a batch system with Dask: one job for each node, which no other job uses.

    python nodes.py slurm --nodes 4 --cpus 64 --store /nfs/autotune [--queue long]

The system is slurm, pbs, lsf or sge. `pip install ".[calibrate,share]" dask-jobqueue` in a checkout, into a folder that
all nodes see. Where nodes are of several kinds, ask for all of them: equal ones share the work. Further lines of the
batch file: --directive '--constraint=icelake'.
"""

import argparse
import subprocess
import sys

from dask_jobqueue import LSFCluster, PBSCluster, SGECluster, SLURMCluster


def whole_nodes(options: argparse.Namespace) -> dict[str, tuple[type, dict[str, object], list[str]]]:
    """For each system its class, what gives a job all CPUs of a node, and what keeps other jobs away."""
    cpus, chunk = options.cpus, f"select=1:ncpus={options.cpus}:mem={options.memory}"
    return {
        "slurm": (SLURMCluster, {"job_cpu": cpus}, ["--exclusive", "--nodes=1"]),
        "pbs": (PBSCluster, {"resource_spec": chunk}, ["-l place=excl"]),
        "lsf": (LSFCluster, {"ncpus": cpus}, ["-x"]),
        "sge": (SGECluster, {}, ["-l exclusive=true", f"-pe smp {cpus}"]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=["slurm", "pbs", "lsf", "sge"])
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, required=True, help="of a node: all of them")
    parser.add_argument("--memory", default="8GB", help="of a node, as the site lets a job ask for it")
    parser.add_argument("--store", required=True)
    parser.add_argument("--queue")
    parser.add_argument("--walltime", help="as the system writes it; an hour if left out")
    parser.add_argument("--directive", action="append", default=[], help="a line for the batch file")
    parser.add_argument("--print", action="store_true", help="print the batch file and end")
    parser.add_argument("words", nargs="*", help="further words for autotune cluster calibrate, after --")
    options = parser.parse_intermixed_args()  # words may follow after options
    system, resources, directives = whole_nodes(options)[options.system]
    with system(
        cores=1,  # threads of the worker: it does nothing but start what measures
        processes=1,
        memory=options.memory,
        queue=options.queue,
        walltime=options.walltime or ("01:00" if options.system == "lsf" else "01:00:00"),
        python=sys.executable,
        job_extra_directives=[*directives, *options.directive],
        scheduler_options={"dashboard_address": ":0"},
        **resources,
    ) as cluster:
        if options.print:
            print(cluster.job_script())
            return 0
        cluster.scale(jobs=options.nodes)
        command = [sys.executable, "-m", "autotune", "cluster", "calibrate", cluster.scheduler_address]
        return subprocess.run([*command, "--store", options.store, *options.words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
