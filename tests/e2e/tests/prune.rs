//! What is dropped from Git is deleted, what moves is handed over, and what would wipe everything is held.

#![allow(clippy::unwrap_used)]

use e2e::{GitServer, House, Options, condition};

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: e2e-prune}}\ndata: {{a: b}}\n")
}

fn objects(url: &str) -> String {
    let kustomization = |name: &str| {
        format!(
            "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: {name}, namespace: flux-system}}\n\
             spec: {{interval: 1m, retryInterval: 1s, path: ./{name}, prune: true, sourceRef: {{kind: GitRepository, name: prune}}}}\n"
        )
    };
    format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: prune, namespace: flux-system}}\n\
         spec: {{interval: 1s, url: {url}, ref: {{branch: main}}}}\n{}{}",
        kustomization("left"),
        kustomization("right")
    )
}

#[test]
fn dropped_objects_go_moved_ones_stay_and_a_wipe_is_held() {
    let server = GitServer::start();
    let repository = server.repository("prune");
    for (folder, name) in [("left", "stays"), ("left", "moves"), ("left", "drops"), ("right", "other")] {
        repository.write(&format!("{folder}/{name}.yaml"), &config_map(name));
    }
    repository.push("first");
    let house = House::start(Options::default());
    house.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: e2e-prune}\n");
    house.apply(&objects(&server.url("prune")));
    let at = |name: &str, commit: &str| {
        let revision = format!("main@sha1:{commit}");
        house.until_object("kustomization", "flux-system", name, &format!("at {commit}"), |object| {
            (object["status"]["lastAppliedRevision"] == revision.as_str()).then_some(())
        })
    };
    house.until_ready("kustomization", "flux-system", "left", "True");
    house.until_ready("kustomization", "flux-system", "right", "True");
    let uid = |name: &str| house.get("configmap", "e2e-prune", name).map(|object| object["metadata"]["uid"].clone());
    let (moving, staying) = (uid("moves").unwrap(), uid("stays").unwrap());

    // Dropped and moved in one revision.
    repository.remove("left/drops.yaml").remove("left/moves.yaml").write("right/moves.yaml", &config_map("moves"));
    let commit = repository.push("second");
    at("left", &commit);
    at("right", &commit);
    house.until_gone("configmap", "e2e-prune", "drops");
    assert_eq!(uid("moves").as_ref(), Some(&moving), "a moved object is handed over, not deleted and made anew");
    assert_eq!(uid("stays").as_ref(), Some(&staying));
    let owner = house.get("configmap", "e2e-prune", "moves").unwrap()["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"].clone();
    assert_eq!(owner, "right");

    // A revision that leaves nothing.
    repository.remove("right/moves.yaml").remove("right/other.yaml").write("right/kustomization.yaml", "resources: []\n");
    let wipe = repository.push("wipe");
    let held = house.until_object("kustomization", "flux-system", "right", "held", |object| {
        let ready = condition(object, "Ready")?;
        (ready["status"] == "False" && object["status"]["lastAttemptedRevision"] == format!("main@sha1:{wipe}").as_str()).then_some(())
    });
    let message = condition(&held, "Ready").unwrap()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("kubectl annotate") || message.contains("sluice"),
        "the message names the command that lets it through: {message}"
    );
    assert!(uid("moves").is_some() && uid("other").is_some(), "nothing was deleted");
    let events = house.kubectl(&[
        "get",
        "events",
        "-n",
        "flux-system",
        "--field-selector",
        "involvedObject.name=right,type=Warning",
        "-o",
        "jsonpath={.items[*].message}",
    ]);
    assert!(events.contains("delete"), "{events}");

    // The command in the message lets it through.
    let command =
        message.lines().find_map(|line| line.find("kubectl annotate").map(|from| line[from..].trim().trim_matches('`').to_owned()));
    if let Some(command) = command {
        let words: Vec<&str> = command.split_whitespace().skip(1).map(|word| word.trim_matches(['\'', '"', '`'])).collect();
        house.kubectl(&words);
        house.until_gone("configmap", "e2e-prune", "moves");
        house.until_gone("configmap", "e2e-prune", "other");
    }
    house.clean();
}
