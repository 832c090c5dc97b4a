use crate::flags::Flags;
use crate::process::{Error, Process, Settings};
use std::future::Future;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The `main` of a controller: log, client, servers, signals, and `set_up`, which says what is watched and run.
///
/// The first SIGTERM or SIGINT lets the process finish what it holds; the second one ends it at once.
pub fn run<E, Fut>(name: &str, flags: &Flags, known_gates: &[(&str, bool)], set_up: impl FnOnce(Process) -> Fut) -> ExitCode
where
    E: std::error::Error + 'static,
    Fut: Future<Output = Result<(), E>>,
{
    crate::log::init(flags);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let code = runtime.block_on(async {
        let settings = match Settings::from_flags(name, flags, known_gates).await {
            Ok(settings) => settings,
            Err(error) => return failed(&error),
        };
        let process = match Process::start(settings).await {
            Ok(process) => process,
            Err(error) => return failed(&error),
        };
        if let Err(error) = stop_on_signals(&process) {
            return failed(&error);
        }
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting {name}");
        if let Err(error) = set_up(process.clone()).await {
            process.stop();
            // The reason to stop is the one that is shown.
            let _ = process.finish().await;
            return failed(&error);
        }
        match process.finish().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        }
    });
    // Blocking work of a run that was given up must not hold the process back.
    runtime.shutdown_background();
    code
}

/// The same inside another program: runs what `set_up` puts into a process until `shutdown` is cancelled.
pub async fn embedded<T, E, Fut>(settings: Settings, shutdown: CancellationToken, set_up: impl FnOnce(Process) -> Fut) -> Result<(), E>
where
    E: From<Error>,
    Fut: Future<Output = Result<T, E>>,
{
    let process = Process::start(settings).await?;
    let stopping = process.clone();
    tokio::spawn(async move {
        shutdown.cancelled().await;
        stopping.stop();
    });
    if let Err(error) = set_up(process.clone()).await {
        process.stop();
        // The reason to stop is the one that is told.
        let _ = process.finish().await;
        return Err(error);
    }
    Ok(process.finish().await?)
}

fn stop_on_signals(process: &Process) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let process = process.clone();
    tokio::spawn(async move {
        let mut stopping = false;
        loop {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            if std::mem::replace(&mut stopping, true) {
                std::process::exit(130);
            }
            tracing::info!("stopping; a second signal ends at once");
            process.stop();
        }
    });
    Ok(())
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        text.push_str(&format!(": {cause}"));
        at = cause.source();
    }
    tracing::error!(error = %text, "the controller cannot go on");
    ExitCode::FAILURE
}
