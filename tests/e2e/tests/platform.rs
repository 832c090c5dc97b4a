//! The example of a platform: a whole cluster from one folder, in order, with tenants kept in their place.

#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use e2e::{Up, binary, condition, edit, example, until, up_once};
use serde_json::Value;
use std::process::Command;

/// Brings up one of the clusters and returns the lines that it told, and the tree that it printed.
fn bring_up(cluster: &str) -> (Vec<String>, Vec<String>) {
    let folder = example("platform");
    let path = format!("clusters/{cluster}");
    let output = up_once(&[folder.path().to_str().unwrap(), "--path", &path, "--timeout", "80s", "-o", "tree"]);
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
    let (told, tree) = (lines(&output.stderr), lines(&output.stdout));
    assert_eq!(output.status.code(), Some(0), "{}", told.join("\n"));
    (told, tree)
}

/// Where the first line is that says of an object that it is ready.
fn ready_at(told: &[String], object: &str) -> usize {
    let wanted = format!("✔ {object} ");
    told.iter().position(|line| line.contains(&wanted)).unwrap_or_else(|| panic!("{object} never was ready:\n{}", told.join("\n")))
}

/// Everything is ready, in the order that the dependencies give, and stands where it belongs in the tree.
fn check(cluster: &str, replicas: usize) {
    let (told, tree) = bring_up(cluster);
    // Kind by kind: the news of two kinds come by two watches, and may pass each other within a moment.
    let orders: [&[&str]; 3] = [
        &["HelmRelease/ingress/ingress", "HelmRelease/external-dns/external-dns"],
        &["HelmRelease/ingress/ingress", "Kustomization/flux-system/infra-controllers"],
        &[
            "Kustomization/flux-system/infra-controllers",
            "Kustomization/flux-system/infra-configs",
            "Kustomization/flux-system/tenants",
            "Kustomization/team-api/api",
            "Kustomization/team-web/web",
        ],
    ];
    for order in orders {
        let places: Vec<usize> = order.iter().map(|object| ready_at(&told, object)).collect();
        assert!(places.is_sorted(), "{order:?} became ready in another order: {places:?}\n{}", told.join("\n"));
    }
    assert!(ready_at(&told, "Kustomization/flux-system/observability") > ready_at(&told, "Kustomization/flux-system/infra-configs"));
    assert!(tree.len() > 60 && tree.iter().all(|line| line.contains("✔ ")), "{}", tree.join("\n"));
    // From the source down to the objects of a release: each hangs from the one before.
    let depth = |object: &str| {
        let line = tree.iter().find(|line| line.contains(&format!("✔ {object} "))).unwrap_or_else(|| panic!("no {object}"));
        line.chars().take_while(|c| *c != '✔').count() / 4
    };
    let chain = [
        "GitRepository/flux-system/flux-system",
        "Kustomization/flux-system/flux-system",
        "Kustomization/flux-system/infra-controllers",
        "HelmRelease/ingress/ingress",
        "Deployment/ingress/ingress",
    ];
    assert_eq!(chain.map(depth), [0, 1, 2, 3, 4]);
    assert_eq!(tree[0].find('✔'), Some(0), "the source is the root");
    for deployment in ["Deployment/team-web/web", "Deployment/team-api/api", "Deployment/ingress/ingress"] {
        let line = tree.iter().find(|line| line.contains(deployment)).unwrap();
        assert!(line.ends_with(&format!("Replicas: {replicas}")), "{cluster}: {line}");
    }
}

/// The manifest of the release that is deployed, as it is stored.
fn released(up: &Up, namespace: &str, name: &str) -> String {
    let labels = format!("owner=helm,name={name},status=deployed");
    let data = up.kubectl(&["get", "secret", "-n", namespace, "-l", &labels, "-o", "jsonpath={.items[0].data.release}"]).unwrap();
    let decode = |text: &[u8]| base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let packed = decode(&decode(data.as_bytes()));
    let release: Value = serde_json::from_reader(flate2::read::GzDecoder::new(packed.as_slice())).unwrap();
    release["manifest"].as_str().unwrap().to_owned()
}

#[test]
fn dev_comes_up_in_order() {
    check("dev", 1);
}

#[test]
fn staging_comes_up_in_order() {
    check("staging", 2);
}

#[test]
fn prod_comes_up_in_order() {
    check("prod", 3);
}

#[test]
fn edits_of_apps_charts_and_tenants_are_applied_and_what_a_team_may_not_do_is_refused() {
    let folder = example("platform");
    let up = Up::start(folder.path().to_str().unwrap(), &["--path", "clusters/dev"]);
    up.until_ready(1);
    let get = |kind: &str, namespace: &str, name: &str| -> Result<Value, String> {
        serde_json::from_str(&up.kubectl(&["get", kind, name, "-n", namespace, "-o", "json"])?).map_err(|error| error.to_string())
    };
    // An app, a chart and a value of a release, in one save after the other.
    edit(folder.path(), "apps/web/overlays/dev/kustomization.yaml", "count: 1", "count: 2");
    up.until_prints(&["get", "deployment", "web", "-n", "team-web", "-o", "jsonpath={.spec.replicas}"], "2");
    edit(folder.path(), "charts/ingress/templates/class.yaml", "  labels:\n", "  labels:\n    edited: \"yes\"\n");
    edit(folder.path(), "platform-components/ingress/release.yaml", "defaultClass: true", "defaultClass: false");
    let class = ["get", "ingressclass", "ingress", "-o"];
    let edited = r#"jsonpath={.metadata.labels.edited} {.metadata.annotations.ingressclass\.kubernetes\.io/is-default-class}"#;
    up.until_prints(&[&class[..], &[edited]].concat(), "yes ");
    let release = get("helmrelease", "ingress", "ingress").unwrap();
    assert!(release["status"]["history"][0]["version"].as_i64() >= Some(2), "an edit is an upgrade: {}", release["status"]);

    // What the command line builds of a release, from the cluster, is what the controller has released.
    let mut build = Command::new(binary("sluice"));
    build.args(["build", "helmrelease", "ingress", "-n", "ingress", "--no-hooks"]);
    let built = build.env("KUBECONFIG", &up.kubeconfig).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    assert_eq!(String::from_utf8_lossy(&built.stdout).trim(), released(&up, "ingress", "ingress").trim());

    // An object of the whole cluster is beyond the rights of a team: refused, with the account that was refused.
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: grab}\nrules: []\n";
    std::fs::write(folder.path().join("apps/web/overlays/dev/grab.yaml"), role).unwrap();
    edit(folder.path(), "apps/web/overlays/dev/kustomization.yaml", "resources:\n", "resources:\n- grab.yaml\n");
    let why = until("the team to be refused", || {
        let web = get("kustomization", "team-web", "web")?;
        let ready = condition(&web, "Ready").cloned().unwrap_or_default();
        let message = ready["message"].as_str().unwrap_or_default().to_owned();
        if ready["status"] == "False" && message.contains("forbidden") { Ok(message) } else { Err(ready.to_string()) }
    });
    assert!(why.contains("system:serviceaccount:team-web:team-web") && why.contains("clusterroles"), "{why}");
    assert!(up.kubectl(&["get", "clusterrole", "grab"]).is_err(), "nothing was made");
    let others = up
        .kubectl(&[
            "get",
            "kustomizations",
            "-A",
            "-o",
            "jsonpath={range .items[*]}{.metadata.name}={.status.conditions[?(@.type==\"Ready\")].status} {end}",
        ])
        .unwrap();
    for name in ["api", "tenants", "infra-controllers", "infra-configs", "observability", "flux-system"] {
        assert!(others.contains(&format!("{name}=True")), "{name} went on: {others}");
    }

    // The way back is an edit as well.
    edit(folder.path(), "apps/web/overlays/dev/kustomization.yaml", "- grab.yaml\n", "");
    until("the team to be ready again", || {
        let web = get("kustomization", "team-web", "web")?;
        if condition(&web, "Ready").is_some_and(|ready| ready["status"] == "True") { Ok(()) } else { Err(web["status"].to_string()) }
    });
}
