#!/usr/bin/env python3
"""Loads the embedded API server and a real one, one after the other, and prints both columns.

    tests/load/run.py [--objects N] [--watchers N] [--seconds N] [--only-embedded] [--controlplane BIN] [--no-build]

Builds the server and the client in release mode, unless told that they are built. Each server is loaded for --seconds at most; what was
measured until then is printed, and the exit code is 1. The real control plane is that of tests/controlplane (without a controller
manager: neither server has workload controllers here); it is left out when it cannot be had. Nothing is asserted: the numbers
depend on the machine, and their ratio much less so.
"""
import argparse, os, pathlib, shutil, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def wait_for(path, process, seconds=60):
    end = time.time() + seconds
    while not path.exists():
        if process.poll() is not None or time.time() > end:
            sys.exit("the server did not start")
        time.sleep(0.02)


def children(pid):
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(p) for p in out]


def load(kubeconfig, pids, args):
    """The rows that were measured, and whether those are all."""
    command = [str(ROOT / "target/release/examples/load"), "--kubeconfig", str(kubeconfig), "--pid", ",".join(map(str, pids)),
               "--objects", str(args.objects), "--watchers", str(args.watchers)]
    # A file, so that what was measured outlives a load that is broken off.
    rows = kubeconfig.with_suffix(".rows")
    with open(rows, "w") as out:
        try:
            whole = subprocess.run(command, stdout=out, timeout=args.seconds).returncode == 0
        except subprocess.TimeoutExpired:
            whole = False
    if not whole:
        print("the load of %s ended early" % kubeconfig.name, file=sys.stderr)
    return [line.split("\t") for line in rows.read_text().splitlines()], whole


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100000)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=900)
    parser.add_argument("--only-embedded", action="store_true")
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--controlplane", default=str(ROOT / "target/controlplane/controlplane"))
    args = parser.parse_args()
    if not args.no_build:
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "-p", "apiserver", "--examples"], cwd=ROOT, check=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="load-"))
    try:
        columns, whole = measure(work, args)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    names = list(columns)
    print("| what | " + " | ".join(names) + " |\n|---" + "|---" * len(names) + "|")
    longest = max(columns.values(), key=len)
    for at, row in enumerate(longest):
        cells = [columns[n][at][1] if at < len(columns[n]) else "-" for n in names]
        print("| %s (%s) | %s |" % (row[0], row[2], " | ".join(cells)))
    sys.exit(0 if whole else 1)


def measure(work, args):
    bound = str(args.seconds + 60)
    columns = {}
    server = subprocess.Popen([str(ROOT / "target/release/examples/serve"), "--controllers", "", "--ready-after", "never",
                               "--write-kubeconfig", str(work / "embedded"), "--seconds", bound], stdout=subprocess.DEVNULL)
    try:
        wait_for(work / "embedded", server)
        columns["embedded"], whole = load(work / "embedded", [server.pid], args)
    finally:
        server.terminate()
        server.wait()
    if args.only_embedded or not (os.path.exists(args.controlplane) or shutil.which("go")):
        if not args.only_embedded:
            print("SKIPPED: the real control plane (no Go toolchain, and no binary at %s)" % args.controlplane)
        return columns, whole
    plane = subprocess.Popen([sys.executable, str(ROOT / "tests/controlplane/start.py"), "--no-controller-manager", "--binary", args.controlplane,
                              "--write-kubeconfig", str(work / "real"), "--seconds", bound], stdout=subprocess.DEVNULL)
    try:
        # The first time, it is built.
        wait_for(work / "real", plane, 600)
        columns["kube-apiserver + etcd"], all_of_it = load(work / "real", children(plane.pid), args)
    finally:
        plane.terminate()
        plane.wait()
    return columns, whole and all_of_it


if __name__ == "__main__":
    main()
