//! The controller loop against an API server.

#![allow(clippy::unwrap_used)]

mod common;

use cluster::{PatchKind, Resource, Selection, Verb};
use common::{Bench, FINALIZER, Lab, WidgetStatus, condition, eventually, key, ready, widgets};
use futures::FutureExt;
use runtime::{Event, Report, Visit};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Reports ready, and lets deleted objects go.
fn good() -> Bench {
    Bench::new(|widget, context| {
        async move {
            if context.meta().is_deleting() {
                return Report::new(Visit::Never).release();
            }
            Report::new(Visit::Interval(Duration::from_secs(3600))).status(&ready(&widget, context))
        }
        .boxed()
    })
}

#[tokio::test]
async fn first_sight_takes_two_writes_and_everything_after_takes_none() {
    let lab = Lab::open("first_sight").await;
    lab.widget("a", json!({"size": 1})).await;
    let bench = good();
    let running = lab.start(&bench).await;
    eventually("it is ready", async || lab.read("a").await.is_some_and(|a| a["status"]["phase"] == "done")).await;
    let stored = lab.read("a").await.unwrap();
    assert_eq!(stored["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(running.writes(), 2, "the finalizer and the status: {:?}", running.process.client().counts());
    let manager =
        stored["metadata"]["managedFields"].as_array().unwrap().iter().find(|field| field["subresource"] == "status").unwrap().clone();
    assert_eq!(manager["manager"], "widget-controller");

    running.handle.trigger(&key("a", &lab.namespace));
    eventually("it ran again", async || bench.calls_of("a") == 2).await;
    lab.patch("a", json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}})).await;
    eventually("it ran on request", async || bench.calls_of("a") == 3).await;
    // A change that asks for nothing, and one that does: when the second has been answered, the first was passed over.
    lab.patch("a", json!({"metadata": {"labels": {"x": "y"}}})).await;
    lab.patch("a", json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "again"}}})).await;
    eventually("it ran on the second request", async || bench.calls_of("a") == 4).await;
    assert_eq!(running.writes(), 2);
    running.end().await;
    assert_eq!(bench.calls_of("a"), 4);

    let restarted = lab.start(&bench).await;
    eventually("it was looked at after the restart", async || bench.calls_of("a") == 5).await;
    lab.widget("a", json!({"size": 2})).await;
    eventually("the new generation is ready", async || lab.read("a").await.unwrap()["status"]["observedGeneration"] == 2).await;
    assert_eq!(restarted.writes(), 1, "one status for one transition");
    assert_eq!(condition(&lab.read("a").await.unwrap(), "Ready").unwrap()["message"], "size 2");
    restarted.end().await;
    lab.close().await;
}

#[tokio::test]
async fn an_object_that_does_not_decode_says_so_and_stops_no_other() {
    let lab = Lab::open("undecodable").await;
    lab.widget("bad", json!({"size": "large"})).await;
    let kept = json!({"status": {"inventory": ["precious"]}}).to_string().into_bytes();
    lab.client.patch(&widgets(), &lab.namespace, "bad", "status", PatchKind::Merge, "tester", kept).await.unwrap();
    lab.widget("good", json!({"size": 1})).await;
    let bench = good();
    let running = lab.start(&bench).await;
    eventually("the good one is ready", async || lab.read("good").await.unwrap()["status"]["phase"] == "done").await;
    eventually("the bad one says so", async || condition(&lab.read("bad").await.unwrap(), "Stalled").is_some()).await;
    let bad = lab.read("bad").await.unwrap();
    let ready = condition(&bad, "Ready").unwrap();
    assert_eq!((ready["status"].as_str(), ready["reason"].as_str()), (Some("False"), Some("InvalidObject")));
    assert!(ready["message"].as_str().unwrap().contains("invalid type: string \"large\", expected i64"), "{ready}");
    assert_eq!(bad["status"]["inventory"], json!(["precious"]), "what was known stays");
    assert_eq!(bench.calls_of("bad"), 0);

    lab.widget("bad", json!({"size": 3})).await;
    lab.client
        .patch(
            &widgets(),
            &lab.namespace,
            "bad",
            "status",
            PatchKind::Merge,
            "tester",
            json!({"status": {"inventory": null}}).to_string().into_bytes(),
        )
        .await
        .unwrap();
    eventually("mended, it is reconciled", async || lab.read("bad").await.unwrap()["status"]["phase"] == "done").await;
    running.end().await;
    lab.close().await;
}

#[tokio::test]
async fn a_deleted_object_goes_when_its_clean_up_is_complete() {
    let lab = Lab::open("deletion").await;
    lab.widget("a", json!({"size": 1})).await;
    let allowed = Arc::new(AtomicBool::new(false));
    let gate = allowed.clone();
    let bench = Bench::new(move |widget, context| {
        let gate = gate.clone();
        async move {
            match (context.meta().is_deleting(), gate.load(Ordering::SeqCst)) {
                (true, true) => Report::new(Visit::Never).release().event(Event::info("Deleted", "cleaned up")),
                (true, false) => Report::new(Visit::After(Duration::from_millis(50))),
                (false, _) => Report::new(Visit::Never).status(&ready(&widget, context)),
            }
        }
        .boxed()
    });
    let running = lab.start(&bench).await;
    eventually("it is ready", async || lab.read("a").await.unwrap()["status"]["phase"] == "done").await;
    lab.delete("a").await;
    eventually("the clean-up is tried", async || bench.calls_of("a") >= 4).await;
    assert!(lab.read("a").await.is_some(), "the finalizer holds it");
    allowed.store(true, Ordering::SeqCst);
    eventually("it is gone", async || lab.read("a").await.is_none()).await;
    eventually("its memory is gone", async || bench.gone.lock().unwrap().as_slice() == ["a"]).await;
    assert!(running.store.is_empty());

    // The same name again is another object.
    allowed.store(false, Ordering::SeqCst);
    lab.widget("a", json!({"size": 9})).await;
    eventually("the new one is ready", async || {
        lab.read("a").await.is_some_and(|a| condition(&a, "Ready").is_some_and(|ready| ready["message"] == "size 9"))
    })
    .await;
    allowed.store(true, Ordering::SeqCst);
    lab.delete("a").await;
    eventually("the second one is gone", async || lab.read("a").await.is_none()).await;
    running.end().await;
    lab.close().await;
}

#[tokio::test]
async fn a_panic_and_a_hang_cost_their_own_object_a_back_off_and_nothing_else() {
    let lab = Lab::open("panic_and_hang").await;
    for name in ["good", "hangs", "panics"] {
        lab.widget(name, json!({"size": 1})).await;
    }
    let mut bench = Bench::new(|widget, context| {
        async move {
            match context.key().name.as_str() {
                "panics" => panic!("on purpose"),
                // Ends when it is told that its time is up.
                "hangs" => {
                    context.cancellation().cancelled().await;
                    Report::new(Visit::Backoff)
                }
                _ => Report::new(Visit::Never).status(&ready(&widget, context)),
            }
        }
        .boxed()
    });
    bench.limit = Duration::from_millis(200);
    let running = lab.start(&bench).await;
    eventually("the good one is ready", async || lab.read("good").await.unwrap()["status"]["phase"] == "done").await;
    eventually("the others are tried again", async || bench.calls_of("panics") >= 3 && bench.calls_of("hangs") >= 3).await;
    let panicked = lab.read("panics").await.unwrap();
    assert_eq!(condition(&panicked, "Ready").unwrap()["status"], "False");
    assert!(condition(&panicked, "Stalled").is_none(), "it is tried again");
    let text = running.process.metrics().text();
    assert!(!text.contains("controller_runtime_reconcile_panics_total{controller=\"widget\"} 0"), "{text}");
    assert!(text.contains("controller_runtime_reconcile_panics_total"), "{text}");
    running.end().await;
    lab.close().await;
}

#[tokio::test]
async fn a_visit_during_work_that_goes_on_leaves_what_was_shown_of_it() {
    let lab = Lab::open("under-way").await;
    lab.widget("slow", json!({"size": 1})).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let bench = Bench::new(move |_, _| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        async move {
            let working = json!({"conditions": [{"type": "Reconciling", "status": "True", "reason": "Progressing", "message": "at work", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
            if call == 0 { Report::new(Visit::Never).status_soon(&working) } else { Report::under_way() }
        }
        .boxed()
    });
    let running = lab.start(&bench).await;
    eventually("the first visit is over", async || bench.calls_of("slow") == 1).await;
    // Before the state is shown, and after.
    running.handle.trigger(&key("slow", &lab.namespace));
    let shown = async || lab.read("slow").await.is_some_and(|object| condition(&object, "Reconciling").is_some());
    eventually("the state on the way is shown", async || bench.calls_of("slow") >= 2 && shown().await).await;
    let before = bench.calls_of("slow");
    running.handle.trigger(&key("slow", &lab.namespace));
    eventually("it was looked at again", async || bench.calls_of("slow") > before).await;
    eventually("the visit is over", async || !running.handle.is_running(&key("slow", &lab.namespace))).await;
    assert!(shown().await, "the state is still shown");
    running.end().await;
    lab.close().await;
}

#[tokio::test]
async fn one_object_never_runs_twice_at_a_time_and_others_run_beside_it() {
    let lab = Lab::open("serial").await;
    for name in ["a", "b", "c"] {
        lab.widget(name, json!({"size": 1})).await;
    }
    let (open, most) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, peak) = (open.clone(), most.clone());
    let bench = Bench::new(move |_, context| {
        let (gate, peak) = (gate.clone(), peak.clone());
        async move {
            if context.key().name == "a" {
                peak.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                peak.fetch_sub(1, Ordering::SeqCst);
            }
            Report::new(Visit::Never)
        }
        .boxed()
    });
    let running = lab.start(&bench).await;
    eventually("the others are done while a runs", async || {
        bench.calls_of("b") == 1 && bench.calls_of("c") == 1 && bench.calls_of("a") == 1
    })
    .await;
    for _ in 0..5 {
        running.handle.trigger(&key("a", &lab.namespace));
        running.handle.trigger(&key("b", &lab.namespace));
    }
    eventually("b ran again", async || bench.calls_of("b") >= 2).await;
    assert_eq!((bench.calls_of("a"), most.load(Ordering::SeqCst)), (1, 1), "a still runs, once");
    open.add_permits(1);
    eventually("a runs once more for all the triggers", async || bench.calls_of("a") == 2).await;
    open.add_permits(1);
    eventually("a came to rest", async || !running.handle.is_running(&key("a", &lab.namespace))).await;
    assert_eq!(bench.calls_of("a"), 2);
    running.end().await;
    lab.close().await;
}

#[tokio::test]
async fn a_trigger_can_tell_a_run_that_it_is_pointless() {
    let lab = Lab::open("cancel").await;
    lab.widget("a", json!({"size": 1})).await;
    let bench = Bench::new(|widget, context| {
        async move {
            if widget.spec.size == 1 && context.failures() == 0 {
                context.cancellation().cancelled().await;
                return Report::new(Visit::Never).event(Event::info("Canceled", "a newer revision came"));
            }
            Report::new(Visit::Never)
        }
        .boxed()
    });
    let running = lab.start(&bench).await;
    eventually("it runs", async || running.handle.is_running(&key("a", &lab.namespace))).await;
    running.handle.trigger_and_cancel(&key("a", &lab.namespace));
    eventually("it runs anew", async || bench.calls_of("a") == 2).await;
    running.end().await;
    lab.close().await;
}

#[tokio::test]
async fn states_on_the_way_are_seen_when_they_last_and_checkpoints_at_once() {
    let lab = Lab::open("progress").await;
    lab.widget("slow", json!({"size": 1})).await;
    lab.widget("quick", json!({"size": 1})).await;
    let open = Arc::new(tokio::sync::Semaphore::new(0));
    let gate = open.clone();
    let bench = Bench::new(move |widget, context| {
        let gate = gate.clone();
        async move {
            context.progress(&WidgetStatus { phase: "fetching".into(), ..WidgetStatus::default() });
            if context.key().name == "slow" {
                gate.acquire().await.unwrap().forget();
                context.checkpoint(&WidgetStatus { phase: "applying".into(), ..WidgetStatus::default() }).await.unwrap();
                gate.acquire().await.unwrap().forget();
            }
            Report::new(Visit::Never).status(&ready(&widget, context))
        }
        .boxed()
    });
    let running = lab.start(&bench).await;
    let phase = async |name: &str| lab.read(name).await.unwrap()["status"]["phase"].as_str().unwrap_or_default().to_owned();
    eventually("the quick one is done", async || phase("quick").await == "done").await;
    eventually("the slow one shows what it does", async || phase("slow").await == "fetching").await;
    assert_eq!(running.writes(), 4, "two finalizers, one status on the way, one at the end");
    open.add_permits(1);
    eventually("the checkpoint is stored", async || phase("slow").await == "applying").await;
    open.add_permits(1);
    eventually("the slow one is done", async || phase("slow").await == "done").await;
    assert_eq!(running.writes(), 6);
    running.end().await;
    lab.close().await;
}

#[tokio::test]
async fn a_report_that_may_wait_is_written_only_when_nothing_replaces_it() {
    let lab = Lab::open("soon").await;
    lab.widget("a", json!({"size": 1})).await;
    let ready_now = Arc::new(AtomicBool::new(false));
    let flag = ready_now.clone();
    let bench = Bench::new(move |widget, context| {
        let flag = flag.clone();
        async move {
            if flag.load(Ordering::SeqCst) {
                return Report::new(Visit::Never).status(&ready(&widget, context));
            }
            Report::new(Visit::Never).status_soon(&WidgetStatus { phase: "waiting".into(), ..WidgetStatus::default() })
        }
        .boxed()
    });
    let running = lab.start(&bench).await;
    eventually("the wait is shown though nothing runs", async || lab.read("a").await.unwrap()["status"]["phase"] == "waiting").await;
    assert_eq!(running.writes(), 2);
    ready_now.store(true, Ordering::SeqCst);
    running.handle.trigger(&key("a", &lab.namespace));
    eventually("it is done", async || lab.read("a").await.unwrap()["status"]["phase"] == "done").await;
    assert_eq!(running.writes(), 3);
    running.end().await;
    lab.close().await;
}

#[tokio::test]
async fn a_status_reaches_an_object_that_was_changed_meanwhile() {
    let lab = Lab::open("conflict").await;
    lab.widget("changed", json!({"size": 1})).await;
    let lab = Arc::new(lab);
    let meddler = lab.clone();
    let bench = Bench::new(move |widget, context| {
        let lab = meddler.clone();
        async move {
            if bench_first(context) {
                // Somebody writes to the object after the controller looked at it.
                lab.patch(&context.key().name, json!({"metadata": {"annotations": {"edited": "by hand"}}})).await;
            }
            Report::new(Visit::Never).status(&ready(&widget, context))
        }
        .boxed()
    });
    fn bench_first(context: &runtime::Context) -> bool {
        !context.meta().annotations.contains_key("edited")
    }
    let running = lab.start(&bench).await;
    eventually("the status is there", async || lab.read("changed").await.unwrap()["status"]["phase"] == "done").await;
    assert_eq!(lab.read("changed").await.unwrap()["metadata"]["annotations"]["edited"], "by hand");
    assert!(!running.process.client().counts().snapshot().keys().any(|(verb, code)| *verb == Verb::Patch && *code >= 500));
    running.end().await;
    lab.close().await;
}

#[tokio::test]
async fn events_reach_the_cluster_with_their_annotations_and_repeats_are_counted() {
    let lab = Lab::open("events").await;
    lab.apply(
        &widgets(),
        json!({"metadata": {"name": "a", "namespace": lab.namespace, "annotations": {"event.toolkit.fluxcd.io/team": "x"}}, "spec": {"size": 1}}),
    )
    .await;
    let bench = Bench::new(|_, _| {
        async { Report::new(Visit::Never).event(Event::error("Broken", "it is broken").with("revision", "main@sha1:1")) }.boxed()
    });
    let running = lab.start(&bench).await;
    let events = Resource::namespaced("", "v1", "Event", "events");
    let selection = Selection { namespace: lab.namespace.clone(), fields: "involvedObject.name=a".into(), ..Selection::default() };
    let read = async || -> Vec<Value> {
        let items = lab.client.list(&events, &selection).await.unwrap();
        items.iter().map(|item| serde_json::from_str(item.get()).unwrap()).collect()
    };
    eventually("the event is there", async || read().await.len() == 1).await;
    running.handle.trigger(&key("a", &lab.namespace));
    eventually("it is counted", async || read().await[0]["count"] == 2).await;
    let event = read().await.remove(0);
    assert_eq!(
        event["metadata"]["annotations"],
        json!({"event.toolkit.fluxcd.io/team": "x", "runtime.example.com/revision": "main@sha1:1"})
    );
    assert_eq!(
        (&event["type"], &event["reason"], &event["reportingComponent"]),
        (&json!("Warning"), &json!("Broken"), &json!("widget-controller"))
    );
    assert_eq!(event["involvedObject"]["uid"], lab.read("a").await.unwrap()["metadata"]["uid"]);
    running.end().await;
    lab.close().await;
}

#[tokio::test]
async fn a_shard_sees_its_own_objects_only() {
    let lab = Lab::open("shards").await;
    let labelled = |name: &str, shard: Value| json!({"metadata": {"name": name, "namespace": lab.namespace, "labels": {"sharding.fluxcd.io/key": shard}}, "spec": {"size": 1}});
    lab.apply(&widgets(), labelled("one", json!("shard1"))).await;
    lab.widget("main", json!({"size": 1})).await;
    let bench = good();
    let mut settings = lab.settings();
    settings.watch_label_selector = "sharding.fluxcd.io/key=shard1".into();
    let running = lab.start_with(settings, &bench).await;
    eventually("its own object is ready", async || lab.read("one").await.unwrap()["status"]["phase"] == "done").await;
    lab.patch("main", json!({"metadata": {"labels": {"sharding.fluxcd.io/key": "shard1"}}})).await;
    eventually("an object that joins is reconciled", async || lab.read("main").await.unwrap()["status"]["phase"] == "done").await;
    lab.patch("one", json!({"metadata": {"labels": {"sharding.fluxcd.io/key": "shard2"}}})).await;
    eventually("an object that leaves is forgotten", async || bench.gone.lock().unwrap().as_slice() == ["one"]).await;
    assert_eq!(running.store.keys(), [key("main", &lab.namespace)]);
    running.end().await;
    lab.close().await;
}
