#!/usr/bin/env python3
"""Compares our controllers with what the real Flux answered to recorded scenarios.

    tests/answers/run.py [--kubeconfig KC] [--sets ks,src,hr,aw] [--only GLOB[,GLOB]] [--jobs N] [--profile debug|release]

Without a kubeconfig it starts the embedded API server, with the controllers that ran where the answers were recorded, and without nodes.
Starts source-, artifact-, kustomize- and helm-controller as separate processes against the API server of KC, and
Debian's docker-registry on loopback, runs the scenarios of ../shared/corpus/flux-answers-*.tar.xz, and fails when one that is
not listed in tests/answers/differences.txt (pattern, reason; "embedded:pattern" counts without --kubeconfig alone) differs. Guard rails are off: they hold back what Flux would do.
The set aw was recorded with flags of its own (see FLAGS), so it runs by itself, after the others.
"""
import argparse, fnmatch, json, os, pathlib, random, shutil, signal, socket, subprocess, sys, tempfile, time

# Flags that a set was recorded with.
FLAGS = {"aw": {"source-controller": ["--requeue-dependency=5s"], "artifact-controller": ["--requeue-dependency=5s"],
                "kustomize-controller": ["--requeue-dependency=5s", "--feature-gates=ExternalArtifact=true"],
                "helm-controller": ["--requeue-dependency=5s", "--feature-gates=ExternalArtifact=true"]}}

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Those that ran when the answers were recorded.
CONTROLLERS = "deployment,replicaset,statefulset,daemonset,job,endpoint,endpointslice"


def free_port():
    # Below what Linux gives to outgoing connections, one of which could take the port before its process does.
    while True:
        port = random.randrange(10000, 30000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def differences(embedded):
    known = []
    for line in (HERE / "differences.txt").read_text().splitlines():
        pattern, _, reason = line.partition(" ")
        where, _, rest = pattern.rpartition(":")
        if rest and not rest.startswith("#") and (embedded or where != "embedded"):
            known.append((rest, reason.strip()))
    return known


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kubeconfig", help="another cluster than the embedded one")
    parser.add_argument("--sets", default="ks,src,hr,aw")
    parser.add_argument("--only", default="*")
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--profile", default="debug")
    parser.add_argument("--all", action="store_true", help="run the listed differences too")
    parser.add_argument("--json", default=str(ROOT / "target" / "answers.json"))
    args = parser.parse_args()
    sets = args.sets.split(",")
    groups = [[s for s in sets if s not in FLAGS]] + [[s] for s in sets if s in FLAGS]
    return max(run(args, group) for group in groups if group)


def run(args, sets):
    flags = FLAGS.get(sets[0], {})
    shared = pathlib.Path(os.environ.get("SLUICE_SHARED", ROOT.parent / "shared"))
    runner = shared / "corpus" / "flux_answers.py"
    if not runner.exists():
        print("SKIPPED: no recorded answers (set SLUICE_SHARED to the folder that holds corpus/)")
        return 0
    if shutil.which("docker-registry") is None:
        print("SKIPPED: docker-registry is not installed (Debian package docker-registry)")
        return 0
    work = pathlib.Path(tempfile.mkdtemp(prefix="answers-"))
    for name in sets:
        subprocess.run(["tar", "-C", str(work), "-xf", str(shared / "corpus" / ("flux-answers-%s.tar.xz" % name))], check=True)
    corpus = work / "flux-answers"
    kubeconfig = args.kubeconfig
    known = differences(embedded=not args.kubeconfig)
    wanted = [d for d in sorted(os.listdir(corpus)) if any(fnmatch.fnmatchcase(d, g) for g in args.only.split(","))]
    skipped = {d: reason for d in wanted for pattern, reason in known if fnmatch.fnmatchcase(d, pattern)}
    for scenario in os.listdir(corpus):
        if scenario not in wanted or (scenario in skipped and not args.all):
            shutil.rmtree(corpus / scenario)
    processes = []

    def start(name, command, **environment):
        log = open(work / (name + ".log"), "w")
        processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ, **environment)))

    try:
        port = free_port()
        (work / "registry.yml").write_text(
            "version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: \"127.0.0.1:%d\"}\nlog: {level: error}\n" % (work / "registry", port))
        start("registry", ["docker-registry", "serve", str(work / "registry.yml")])
        binaries = ROOT / "target" / args.profile
        if not kubeconfig:
            kubeconfig = str(work / "kubeconfig")
            start("apiserver", [str(binaries / "sluice"), "apiserver", "--simulate-nodes=false", "--controllers=" + CONTROLLERS,
                                "--write-kubeconfig", kubeconfig])
            end = time.time() + 30
            while not os.path.exists(kubeconfig) and time.time() < end:
                time.sleep(0.05)
        kubectl = ["kubectl", "--kubeconfig", kubeconfig]
        subprocess.run(kubectl + ["apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds")], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(kubectl + ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(kubectl + ["create", "namespace", "flux-system"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        storage = "127.0.0.1:%d" % free_port()
        environment = dict(KUBECONFIG=kubeconfig, RUNTIME_NAMESPACE="flux-system")
        (work / "artifacts").mkdir()
        quiet = ["--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0"]
        (work / "made").mkdir()
        made = "127.0.0.1:%d" % free_port()
        start("source-controller", [str(binaries / "source-controller"), "--storage-path=%s" % (work / "artifacts"), "--storage-addr=" + storage,
                                    "--storage-adv-addr=" + storage, "--concurrent=10", *quiet, *flags.get("source-controller", [])], **environment)
        start("kustomize-controller", [str(binaries / "kustomize-controller"), "--guard-rails=off", "--concurrent=20", *quiet,
                                       *flags.get("kustomize-controller", [])], **environment)
        start("artifact-controller", [str(binaries / "artifact-controller"), "--storage-path=%s" % (work / "made"), "--storage-addr=" + made,
                                      "--storage-adv-addr=" + made, *quiet, *flags.get("artifact-controller", [])], **environment)
        # client-go names the field manager of release Secrets after the program; the recorded one was called so.
        recorded = work / "bin-helm-controller"
        recorded.symlink_to(binaries / "helm-controller")
        start("helm-controller", [str(recorded), "--concurrent=20", *quiet, *flags.get("helm-controller", [])], **environment)
        time.sleep(1)
        for process in processes:
            if process.poll() is not None:
                print("a process ended at once; logs in", work)
                return 1
        def check(only, jobs, results):
            subprocess.run([sys.executable, str(runner), "check", "--corpus", str(corpus), "--kubeconfig", kubeconfig, "--registry",
                            "127.0.0.1:%d" % port, "--jobs", str(jobs), "--only", only, "--json", str(results)])
            return json.loads(pathlib.Path(results).read_text())

        results = check("*", args.jobs, args.json)
        # Scenarios watch the clock; on a busy machine one may be looked at too early. A difference counts when it is there again.
        again = [r["name"] for r in results if not r["passed"] and r["name"] not in skipped]
        if 0 < len(again) <= 40:
            print("once more, one at a time:", " ".join(again), flush=True)
            second = {r["name"]: r for r in check(",".join(again), 1, work / "again.json")}
            results = [second.get(r["name"], r) for r in results]
            pathlib.Path(args.json).write_text(json.dumps(results, indent=1))
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
    failed = [r["name"] for r in results if not r["passed"]]
    unexpected = [name for name in failed if name not in skipped]
    reasons = {}
    for name, reason in skipped.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in sorted(reasons.items()):
        print("listed: %3d scenarios: %s" % (len(names), reason))
    for name in unexpected:
        print("unexpected:", name)
    print("recorded answers of Flux: %d run, %d same, %d differ; %d more listed as different with a reason" % (
        len(results), len(results) - len(failed), len(failed), 0 if args.all else len(skipped)))
    print("logs:", work)
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
