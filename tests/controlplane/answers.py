#!/usr/bin/env python3
"""Keeps what an API server answers about its schemas and resources: `answers.py KUBECONFIG FOLDER`, then `cargo run -p xtask -- schemas FOLDER`.

Any server will do whose kubeconfig holds a token (`start.py --write-kubeconfig` writes one).
"""
import json, pathlib, re, ssl, sys, urllib.request


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    config = pathlib.Path(sys.argv[1]).read_text()
    server = re.search(r"server:\s*(\S+)", config).group(1).strip('"')
    token = re.search(r"token:\s*(\S+)", config).group(1).strip('"')
    folder = pathlib.Path(sys.argv[2])
    context = ssl._create_unverified_context()

    def keep(path, file, accept="application/json"):
        request = urllib.request.Request(server + path, headers={"Authorization": "Bearer " + token, "Accept": accept})
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:
            body = answer.read()
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)
        return json.loads(body)

    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    keep("/api", "discovery-api.json", aggregated)
    keep("/apis", "discovery-apis.json", aggregated)
    keep("/openapi/v2", "openapi-v2.json")
    index = keep("/openapi/v3", "openapi-v3/index.json")
    for path, document in sorted(index["paths"].items()):
        keep(document["serverRelativeURL"], "openapi-v3/%s.json" % path.replace("/", "_"))
    print("%d documents in %s" % (len(index["paths"]), folder))


if __name__ == "__main__":
    main()
