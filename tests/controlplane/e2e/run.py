#!/usr/bin/env python3
"""Runs Kubernetes' own tests of its API machinery against a server.

    run.py [--server SLUICE | --kubeconfig FILE] [--binary BIN] [--focus TEXT] [--jobs N] [--seconds N] [--all]

Starts `SLUICE apiserver` (default: target/debug/sluice) unless a kubeconfig is given, builds the Go test binary beside this file
when BIN (default: target/controlplane/e2e.test of the workspace) is missing, and runs the specs of specs.txt: all of them pass on a
real control plane without nodes. Those under a line `# reason` are left out unless --all is given; the reason says why.
Specs run in N processes (default 2), each told apart by the area that it tests. Exits with 1 when a spec fails.
"""
import argparse, concurrent.futures, os, pathlib, re, shutil, signal, subprocess, sys, tempfile, time
import xml.etree.ElementTree as xml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
VERSION = "1.36.3"
AREA = "[sig-api-machinery] "


def build(binary):
    if shutil.which("go") is None:
        sys.exit("run.py: no Go toolchain found and no test binary at %s" % binary)
    binary.parent.mkdir(parents=True, exist_ok=True)
    flags = "-s -w " + " ".join(
        "-X k8s.io/component-base/version.%s=%s" % kv
        for kv in [("gitVersion", "v" + VERSION), ("gitMajor", "1"), ("gitMinor", "36")])
    print("building the end-to-end tests (about 4 minutes from an empty cache) ...", file=sys.stderr, flush=True)
    temporary = binary.with_suffix(".building")
    subprocess.run(["go", "test", "-c", "-trimpath", "-ldflags", flags, "-o", str(temporary), "."], cwd=HERE, check=True,
                   env=dict(os.environ, CGO_ENABLED="0"))
    temporary.rename(binary)


def specs(everything):
    """The names to run, and the names that are left out with their reasons."""
    run, left, reason = [], [], None
    for line in (HERE / "specs.txt").read_text().splitlines():
        if line.startswith("#"):
            reason = line.lstrip("# ").strip() or None
        elif line.strip():
            if reason is None or everything:
                run.append(line.strip())
            else:
                left.append((line.strip(), reason))
    return run, left


def groups(names, jobs):
    """Specs of one area run one after another; the rest is spread over the jobs, the many first."""
    areas = {}
    for name in names:
        areas.setdefault(name.split(" ")[0], []).append(name)
    out = [[] for _ in range(jobs)]
    for members in sorted(areas.values(), key=len, reverse=True):
        min(out, key=len).extend(members)
    return [group for group in out if group]


def run_group(number, binary, kubeconfig, names, folder, seconds):
    report = folder / ("junit-%d.xml" % number)
    focus = "(" + "|".join(re.escape(AREA + name) for name in names) + ")"
    log = open(folder / ("log-%d.txt" % number), "w")
    process = subprocess.Popen(
        [str(binary), "--kubeconfig=%s" % kubeconfig, "--provider=skeleton", "--allowed-not-ready-nodes=-1", "--ginkgo.focus=" + focus,
         "--ginkgo.timeout=%ds" % seconds, "--ginkgo.no-color", "--ginkgo.junit-report=%s" % report, "--ginkgo.seed=1",
         "--ginkgo.grace-period=10s", "--test.timeout=%ds" % (seconds + 120)],
        stdout=log, stderr=log, cwd=folder)
    try:
        process.wait(seconds + 60)
    except subprocess.TimeoutExpired:
        process.kill()
    results = {}
    if report.exists():
        for case in xml.parse(report).getroot().iter("testcase"):
            name = re.sub(r"^\[It\] ", "", case.get("name", ""))
            name = re.sub(r" \[sig-api-machinery[^\]]*\]$", "", name)
            if not name.startswith(AREA) or case.get("status") == "skipped":
                continue
            problem = case.find("failure") if case.find("failure") is not None else case.find("error")
            results[name[len(AREA):]] = (problem is None, float(case.get("time", 0)), problem.get("message", "") if problem is not None else "")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default=str(ROOT / "target" / "debug" / "sluice"))
    parser.add_argument("--kubeconfig")
    parser.add_argument("--binary", default=str(ROOT / "target" / "controlplane" / "e2e.test"))
    parser.add_argument("--focus", default="")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=900)
    parser.add_argument("--all", action="store_true", help="also those that are left out with a reason")
    parser.add_argument("--logs", help="keep the logs in this folder")
    parser.add_argument("--build-only", action="store_true")
    args = parser.parse_args()
    binary = pathlib.Path(args.binary).resolve()
    if not binary.exists():
        build(binary)
    if args.build_only:
        return
    names, left = specs(args.all)
    names = [name for name in names if args.focus in name]
    folder = pathlib.Path(args.logs or tempfile.mkdtemp(prefix="e2e-")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kubeconfig, server = args.kubeconfig, None
    if kubeconfig is None:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.unlink(missing_ok=True)
        log = open(folder / "server.txt", "w")
        server = subprocess.Popen([args.server, "apiserver", "--write-kubeconfig", str(kubeconfig)], stdout=log, stderr=log)
        signal.signal(signal.SIGTERM, lambda *_: (server.terminate(), sys.exit(1)))
        end = time.time() + 30
        while not kubeconfig.exists() and server.poll() is None and time.time() < end:
            time.sleep(0.05)
    started = time.time()
    results = {}
    try:
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            runs = [pool.submit(run_group, number, binary, pathlib.Path(kubeconfig).resolve(), group, folder, args.seconds)
                    for number, group in enumerate(groups(names, args.jobs))]
            for run in runs:
                results.update(run.result())
    finally:
        if server is not None:
            server.terminate()
            server.wait(20)
    failed = [name for name in names if not results.get(name, (False,))[0]]
    for name in sorted(results, key=lambda name: -results[name][1])[:5]:
        print("%7.1fs %s" % (results[name][1], name))
    for name in failed:
        print("FAILED %s\n       %s" % (name, (results[name][2] if name in results else "did not run")[:400].replace("\n", "\n       ")))
    print("%d of %d specs passed in %.0f s; %d left out with a reason" % (len(names) - len(failed), len(names), time.time() - started, len(left)))
    if not args.logs and not failed:
        shutil.rmtree(folder, ignore_errors=True)
    elif failed:
        print("logs: %s" % folder)
    sys.exit(1 if failed or not names else 0)


if __name__ == "__main__":
    main()
