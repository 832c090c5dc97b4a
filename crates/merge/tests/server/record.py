#!/usr/bin/env python3
"""Plays the scenarios of a file against a real kube-apiserver and writes its answers into the same file.

usage: record.py URL TOKEN FILE...

A file is a list of {"name", "setup": [request...], "steps": [step...], "cleanup": [path...], "keep"}; a step holds its
"request" {"method", "path", "body", "type", "on_live"} and, once recorded, the live object before it, the code, the
answer and the warnings. "on_live" replaces fields of the live object to make the body. With "keep": "causes" only
messages and causes of refusals are kept; with "keep": "patched" the live object is kept once, and owners not at all.
"""
import json
import ssl
import sys
import time
import urllib.error
import urllib.request

TYPES = {
    "apply": "application/apply-patch+yaml",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    None: "application/json",
}
CONTEXT = ssl._create_unverified_context()  # the server of a test has a certificate of its own


def call(url, token, method, path, body=None, kind=None):
    request = urllib.request.Request(url + path, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("Authorization", "Bearer " + token)
    request.add_header("Content-Type", TYPES[kind])
    request.add_header("Accept", "application/json")
    try:
        with urllib.request.urlopen(request, context=CONTEXT) as answer:
            return answer.status, json.loads(answer.read() or b"null"), answer.headers.get_all("Warning") or []
    except urllib.error.HTTPError as error:
        text = error.read()
        try:
            return error.code, json.loads(text), error.headers.get_all("Warning") or []
        except ValueError:
            return error.code, text.decode(), []


def object_path(request):
    path = request["path"].split("?")[0]
    for end in ("/status", "/scale"):
        path = path.removesuffix(end)
    return path


def without_owners(value):
    if isinstance(value, dict) and isinstance(value.get("metadata"), dict):
        value["metadata"].pop("managedFields", None)
    return value


def play(url, token, scenario):
    for request in scenario.get("setup", []):
        code, answer, _ = call(url, token, request["method"], request["path"], request.get("body"), request.get("type"))
        if code >= 300:
            raise SystemExit(f"{scenario['name']}: setup failed: {answer}")
        time.sleep(request.get("wait", 0))
    kept = []
    for step in scenario["steps"]:
        request, live = step["request"], None
        if request["method"] != "POST":
            code, live, _ = call(url, token, "GET", object_path(request))
            live = live if code == 200 else None
        body = request.get("body")
        if "on_live" in request:
            body = dict(live)
            body.update(request["on_live"])
        code, answer, warnings = call(url, token, request["method"], request["path"], body, request.get("type"))
        if scenario.get("keep") == "causes":
            answer = None if code < 300 else {key: answer.get(key) for key in ("message", "reason", "details")}
        if scenario.get("keep") == "patched":
            scenario["live"], live = without_owners(live), None
            answer = without_owners(answer)
        kept.append({"request": request, "live": live, "code": code, "answer": answer, "warnings": warnings})
    for path in scenario.get("cleanup", []):
        call(url, token, "DELETE", path)
    return dict(scenario, steps=kept)


def main():
    url, token, *files = sys.argv[1:]
    for name in files:
        with open(name) as file:
            scenarios = json.load(file)
        scenarios = [play(url, token, scenario) for scenario in scenarios]
        with open(name, "w") as file:
            file.write("[\n" + ",\n".join(json.dumps(scenario, separators=(",", ":"), ensure_ascii=False) for scenario in scenarios) + "\n]\n")
        print(name, len(scenarios), "scenarios,", sum(len(scenario["steps"]) for scenario in scenarios), "steps")


main()
