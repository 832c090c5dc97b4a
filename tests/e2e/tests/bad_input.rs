//! Bad input gives a clear condition on the object itself; everything else goes on, and nothing that was applied is lost.

#![allow(clippy::unwrap_used)]

use e2e::{GitServer, House, Options, condition, free_port};

fn git_repository(name: &str, url: &str, extra: &str) -> String {
    format!(
        "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: {name}, namespace: e2e-bad}}\nspec: {{interval: 1s, timeout: 5s, url: {url}{extra}}}\n"
    )
}

fn kustomization(name: &str, path: &str, source: &str, extra: &str) -> String {
    format!(
        "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: {name}, namespace: e2e-bad}}\n\
         spec: {{interval: 1m, retryInterval: 2s, path: {path}, prune: true, sourceRef: {{kind: GitRepository, name: {source}}}{extra}}}\n"
    )
}

#[test]
fn every_mistake_is_named_where_it_was_made() {
    let open = GitServer::start();
    let closed = GitServer::start_with(Some(("user", "s3cret-pass")));
    let repository = open.repository("app");
    let good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good, namespace: e2e-bad}\ndata: {a: b}\n";
    repository.write("good/a.yaml", good);
    repository
        .write("syntax/fine.yaml", good)
        .write("syntax/broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n bad: [\n");
    repository.write(
        "rejected/a.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: e2e-bad}\nspec: {ports: [{port: 70000}]}\n",
    );
    let commit = repository.push("first");
    closed.repository("app").write("a.yaml", good).push("first");
    let house = House::start(Options::default());
    house.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: e2e-bad}\n");
    house.apply(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: creds, namespace: e2e-bad}\nstringData: {username: user, password: wr0ng-pass}\n",
    );
    let mut all = String::new();
    all += &git_repository("app", &open.url("app"), ", ref: {branch: main}");
    all += &git_repository("no-branch", &open.url("app"), ", ref: {branch: nope}");
    all += &git_repository("no-repository", &open.url("nope"), ", ref: {branch: main}");
    all += &git_repository("no-rights", &closed.url("app"), ", ref: {branch: main}, secretRef: {name: creds}");
    all += &git_repository("no-secret", &closed.url("app"), ", ref: {branch: main}, secretRef: {name: missing}");
    all += &git_repository("no-host", &format!("http://127.0.0.1:{}/app.git", free_port()), ", ref: {branch: main}");
    all += &kustomization("good", "./good", "app", "");
    all += &kustomization("no-path", "./nope", "app", "");
    all += &kustomization("syntax", "./syntax", "app", "");
    all += &kustomization("rejected", "./rejected", "app", "");
    all += &kustomization("no-source", "./good", "missing", "");
    all += &kustomization("cycle-a", "./good", "app", ", dependsOn: [{name: cycle-b}]");
    all += &kustomization("cycle-b", "./good", "app", ", dependsOn: [{name: cycle-a}]");
    house.apply(&all);

    let ready = house.until_ready("kustomization", "e2e-bad", "good", "True");
    assert_eq!(ready["status"]["lastAppliedRevision"], format!("main@sha1:{commit}"));
    let cases: &[(&str, &str, &str, &[&str])] = &[
        ("gitrepository", "no-branch", "GitOperationFailed", &["refs/heads/nope"]),
        ("gitrepository", "no-repository", "GitOperationFailed", &["nope.git"]),
        ("gitrepository", "no-rights", "GitOperationFailed", &["auth"]),
        ("gitrepository", "no-secret", "AuthenticationFailed", &["missing"]),
        ("gitrepository", "no-host", "GitOperationFailed", &["127.0.0.1"]),
        ("kustomization", "no-path", "ArtifactFailed", &["nope"]),
        ("kustomization", "syntax", "BuildFailed", &["broken.yaml", "line"]),
        ("kustomization", "rejected", "ReconciliationFailed", &["spec.ports[0].port"]),
        ("kustomization", "no-source", "ArtifactFailed", &["missing"]),
        ("kustomization", "cycle-a", "DependencyNotReady", &["cycle-a", "cycle-b"]),
    ];
    for (kind, name, reason, words) in cases {
        let object = house.until_object(kind, "e2e-bad", name, &format!("{reason} {words:?}"), |object| {
            let ready = condition(object, "Ready")?;
            let message = ready["message"].as_str()?;
            (ready["status"] == "False" && ready["reason"] == *reason && words.iter().all(|word| message.contains(word))).then_some(())
        });
        let text = object["status"].to_string();
        assert!(!text.contains("wr0ng-pass") && !text.contains("s3cret-pass"), "a secret in the status of {name}: {text}");
    }

    // A source that breaks keeps its last artifact, and what was applied stays.
    house.kubectl(&["patch", "gitrepository", "app", "-n", "e2e-bad", "--type=merge", "-p", r#"{"spec":{"ref":{"branch":"gone"}}}"#]);
    let broken = house.until_ready("gitrepository", "e2e-bad", "app", "False");
    assert_eq!(broken["status"]["artifact"]["revision"], format!("main@sha1:{commit}"));
    assert!(house.get("configmap", "e2e-bad", "good").is_some());
    let logs = house.source.as_ref().unwrap().log() + &house.kustomize.as_ref().unwrap().log();
    assert!(!logs.contains("wr0ng-pass"), "a secret in the logs");
    house.clean();
}

/// An object stored before its schema was tightened: it says so itself, and its neighbours go on.
#[test]
fn an_object_that_does_not_decode_stops_nobody() {
    let server = GitServer::start();
    let repository = server.repository("app");
    repository
        .write("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: decoded, namespace: e2e-decode}\ndata: {a: b}\n")
        .push("first");
    let house = House::start(Options::default());
    house.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: e2e-decode}\n");
    let crd = "gitrepositories.source.toolkit.fluxcd.io";
    // Loosen the schema, store a wrong object, and put the schema back.
    let loose = r#"[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema","value":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}]"#;
    house.kubectl(&["patch", "crd", crd, "--type=json", "-p", loose]);
    let wrong = format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: wrong, namespace: e2e-decode}}\nspec: {{interval: [1, 2], url: 5}}\n{}",
        git_repository("right", &server.url("app"), ", ref: {branch: main}").replace("e2e-bad", "e2e-decode")
    );
    e2e::until("the loose schema to be served", || {
        house.try_kubectl(&["apply", "--server-side", "--validate=false", "-f", "-"], Some(&wrong))
    });
    house.until_ready("gitrepository", "e2e-decode", "right", "True");
    let told = house.until_ready("gitrepository", "e2e-decode", "wrong", "False");
    let message = condition(&told, "Ready").unwrap()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("spec.interval") || message.contains("interval") || message.contains("url"), "{message}");
    house.kubectl(&["delete", "gitrepository", "wrong", "-n", "e2e-decode", "--wait=false"]);
    house.clean();
    let crds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    house.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &crds.display().to_string()]);
}
