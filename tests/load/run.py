#!/usr/bin/env python3
"""Loads the embedded API server and a real one, one after the other, and prints both columns.

    tests/load/run.py [--objects N] [--watchers N] [--only-embedded] [--controlplane BIN]

Builds the server and the client in release mode. The real control plane is that of tests/controlplane (without a controller
manager: neither server has workload controllers here); it is left out when it cannot be had. Nothing is asserted: the numbers
depend on the machine, and their ratio much less so.
"""
import argparse, os, pathlib, subprocess, sys, tempfile, time

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
    command = [str(ROOT / "target/release/examples/load"), "--kubeconfig", str(kubeconfig), "--pid", ",".join(map(str, pids)),
               "--objects", str(args.objects), "--watchers", str(args.watchers)]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if out.returncode:
        print("the load ended early")
    return [line.split("\t") for line in out.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100000)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--only-embedded", action="store_true")
    parser.add_argument("--controlplane", default=str(ROOT / "target/controlplane/controlplane"))
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "-p", "apiserver", "--examples"], cwd=ROOT, check=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="load-"))
    columns = {}
    server = subprocess.Popen([str(ROOT / "target/release/examples/serve"), "--controllers", "", "--ready-after", "never",
                               "--write-kubeconfig", str(work / "embedded"), "--seconds", "1800"], stdout=subprocess.DEVNULL)
    try:
        wait_for(work / "embedded", server)
        columns["embedded"] = load(work / "embedded", [server.pid], args)
    finally:
        server.terminate()
        server.wait()
    if not args.only_embedded and (os.path.exists(args.controlplane) or subprocess.run(["which", "go"], stdout=subprocess.DEVNULL).returncode == 0):
        plane = subprocess.Popen([sys.executable, str(ROOT / "tests/controlplane/start.py"), "--no-controller-manager", "--binary", args.controlplane,
                                  "--write-kubeconfig", str(work / "real"), "--seconds", "1800"], stdout=subprocess.DEVNULL)
        try:
            wait_for(work / "real", plane, 600)
            columns["kube-apiserver + etcd"] = load(work / "real", children(plane.pid), args)
        finally:
            plane.terminate()
            plane.wait()
    else:
        print("SKIPPED: the real control plane (no Go toolchain, and no binary at %s)" % args.controlplane)
    names = list(columns)
    print("| what | " + " | ".join(names) + " |\n|---" * 1 + "|---" * len(names) + "|")
    for at, row in enumerate(columns[names[0]]):
        cells = [columns[n][at][1] if at < len(columns[n]) else "-" for n in names]
        print("| %s (%s) | %s |" % (row[0], row[2], " | ".join(cells)))


if __name__ == "__main__":
    main()
