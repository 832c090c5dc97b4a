#!/usr/bin/env python3
"""Starts a real Kubernetes control plane on loopback, for tests.

    start.py --write-kubeconfig FILE [--binary BIN] [--data-dir DIR] [--seconds N] [--no-controller-manager | --controllers LIST]

Builds the Go program beside this file when BIN (default: target/controlplane/controlplane of the workspace) is missing, starts
etcd, kube-apiserver and kube-controller-manager on free loopback ports, writes FILE when the API server is ready, and stops
everything on SIGINT or SIGTERM, when its standard input closes (with --until-stdin-closes), or after N seconds (default 3600).
"""
import argparse, os, pathlib, random, shutil, signal, socket, ssl, subprocess, sys, tempfile, time, urllib.request

HERE = pathlib.Path(__file__).resolve().parent
VERSION = "1.36.3"


def free_ports(count):
    # Below what Linux gives to outgoing connections, one of which could take a port before its process does.
    ports = []
    while len(ports) < count:
        port = random.randrange(10000, 30000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def build(binary):
    if shutil.which("go") is None:
        sys.exit("start.py: no Go toolchain found and no control plane binary at %s" % binary)
    binary.parent.mkdir(parents=True, exist_ok=True)
    flags = "-s -w " + " ".join(
        "-X k8s.io/component-base/version.%s=%s" % kv
        for kv in [("gitVersion", "v" + VERSION), ("gitMajor", "1"), ("gitMinor", "36")])
    print("building the control plane (about 4 minutes from an empty cache) ...", file=sys.stderr, flush=True)
    temporary = binary.with_suffix(".building")
    subprocess.run(["go", "build", "-trimpath", "-ldflags", flags, "-o", str(temporary), "."], cwd=HERE, check=True,
                   env=dict(os.environ, CGO_ENABLED="0"))
    temporary.rename(binary)


def wait_ready(url, process, what, deadline=60):
    context = ssl._create_unverified_context()
    end = time.time() + deadline
    while time.time() < end:
        if process.poll() is not None:
            sys.exit("start.py: %s ended with %s; see its log" % (what, process.returncode))
        try:
            with urllib.request.urlopen(url, context=context, timeout=2) as answer:
                if answer.status == 200:
                    return
        except Exception:
            time.sleep(0.05)
    sys.exit("start.py: %s was not ready after %s s" % (what, deadline))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write-kubeconfig", required=True)
    parser.add_argument("--binary", default=str(HERE.parents[1] / "target" / "controlplane" / "controlplane"))
    parser.add_argument("--data-dir")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--no-controller-manager", action="store_true")
    parser.add_argument("--controllers", help="those of the controller manager",
                        default="deployment,replicaset,statefulset,daemonset,job,namespace,garbagecollector,serviceaccount,"
                        "serviceaccount-token,endpoint,endpointslice,clusterrole-aggregation,resourcequota")
    parser.add_argument("--until-stdin-closes", action="store_true")
    parser.add_argument("--build-only", action="store_true")
    args = parser.parse_args()
    binary = pathlib.Path(args.binary)
    if not binary.exists():
        build(binary)
    if args.build_only:
        return
    data = pathlib.Path(args.data_dir or tempfile.mkdtemp(prefix="controlplane-"))
    data.mkdir(parents=True, exist_ok=True)
    etcd_port, peer_port, api_port, manager_port = free_ports(4)
    etcd_url, peer_url, api_url = ("http://127.0.0.1:%d" % etcd_port, "http://127.0.0.1:%d" % peer_port, "https://127.0.0.1:%d" % api_port)
    (data / "tokens.csv").write_text("token,admin,admin,system:masters\n")
    subprocess.run(["openssl", "genrsa", "-out", str(data / "sa.key"), "2048"], check=True, stderr=subprocess.DEVNULL)
    kubeconfig = """apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster:
    server: %s
    insecure-skip-tls-verify: true
users:
- name: admin
  user:
    token: token
contexts:
- name: test
  context:
    cluster: test
    user: admin
""" % api_url
    inner = data / "kubeconfig"
    inner.write_text(kubeconfig)
    processes = []

    def start(name, *flags):
        log = open(data / (name + ".log"), "w")
        processes.append(subprocess.Popen([str(binary), name, *flags], stdout=log, stderr=log, cwd=data))
        return processes[-1]

    def stop(*_):
        for process in reversed(processes):
            if process.poll() is None:
                process.terminate()
        for process in reversed(processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        if not args.data_dir:
            shutil.rmtree(data, ignore_errors=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    etcd = start("etcd", "--data-dir", str(data / "etcd"), "--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url,
                 "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url, "--initial-cluster", "default=" + peer_url,
                 "--unsafe-no-fsync")
    wait_ready(etcd_url + "/health", etcd, "etcd")
    api = start("kube-apiserver", "--etcd-servers=" + etcd_url, "--secure-port=%d" % api_port, "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1", "--cert-dir=" + str(data / "certs"), "--token-auth-file=" + str(data / "tokens.csv"),
                "--authorization-mode=RBAC", "--service-account-issuer=https://kubernetes.default.svc",
                "--service-account-signing-key-file=" + str(data / "sa.key"), "--service-account-key-file=" + str(data / "sa.key"),
                "--service-cluster-ip-range=10.96.0.0/12", "--disable-admission-plugins=ServiceAccount")
    wait_ready(api_url + "/readyz", api, "kube-apiserver")
    if not args.no_controller_manager:
        start("kube-controller-manager", "--kubeconfig=" + str(inner), "--leader-elect=false", "--secure-port=%d" % manager_port,
              "--controllers=" + args.controllers,
              "--service-account-private-key-file=" + str(data / "sa.key"), "--kube-api-qps=500", "--kube-api-burst=1000")
    target = pathlib.Path(args.write_kubeconfig)
    temporary = target.with_suffix(target.suffix + ".new")
    temporary.write_text(kubeconfig)
    temporary.chmod(0o600)
    temporary.rename(target)
    print("ready: %s" % api_url, flush=True)
    if args.until_stdin_closes:
        import select
        end = time.time() + args.seconds
        while time.time() < end:
            readable, _, _ = select.select([sys.stdin], [], [], 1)
            if readable and not sys.stdin.buffer.read1(1):
                break
            if any(p.poll() is not None for p in processes):
                break
    else:
        end = time.time() + args.seconds
        while time.time() < end and all(p.poll() is None for p in processes):
            time.sleep(0.5)
    stop()


if __name__ == "__main__":
    main()
