//! `get --watch`: the table grows by a row for each change, until interrupted.

use super::{NotGot, Request, fetch, render};
use crate::{
    kinds::Kind,
    shell::{Context, Failure, Outcome, output},
};
use cluster::WatchEvent;
use futures::StreamExt as _;
use serde_json::Value;

pub async fn run(context: &Context, kind: &'static Kind, request: &Request) -> Outcome {
    if let Err(why @ NotGot::NotServed) = fetch(context, kind, request).await {
        return Err(why.into_failure(kind));
    }
    let client = context.client().await?.clone();
    let mut events = std::pin::pin!(cluster::watch(client, kind.resource(), request.selection()));
    let mut first = true;
    while let Some(event) = events.next().await {
        let object = match event {
            WatchEvent::Listed(object) | WatchEvent::Applied(object) | WatchEvent::Deleted(object) => object,
            WatchEvent::Failed(error) => return Err(Failure::from(error)),
            _ => continue,
        };
        let object: Value = serde_json::from_str(object.get()).map_err(|error| Failure::new(error.to_string()))?;
        let object = kind.stamp(object);
        if request.admits(kind, &object) {
            output::print(&render(kind, &[object], request, request.header && first))?;
            first = false;
        }
    }
    Ok(())
}
