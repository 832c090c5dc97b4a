#!/usr/bin/env python3
"""Plays the scenarios of a file against a real kube-apiserver and writes what it answered.

usage: record.py URL TOKEN SCENARIOS.json ANSWERS.json

A scenario is {"name", "setup": [step...], "steps": [step...], "cleanup": [path...]}; a step is
{"method", "path", "body", "type"}. Each answered step holds the live object before it, the request and the answer;
those of "setup" are not kept.
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


def object_path(step):
    path = step["path"].split("?")[0]
    for end in ("/status", "/scale"):
        path = path.removesuffix(end)
    return path


def play(url, token, scenario):
    kept = []
    for step in scenario.get("setup", []):
        code, answer, _ = call(url, token, step["method"], step["path"], step.get("body"), step.get("type"))
        if code >= 300 and not step.get("may_fail"):
            raise SystemExit(f"{scenario['name']}: setup failed: {answer}")
        time.sleep(step.get("wait", 0))
    for step in scenario["steps"]:
        live = None
        if step["method"] != "POST":
            code, live, _ = call(url, token, "GET", object_path(step))
            live = live if code == 200 else None
        if step.get("on_live"):
            body = dict(live)
            body.update(step["on_live"])
            step = dict(step, body=body)
        code, answer, warnings = call(url, token, step["method"], step["path"], step.get("body"), step.get("type"))
        kept.append({"request": {k: v for k, v in step.items() if k != "on_live"}, "live": live, "code": code, "answer": answer, "warnings": warnings})
        if step.get("wait"):
            time.sleep(step["wait"])
    for path in scenario.get("cleanup", []):
        call(url, token, "DELETE", path)
    return {"name": scenario["name"], "steps": kept}


def main():
    url, token, source, target = sys.argv[1:]
    with open(source) as file:
        scenarios = json.load(file)
    answers = [play(url, token, scenario) for scenario in scenarios]
    with open(target, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(answer, separators=(",", ":")) for answer in answers) + "\n]\n")
    print(len(answers), "scenarios,", sum(len(answer["steps"]) for answer in answers), "steps")


main()
