//! The shell around controllers: process, watches, queue, status, events.
//!
//! ```text
//! Flags ─► Settings ─► Process ── Client (cluster), Recorder, Metrics, Clock, Jitter, election, health
//!                        │
//!        watch(store) ───┤── Store<T>  one per watched kind; indices; on_change ──► Handle::trigger
//!                        │
//!     run(controller) ───┴── Controller = Store + Reconciler + Queue
//!                               │ take
//!                               ▼
//!                finalizer ─► reconcile(object, Context) ─► Report ─► status, events, next visit
//!                                  │ progress, checkpoint, publish
//!                                  ▼
//!                               Slot ─► Writer ─► PATCH /status   (nothing when nothing changed)
//! ```
//!
//! Everything hangs on a `Process` value: a program may run several of them side by side.
//!
//! # What a controller writes
//!
//! ```no_run
//! use runtime::{Controller, Context, Event, Report, Reconciler, Settings, Process, Store, Visit};
//! use serde::{Deserialize, Serialize};
//! use std::{sync::Arc, time::Duration};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Greeting { spec: Spec, #[serde(default)] status: Status }
//! #[derive(Serialize, Deserialize)]
//! #[serde(rename_all = "camelCase")]
//! struct Spec { source: String }
//! #[derive(Serialize, Deserialize, Default, Clone)]
//! struct Status { greeted: String }
//!
//! struct Greeter;
//!
//! impl Reconciler for Greeter {
//!     type Resource = Greeting;
//!     async fn reconcile(&self, this: Arc<Greeting>, context: &Context) -> Report {
//!         if context.meta().is_deleting() {
//!             return Report::new(Visit::Never).release();                        // clean-up is done: the object may go
//!         }
//!         let status = Status { greeted: this.spec.source.clone() };
//!         context.progress(&status);                                             // shown when it lasts longer than a second
//!         if context.checkpoint(&status).await.is_err() {                        // stored before the next step
//!             return Report::new(Visit::Backoff);
//!         }
//!         Report::new(Visit::Interval(Duration::from_secs(600)))                 // spread by the jitter
//!             .status(&status)                                                   // one merge patch, or none
//!             .event(Event::info("Greeted", "hello").with("revision", "main@sha1:1"))
//!     }
//! }
//!
//! async fn set_up(process: Process) -> Result<(), runtime::Error> {
//!     let resource = |kind, plural| cluster::Resource::namespaced("example.com", "v1", kind, plural);
//!     let greetings = Store::<Greeting>::new(resource("Greeting", "greetings"))
//!         .with_index("source", |greeting| vec![greeting.spec.source.clone()]);
//!     let sources = Store::<serde_json::Value>::new(resource("Source", "sources"));
//!
//!     let controller = Controller::new("greeting", greetings.clone(), Greeter, process.settings().backoff)
//!         .concurrent(4)
//!         .finalizer("finalizers.fluxcd.io");
//!
//!     // A source changed: whoever uses it is looked at again. No polling, no waiting worker.
//!     let handle = controller.handle();
//!     sources.on_change(move |change| {
//!         if change.differs(|source| source["status"]["artifact"]["revision"].clone()) {
//!             greetings.by_index("source", &change.key.name).iter().for_each(|key| handle.trigger(key));
//!         }
//!     });
//!
//!     process.watch(&sources, cluster::Selection::default());
//!     process.run(controller, process.settings().selection());
//!     Ok(())
//! }
//!
//! // As a program: runtime::program::run("greeting-controller", &args.flags, &[], set_up)
//! // Inside another one:
//! async fn embedded(kube: kube::Config, shutdown: tokio_util::sync::CancellationToken) -> Result<(), runtime::Error> {
//!     runtime::program::embedded(Settings::embedded("greeting-controller", kube), shutdown, set_up).await
//! }
//! ```
//!
//! # What the runtime promises
//!
//! - An object is reconciled at first sight, when its generation, its `reconcile.fluxcd.io/requestedAt` (or another
//!   annotation named by `Store::with_wish`) or its deletion changes, when a `Handle` is triggered, and when its visit is due;
//!   never twice at a time, and never before every watched store is filled.
//! - The finalizer is on the object before its first reconcile; `Report::release` takes it away.
//! - A status is written as one merge patch of what differs, on the version it was decided on, and not at all when nothing differs.
//! - An object that does not decode gets `Ready=False` and `Stalled=True` of its own; a panic or a run without end costs
//!   that object a back-off. Neither touches another object.
//! - When the lease is lost, the fence holds back every write of the process before another replica may begin.

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod backoff;
pub mod clock;
mod context;
mod controller;
mod correlate;
mod events;
mod fault;
mod flags;
mod gates;
mod handle;
mod leader;
pub mod log;
mod meta;
mod metrics;
mod patch;
mod process;
pub mod program;
mod queue;
mod report;
mod server;
mod slot;
mod store;
mod wake;
mod writer;

pub use backoff::{Backoff, Jitter};
pub use clock::Clock;
pub use context::Context;
pub use controller::{Controller, Reconciler};
pub use events::{KindRecorder, Recorder};
pub use flags::{Flags, LogEncoding, LogLevel};
pub use gates::FeatureGates;
pub use handle::Handle;
pub use leader::{LeaderElection, lease_name};
pub use meta::{Meta, REQUESTED_AT};
pub use metrics::Metrics;
pub use process::{Error, Process, Settings, kube_config};
pub use report::{Event, Report, Severity, Visit};
pub use store::{Change, Store};
