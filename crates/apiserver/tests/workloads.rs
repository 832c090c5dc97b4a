//! What becomes of workloads: children, rollouts, endings, with and without nodes.

#![allow(clippy::unwrap_used)]

mod client;

use apiserver::{Controllers, Nodes, Options, Running, Server};
use client::Access;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

struct Cluster {
    access: Access,
    _running: Running,
}

impl Cluster {
    async fn start(nodes: Nodes) -> Self {
        let running = Server::start(Options { nodes, ..Options::default() }).await.unwrap();
        Self { access: Access::of_kubeconfig(&running.kubeconfig()), _running: running }
    }

    /// Pods are ready, or done, at once.
    async fn simulated() -> Self {
        Self::start(Nodes::Simulated { ready_after: Duration::ZERO }).await
    }

    async fn send(&self, method: &str, path: &str, content_type: &str, body: &Value) -> (u16, Value) {
        let call = self.access.client.request(method.parse().unwrap(), format!("{}{path}", self.access.base));
        let call = call.bearer_auth(&self.access.token).header("content-type", content_type).body(body.to_string());
        let answer = call.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    async fn create(&self, path: &str, body: Value) -> Value {
        let (code, made) = self.send("POST", path, "application/json", &body).await;
        assert_eq!(code, 201, "{made}");
        made
    }

    async fn patch(&self, path: &str, body: Value) -> Value {
        let (code, made) = self.send("PATCH", path, "application/merge-patch+json", &body).await;
        assert_eq!(code, 200, "{made}");
        made
    }

    async fn delete(&self, path: &str) {
        let (code, answer) = self.send("DELETE", path, "application/json", &json!({"propagationPolicy": "Background"})).await;
        assert!(code < 300, "{answer}");
    }

    async fn get(&self, path: &str) -> Value {
        let call = self.access.client.get(format!("{}{path}", self.access.base)).bearer_auth(&self.access.token);
        serde_json::from_str(&call.send().await.unwrap().text().await.unwrap()).unwrap()
    }

    async fn items(&self, path: &str) -> Vec<Value> {
        self.get(path).await["items"].as_array().unwrap().clone()
    }

    /// Waits until what is at the path is as it should be.
    async fn until(&self, what: &str, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let seen = self.get(path).await;
            if holds(&seen) {
                return seen;
            }
            assert!(begin.elapsed() < PATIENCE, "not {what}: {seen:#}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const STATEFUL: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const DAEMONS: &str = "/apis/apps/v1/namespaces/default/daemonsets";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const CRONS: &str = "/apis/batch/v1/namespaces/default/cronjobs";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

fn pod_spec(image: &str) -> Value {
    json!({"containers": [{"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]})
}

fn workload(kind: &str, name: &str, replicas: u32, image: &str) -> Value {
    let mut out = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(image)}}});
    if kind != "DaemonSet" {
        out["spec"]["replicas"] = json!(replicas);
    }
    out
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.and_then(|list| list.iter().find(|c| c["type"] == kind)).unwrap_or(&Value::Null)
}

fn rolled_out(replicas: u32) -> impl Fn(&Value) -> bool {
    move |d| {
        let status = &d["status"];
        status["observedGeneration"] == d["metadata"]["generation"]
            && ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"].iter().all(|f| status[f] == replicas)
            && condition(d, "Progressing")["reason"] == "NewReplicaSetAvailable"
    }
}

#[tokio::test]
async fn a_deployment_rolls_out_and_keeps_its_history() {
    let cluster = Cluster::simulated().await;
    cluster.create(DEPLOYMENTS, workload("Deployment", "web", 3, "nginx:1")).await;
    let at = format!("{DEPLOYMENTS}/web");
    cluster.until("rolled out", &at, rolled_out(3)).await;
    cluster.patch(&at, json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}})).await;
    let second = cluster.until("rolled out again", &at, |d| d["metadata"]["generation"] == 2 && rolled_out(3)(d)).await;
    assert_eq!(second["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
    let sets = cluster.items(SETS).await;
    let sizes = |sets: &[Value]| {
        let mut out: Vec<(String, u64)> = sets
            .iter()
            .map(|set| {
                let revision = &set["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
                (revision.as_str().unwrap().to_owned(), set["spec"]["replicas"].as_u64().unwrap())
            })
            .collect();
        out.sort();
        out
    };
    assert_eq!(sizes(&sets), [("1".to_owned(), 0), ("2".to_owned(), 3)]);
    // Going back is a third revision of the first template.
    cluster.patch(&at, json!({"spec": {"template": {"metadata": {"annotations": null}}}})).await;
    cluster.until("rolled back", &at, |d| d["metadata"]["generation"] == 3 && rolled_out(3)(d)).await;
    let sets = cluster.items(SETS).await;
    assert_eq!(sizes(&sets), [("2".to_owned(), 0), ("3".to_owned(), 3)]);
    let pods = cluster.items(PODS).await;
    assert_eq!(pods.len(), 3);
    let hash = &pods[0]["metadata"]["labels"]["pod-template-hash"];
    assert!(pods.iter().all(|pod| pod["status"]["phase"] == "Running" && pod["metadata"]["labels"]["pod-template-hash"] == *hash));
    // A pod that is removed comes back.
    cluster.delete(&format!("{PODS}/{}", pods[0]["metadata"]["name"].as_str().unwrap())).await;
    cluster.until("three pods again", PODS, |list| list["items"].as_array().is_some_and(|l| l.len() == 3 && *l != pods)).await;
    cluster.patch(&format!("{at}/scale"), json!({"spec": {"replicas": 1}})).await;
    cluster.until("scaled down", &at, rolled_out(1)).await;
    cluster.delete(&at).await;
    cluster.until("swept", PODS, |list| list["items"] == json!([])).await;
    cluster.until("swept", SETS, |list| list["items"] == json!([])).await;
}

#[tokio::test]
async fn a_failing_rollout_keeps_the_old_pods_and_says_so() {
    let cluster = Cluster::simulated().await;
    let at = format!("{DEPLOYMENTS}/web");
    cluster.create(DEPLOYMENTS, workload("Deployment", "web", 4, "nginx:1")).await;
    cluster.until("rolled out", &at, rolled_out(4)).await;
    let broken = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "sluice.dev/fail:1"}]}}}});
    cluster.patch(&at, broken).await;
    let failed = cluster.until("failed", &at, |d| condition(d, "Progressing")["reason"] == "ProgressDeadlineExceeded").await;
    assert_eq!(condition(&failed, "Available")["status"], "True", "a quarter may be missing, no more");
    assert_eq!(failed["status"]["availableReplicas"], 3);
    assert_eq!((&failed["status"]["replicas"], &failed["status"]["updatedReplicas"]), (&json!(5), &json!(2)));
    let pods = cluster.items(PODS).await;
    assert!(pods.iter().any(|pod| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"));
}

#[tokio::test]
async fn pods_hang_flap_and_wait_as_their_images_say() {
    let cluster = Cluster::simulated().await;
    cluster.create(DEPLOYMENTS, workload("Deployment", "hang", 1, "sluice.dev/hang:1")).await;
    cluster.create(DEPLOYMENTS, workload("Deployment", "flap", 1, "sluice.dev/flap:100ms")).await;
    cluster.create(DEPLOYMENTS, workload("Deployment", "slow", 1, "sluice.dev/ready:300ms")).await;
    let ready = |d: &Value| d["status"]["availableReplicas"] == 1;
    for expected in [true, false, true] {
        cluster.until("flapping", &format!("{DEPLOYMENTS}/flap"), |d| ready(d) == expected).await;
    }
    cluster.until("ready in the end", &format!("{DEPLOYMENTS}/slow"), ready).await;
    let hangs = cluster.get(&format!("{DEPLOYMENTS}/hang")).await;
    assert_eq!((&hangs["status"]["replicas"], ready(&hangs)), (&json!(1), false));
    assert_eq!(condition(&hangs, "Progressing")["status"], "True", "it is not given up before its deadline");
}

#[tokio::test]
async fn without_nodes_pods_stay_pending_and_workloads_without_pods_are_done() {
    let cluster = Cluster::start(Nodes::None).await;
    cluster.create(DEPLOYMENTS, workload("Deployment", "none", 0, "nginx")).await;
    cluster.create(DEPLOYMENTS, workload("Deployment", "one", 1, "nginx")).await;
    cluster.create(STATEFUL, workload("StatefulSet", "db", 3, "nginx")).await;
    cluster.create(DAEMONS, workload("DaemonSet", "agent", 0, "nginx")).await;
    cluster.until("done", &format!("{DEPLOYMENTS}/none"), |d| condition(d, "Progressing")["reason"] == "NewReplicaSetAvailable").await;
    cluster
        .until("waiting", &format!("{DEPLOYMENTS}/one"), |d| {
            d["status"]["unavailableReplicas"] == 1 && condition(d, "Available")["status"] == "False"
        })
        .await;
    cluster.until("waiting for the first", &format!("{STATEFUL}/db"), |s| s["status"]["replicas"] == 1).await;
    let daemons = cluster.until("seen", &format!("{DAEMONS}/agent"), |d| d["status"]["observedGeneration"] == 1).await;
    assert_eq!(daemons["status"]["desiredNumberScheduled"], 0);
    let pods = cluster.items(PODS).await;
    assert_eq!(pods.len(), 2);
    assert!(pods.iter().all(|pod| pod["status"]["phase"] == "Pending" && pod["spec"].get("nodeName").is_none()));
}

#[tokio::test]
async fn a_stateful_set_makes_pods_in_order_with_claims_of_their_own() {
    let cluster = Cluster::simulated().await;
    let mut set = workload("StatefulSet", "db", 3, "postgres:1");
    set["spec"]["serviceName"] = json!("db");
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    cluster.create(STATEFUL, set).await;
    let at = format!("{STATEFUL}/db");
    let ready = |s: &Value| s["status"]["readyReplicas"] == 3 && s["status"]["updatedReplicas"] == 3;
    let first = cluster.until("ready", &at, ready).await;
    let claims = cluster.until("bound", "/api/v1/namespaces/default/persistentvolumeclaims", |list| {
        let list = list["items"].as_array().unwrap();
        list.len() == 3 && list.iter().all(|claim| claim["status"]["phase"] == "Bound")
    });
    let claims = claims.await;
    assert_eq!(claims["items"][0]["metadata"]["name"], "data-db-0");
    let volumes = cluster.items("/api/v1/persistentvolumes").await;
    assert!(volumes.len() == 3 && volumes.iter().all(|volume| volume["status"]["phase"] == "Bound"));
    cluster.patch(&at, json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}})).await;
    let second = cluster
        .until("updated", &at, |s| {
            ready(s)
                && s["status"]["currentRevision"] == s["status"]["updateRevision"]
                && s["status"]["updateRevision"] != first["status"]["updateRevision"]
        })
        .await;
    let revisions = cluster.items("/apis/apps/v1/namespaces/default/controllerrevisions").await;
    assert_eq!(revisions.len(), 2);
    let pods = cluster.items(PODS).await;
    assert!(pods.iter().all(|pod| pod["metadata"]["labels"]["controller-revision-hash"] == second["status"]["updateRevision"]));
    // A claim that goes takes the volume along that was made for it.
    cluster.delete(&at).await;
    cluster.until("no pods", PODS, |list| list["items"] == json!([])).await;
    cluster.delete("/api/v1/namespaces/default/persistentvolumeclaims/data-db-2").await;
    cluster.until("two volumes", "/api/v1/persistentvolumes", |list| list["items"].as_array().unwrap().len() == 2).await;
}

#[tokio::test]
async fn a_daemon_set_has_a_pod_on_every_node() {
    let cluster = Cluster::simulated().await;
    cluster.create(DAEMONS, workload("DaemonSet", "agent", 0, "agent:1")).await;
    let at = format!("{DAEMONS}/agent");
    let ready = |count: u32| move |d: &Value| d["status"]["numberReady"] == count && d["status"]["updatedNumberScheduled"] == count;
    cluster.until("on one node", &at, ready(1)).await;
    cluster.create("/api/v1/nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "second"}})).await;
    cluster.until("on two nodes", &at, ready(2)).await;
    let nodes: Vec<Value> = cluster.items(PODS).await.iter().map(|pod| pod["spec"]["nodeName"].clone()).collect();
    assert!(nodes.contains(&json!("second")) && nodes.len() == 2);
    cluster.patch(&at, json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}})).await;
    cluster.until("updated", &at, |d| d["status"]["observedGeneration"] == 2 && ready(2)(d)).await;
    cluster.delete("/api/v1/nodes/second").await;
    cluster.until("on one node again", &at, ready(1)).await;
}

fn job(name: &str, image: &str, spec: Value) -> Value {
    let mut out = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec});
    out["spec"]["template"]["spec"] = pod_spec(image);
    out["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    out
}

#[tokio::test]
async fn jobs_complete_fail_and_are_forgotten() {
    let cluster = Cluster::simulated().await;
    cluster.create(JOBS, job("good", "busybox", json!({"completions": 5, "parallelism": 2, "completionMode": "Indexed"}))).await;
    cluster.create(JOBS, job("bad", "sluice.dev/fail:1", json!({"backoffLimit": 2}))).await;
    cluster.create(JOBS, job("brief", "busybox", json!({"ttlSecondsAfterFinished": 0}))).await;
    cluster.create(JOBS, job("later", "busybox", json!({"suspend": true}))).await;
    cluster.create(JOBS, job("elsewhere", "busybox", json!({"managedBy": "example.com/queue"}))).await;
    let mut restarting = job("restarting", "sluice.dev/fail:1ms", json!({"backoffLimit": 1}));
    restarting["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure");
    cluster.create(JOBS, restarting).await;
    let good = cluster.until("complete", &format!("{JOBS}/good"), |j| condition(j, "Complete")["status"] == "True").await;
    assert_eq!((&good["status"]["succeeded"], &good["status"]["completedIndexes"]), (&json!(5), &json!("0-4")));
    let bad = cluster.until("failed", &format!("{JOBS}/bad"), |j| condition(j, "Failed")["status"] == "True").await;
    assert_eq!((&bad["status"]["failed"], &condition(&bad, "Failed")["reason"]), (&json!(3), &json!("BackoffLimitExceeded")));
    cluster.until("failed", &format!("{JOBS}/restarting"), |j| condition(j, "Failed")["status"] == "True").await;
    cluster.until("forgotten", &format!("{JOBS}/brief"), |j| j["code"] == 404).await;
    let later = cluster.until("suspended", &format!("{JOBS}/later"), |j| condition(j, "Suspended")["status"] == "True").await;
    assert!(later["status"].get("active").is_none());
    cluster.patch(&format!("{JOBS}/later"), json!({"spec": {"suspend": false}})).await;
    cluster.until("resumed and complete", &format!("{JOBS}/later"), |j| condition(j, "Complete")["status"] == "True").await;
    let elsewhere = cluster.get(&format!("{JOBS}/elsewhere")).await;
    assert_eq!(elsewhere["status"], json!({}), "a Job that another controller manages is left to it");
    // Pods that were counted are held by nothing.
    for name in ["good", "bad", "later", "restarting", "elsewhere"] {
        cluster.delete(&format!("{JOBS}/{name}")).await;
    }
    cluster.until("swept", PODS, |list| list["items"] == json!([])).await;
}

#[tokio::test]
async fn a_cron_job_runs_and_keeps_little() {
    let cluster = Cluster::simulated().await;
    let mut cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"},
        "spec": {"schedule": "@every 1s", "successfulJobsHistoryLimit": 1, "jobTemplate": {"spec": {"template": {}}}}});
    cron["spec"]["jobTemplate"]["spec"]["template"]["spec"] = pod_spec("busybox");
    cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure");
    cluster.create(CRONS, cron).await;
    let seen = cluster.until("it has run", &format!("{CRONS}/tick"), |c| c["status"].get("lastSuccessfulTime").is_some()).await;
    assert!(seen["status"].get("lastScheduleTime").is_some());
    cluster.patch(&format!("{CRONS}/tick"), json!({"spec": {"suspend": true}})).await;
    cluster.until("one job is kept", JOBS, |list| list["items"].as_array().unwrap().len() == 1).await;
}

#[tokio::test]
async fn services_lead_to_ready_pods() {
    let cluster = Cluster::simulated().await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    cluster.create(SERVICES, service).await;
    let endpoints = "/api/v1/namespaces/default/endpoints/web";
    cluster.until("there, and empty", endpoints, |e| e["kind"] == "Endpoints" && e.get("subsets").is_none()).await;
    cluster.create(DEPLOYMENTS, workload("Deployment", "web", 2, "nginx")).await;
    cluster
        .create(
            PODS,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "sluice.dev/fail:1", "ports": [{"name": "http", "containerPort": 8080}]}]}}),
        )
        .await;
    let full = cluster
        .until("full", endpoints, |e| {
            let length = |field: &str| e["subsets"][0][field].as_array().map_or(0, Vec::len);
            (length("addresses"), length("notReadyAddresses")) == (2, 1)
        })
        .await;
    assert_eq!(full["subsets"][0]["ports"][0]["port"], 8080);
    let slices = cluster
        .until("sliced", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", |list| {
            list["items"].as_array().is_some_and(|l| l.len() == 1 && l[0]["endpoints"].as_array().is_some_and(|e| e.len() == 3))
        })
        .await;
    assert_eq!(slices["items"][0]["metadata"]["labels"]["kubernetes.io/service-name"], "web");
    let addressed = cluster.get(&format!("{SERVICES}/web")).await;
    assert!(addressed["status"]["loadBalancer"]["ingress"][0]["ip"].is_string());
    cluster.delete(&format!("{SERVICES}/web")).await;
    cluster.until("gone", endpoints, |e| e["code"] == 404).await;
    cluster.until("gone", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", |list| list["items"] == json!([])).await;
}

#[tokio::test]
async fn budgets_count_pods_and_autoscalers_keep_bounds() {
    let cluster = Cluster::simulated().await;
    cluster.create(DEPLOYMENTS, workload("Deployment", "web", 2, "nginx")).await;
    cluster
        .create(
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}}),
        )
        .await;
    cluster.create("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {"minReplicas": 4, "maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}})).await;
    cluster.until("scaled up to the bound", &format!("{DEPLOYMENTS}/web"), rolled_out(4)).await;
    let budget = cluster
        .until("counted", "/apis/policy/v1/namespaces/default/poddisruptionbudgets/web", |b| b["status"]["currentHealthy"] == 4)
        .await;
    assert_eq!((&budget["status"]["desiredHealthy"], &budget["status"]["disruptionsAllowed"]), (&json!(3), &json!(1)));
    let scaler = cluster.get("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/web").await;
    assert_eq!(condition(&scaler, "AbleToScale")["status"], "True");
}

#[tokio::test]
async fn controllers_that_are_left_out_do_nothing() {
    let controllers = Controllers::parse("*,-replicaset").unwrap();
    let running = Server::start(Options { controllers, ..Options::default() }).await.unwrap();
    let cluster = Cluster { access: Access::of_kubeconfig(&running.kubeconfig()), _running: running };
    cluster.create(DEPLOYMENTS, workload("Deployment", "web", 1, "nginx")).await;
    cluster.until("it has a set", SETS, |list| list["items"].as_array().unwrap().len() == 1).await;
    cluster.create(JOBS, job("good", "busybox", json!({}))).await;
    cluster.until("complete", &format!("{JOBS}/good"), |j| condition(j, "Complete")["status"] == "True").await;
    assert!(cluster.items(PODS).await.iter().all(|pod| pod["metadata"]["labels"].get("app").is_none()));
}

fn quota(hard: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}})
}

#[tokio::test]
async fn a_quota_holds_back_pods_until_it_is_raised() {
    let cluster = Cluster::simulated().await;
    let (quotas, sets, pods) = (
        "/api/v1/namespaces/default/resourcequotas",
        "/api/v1/namespaces/default/replicationcontrollers",
        "/api/v1/namespaces/default/pods",
    );
    cluster.create(quotas, quota(json!({"pods": "2"}))).await;
    let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let set = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "a"}, "spec": {"replicas": 3, "template": template}});
    cluster.create(sets, set).await;
    let refused = |set: &Value| set["status"]["conditions"][0]["message"].as_str().is_some_and(|why| why.contains("exceeded quota: q"));
    cluster.until("two pods and a reason", &format!("{sets}/a"), |set| set["status"]["readyReplicas"] == 2 && refused(set)).await;
    cluster.until("both counted", &format!("{quotas}/q"), |quota| quota["status"]["used"]["pods"] == "2").await;
    cluster.patch(&format!("{quotas}/q"), json!({"spec": {"hard": {"pods": "5"}}})).await;
    cluster.until("three pods", &format!("{sets}/a"), |set| set["status"]["readyReplicas"] == 3 && !refused(set)).await;
    cluster.patch(&format!("{sets}/a"), json!({"spec": {"replicas": 0}})).await;
    cluster.until("nothing used", &format!("{quotas}/q"), |quota| quota["status"]["used"]["pods"] == "0").await;
    assert!(cluster.items(pods).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_at_the_same_time_do_not_pass_a_quota() {
    let cluster = std::sync::Arc::new(Cluster::start(Nodes::None).await);
    cluster.create("/api/v1/namespaces/default/resourcequotas", quota(json!({"count/secrets": "7"}))).await;
    let writes = (0..40).map(|n| {
        let cluster = std::sync::Arc::clone(&cluster);
        // Some of a name that is there already: what they took is given back.
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("s{}", n % 20)}});
        tokio::spawn(async move { cluster.send("POST", "/api/v1/namespaces/default/secrets", "application/json", &secret).await.0 })
    });
    let codes: Vec<u16> = futures::future::join_all(writes).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 7, "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, 201 | 403 | 409)), "{codes:?}");
    let used = cluster.get("/api/v1/namespaces/default/resourcequotas/q").await;
    assert_eq!(used["status"]["used"]["count/secrets"], "7");
}

#[tokio::test]
async fn what_a_quota_counts_follows_a_pod_into_another_scope_and_no_client_decides_it() {
    let cluster = Cluster::start(Nodes::None).await;
    const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
    for scope in ["Terminating", "NotTerminating"] {
        let scopes = json!({"matchExpressions": [{"scopeName": scope, "operator": "Exists"}]});
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": scope.to_lowercase()},
            "spec": {"hard": {"pods": "1"}, "scopeSelector": scopes}});
        cluster.create(QUOTAS, quota).await;
    }
    let used = |count: &'static str| move |quota: &Value| quota["status"]["used"]["pods"] == count;
    let (ends, stays) = (format!("{QUOTAS}/terminating"), format!("{QUOTAS}/notterminating"));
    cluster.create(PODS, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod_spec("i:1")})).await;
    cluster.until("counted", &stays, used("1")).await;
    assert!(used("0")(&cluster.get(&ends).await));
    cluster.patch(&format!("{PODS}/a"), json!({"spec": {"activeDeadlineSeconds": 100}})).await;
    cluster.until("counted by the other", &ends, used("1")).await;
    cluster.until("counted no more", &stays, used("0")).await;
    // Whoever writes into the status has no say in what is used.
    cluster.patch(&format!("{stays}/status"), json!({"status": {"used": {"pods": "7"}}})).await;
    cluster.until("counted anew", &stays, used("0")).await;
}

#[tokio::test]
async fn pods_of_workloads_get_the_defaults_of_a_limit_range_and_keep_its_bounds() {
    let cluster = Cluster::simulated().await;
    let limits = json!([{"type": "Container", "default": {"memory": "64Mi"}, "max": {"memory": "128Mi"}}]);
    let range = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "a"}, "spec": {"limits": limits}});
    cluster.create("/api/v1/namespaces/default/limitranges", range).await;
    cluster.create(DEPLOYMENTS, workload("Deployment", "small", 1, "i:1")).await;
    cluster.until("rolled out", &format!("{DEPLOYMENTS}/small"), rolled_out(1)).await;
    let pod = &cluster.items(PODS).await[0];
    assert_eq!(pod["spec"]["containers"][0]["resources"], json!({"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi"}}));
    let told = &pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"];
    assert_eq!(told, "LimitRanger plugin set: memory request for container c; memory limit for container c");
    let mut large = workload("Deployment", "large", 1, "i:1");
    large["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "1Gi"}});
    cluster.create(DEPLOYMENTS, large).await;
    cluster
        .until("refused", SETS, |sets| {
            let told = |set: &Value| condition(set, "ReplicaFailure")["message"].as_str().unwrap_or("").to_owned();
            let mut sets = sets["items"].as_array().into_iter().flatten();
            sets.any(|set| told(set).contains("maximum memory usage per Container is 128Mi, but limit is 1Gi"))
        })
        .await;
}
