//! The process shell: servers, election, shutdown.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, Lab, eventually, key, ready};
use futures::FutureExt;
use runtime::{LeaderElection, Report, Visit};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn good() -> Bench {
    Bench::new(|widget, context| async move { Report::new(Visit::Never).status(&ready(&widget, context)) }.boxed())
}

fn election(lab: &Lab, identity: &str) -> LeaderElection {
    LeaderElection {
        namespace: lab.namespace.clone(),
        lease: "widget-controller-leader-election".into(),
        identity: identity.into(),
        lease_duration: Duration::from_secs(3),
        renew_deadline: Duration::from_secs(2),
        retry_period: Duration::from_millis(200),
        release_on_cancel: true,
    }
}

#[tokio::test]
async fn of_two_replicas_one_works_and_the_other_takes_over_at_once_when_it_leaves() {
    let lab = Lab::open("election").await;
    let (first_bench, second_bench) = (good(), good());
    let mut settings = lab.settings();
    settings.leader_election = Some(election(&lab, "first"));
    let first = lab.start_with(settings.clone(), &first_bench).await;
    first.process.elected().await;
    settings.leader_election = Some(election(&lab, "second"));
    let second = lab.start_with(settings, &second_bench).await;
    lab.widget("a", json!({"size": 1})).await;
    eventually("the leader works", async || lab.read("a").await.unwrap()["status"]["phase"] == "done").await;
    eventually("the other one sees the object too", async || second.store.len() == 1).await;
    assert!(!second.process.leads());
    assert_eq!(second_bench.calls_of("a"), 0);
    let write = second.process.client().delete(&common::widgets(), &lab.namespace, "a", cluster::Delete::default()).await;
    assert!(matches!(write, Err(cluster::Error::Fenced)), "who does not lead cannot write: {write:?}");

    let left = tokio::time::Instant::now();
    first.end().await;
    second.process.elected().await;
    assert!(left.elapsed() < Duration::from_secs(2), "the lease was given back, not waited for: {:?}", left.elapsed());
    lab.widget("a", json!({"size": 2})).await;
    eventually("the new leader works", async || lab.read("a").await.unwrap()["status"]["observedGeneration"] == 2).await;
    second.end().await;
    lab.close().await;
}

#[tokio::test]
async fn a_leader_that_loses_its_lease_stops_writing_and_stands_again() {
    let lab = Lab::open("lost_lease").await;
    let bench = good();
    let mut settings = lab.settings();
    settings.leader_election = Some(election(&lab, "me"));
    let running = lab.start_with(settings, &bench).await;
    running.process.elected().await;
    let leases = cluster::Resource::namespaced("coordination.k8s.io", "v1", "Lease", "leases");
    let stolen = json!({"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 1}}).to_string().into_bytes();
    let kind = cluster::PatchKind::Merge;
    lab.client.patch(&leases, &lab.namespace, "widget-controller-leader-election", "", kind, "tester", stolen).await.unwrap();
    eventually("it noticed", async || !running.process.leads()).await;
    let write = running.process.client().create(&common::widgets(), &lab.namespace, "", b"{}".to_vec()).await;
    assert!(matches!(write, Err(cluster::Error::Fenced)), "{write:?}");
    // The thief never renews.
    running.process.elected().await;
    lab.widget("a", json!({"size": 1})).await;
    eventually("it works again", async || lab.read("a").await.unwrap()["status"]["phase"] == "done").await;
    running.end().await;
    lab.close().await;
}

#[tokio::test]
async fn metrics_and_health_are_served_and_liveness_follows_checks() {
    let lab = Lab::open("servers").await;
    lab.widget("a", json!({"size": 1})).await;
    let mut settings = lab.settings();
    (settings.metrics_addr, settings.health_addr) = (Some("127.0.0.1:0".into()), Some("127.0.0.1:0".into()));
    let running = lab.start_with(settings.clone(), &good()).await;
    let beside = lab.start_with(settings, &good()).await;
    let get = async |address: std::net::SocketAddr, path: &str| {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (metrics, health) = (running.process.metrics_addr().unwrap(), running.process.health_addr().unwrap());
    assert_ne!(Some(metrics), beside.process.metrics_addr(), "two processes in one program");
    eventually("it is ready", async || get(health, "/readyz").await.0 == 200).await;
    eventually("the object is counted", async || {
        get(metrics, "/metrics")
            .await
            .1
            .contains(&format!("gotk_reconcile_duration_seconds_count{{kind=\"Widget\",name=\"a\",namespace=\"{}\"}}", lab.namespace))
    })
    .await;
    let text = get(metrics, "/metrics").await.1;
    for name in [
        "rest_client_requests_total{code=\"200\"",
        "workqueue_depth{",
        "controller_runtime_reconcile_total{",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert_eq!(get(health, "/healthz").await, (200, "ok".to_owned()));
    assert_eq!(get(health, "/secrets").await.0, 404);
    let broken = Arc::new(AtomicBool::new(false));
    let seen = broken.clone();
    running.process.check("storage", move || if seen.load(Ordering::SeqCst) { Err("disk is gone".into()) } else { Ok(()) });
    assert_eq!(get(health, "/healthz").await.0, 200);
    broken.store(true, Ordering::SeqCst);
    assert_eq!(get(health, "/healthz").await, (500, "storage: disk is gone\n".to_owned()));
    running.end().await;
    beside.end().await;
    lab.close().await;
}

#[tokio::test]
async fn stopping_lets_a_run_finish_and_starts_no_other() {
    let lab = Lab::open("stopping").await;
    lab.widget("a", json!({"size": 1})).await;
    let open = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = open.clone();
    let bench = Bench::new(move |widget, context| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Report::new(Visit::Now).status(&ready(&widget, context))
        }
        .boxed()
    });
    let running = lab.start(&bench).await;
    eventually("it runs", async || running.handle.is_running(&key("a", &lab.namespace))).await;
    running.process.stop();
    let finished = tokio::spawn(running.process.clone().finish());
    open.add_permits(10);
    finished.await.unwrap().unwrap();
    assert_eq!(lab.read("a").await.unwrap()["status"]["phase"], "done", "what it held is finished");
    assert_eq!(bench.calls_of("a"), 1);
    lab.close().await;
}

#[tokio::test]
async fn a_task_that_fails_ends_the_process_with_its_reason() {
    let lab = Lab::open("tasks").await;
    let running = lab.start(&good()).await;
    running.process.spawn("artifact server", async { Err::<(), _>("the port is taken") });
    let error = running.process.finish().await.unwrap_err();
    assert_eq!(error.to_string(), "artifact server ended: the port is taken");
    lab.close().await;
}

#[tokio::test]
async fn events_are_posted_to_the_notification_controller() {
    use http_body_util::BodyExt;
    let lab = Lab::open("notes").await;
    lab.widget("a", json!({"size": 1})).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, mut notes) = tokio::sync::mpsc::unbounded_channel::<serde_json::Value>();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let tell = tell.clone();
                async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    tell.send(serde_json::from_slice(&body).unwrap()).unwrap();
                    Ok::<_, hyper::Error>(hyper::Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(stream), service));
        }
    });
    let bench = Bench::new(|_, _| {
        async {
            let events = [runtime::Event::trace("Quiet", "not for people"), runtime::Event::info("Loud", "done").with("revision", "r1")];
            Report::new(Visit::Never).events(events)
        }
        .boxed()
    });
    let mut settings = lab.settings();
    settings.events_addr = Some(format!("http://{address}/"));
    let running = lab.start_with(settings, &bench).await;
    let note = tokio::time::timeout(Duration::from_secs(20), notes.recv()).await.unwrap().unwrap();
    assert_eq!(
        (&note["reason"], &note["severity"], &note["reportingController"]),
        (&json!("Loud"), &json!("info"), &json!("widget-controller"))
    );
    assert_eq!(note["metadata"], json!({"runtime.example.com/revision": "r1"}));
    assert_eq!(note["involvedObject"]["kind"], "Widget");
    running.end().await;
    assert!(notes.try_recv().is_err(), "traces are not posted");
    lab.close().await;
}
