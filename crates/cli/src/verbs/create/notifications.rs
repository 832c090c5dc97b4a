use super::{
    Request,
    draft::{Draft, Fields, nothing},
    references::Reference,
};
use crate::{
    kinds, objects,
    shell::{Failure, Flags, Outcome, flags, log},
};
use clap::{Arg, Command};
use serde_json::{Value, json};

const RECEIVER_TYPES: &[&str] =
    &["generic", "generic-hmac", "github", "gitlab", "bitbucket", "harbor", "dockerhub", "quay", "gcr", "nexus", "acr", "cdevents"];

pub fn alert() -> Command {
    flags::leaf("alert", "Create or update an Alert resource").args([
        flags::string("provider-ref", "Provider to send to"),
        flags::string("event-severity", "least severity that is sent: info or error"),
        flags::strings("event-source", "objects whose events are sent, as <kind>/<name>[.<namespace>]"),
    ])
}

pub fn provider() -> Command {
    flags::leaf("alert-provider", "Create or update a Provider resource").args([
        flags::string("type", "which service it is"),
        flags::string("channel", "channel to post to"),
        flags::string("username", "name to post under"),
        flags::string("address", "address of the service or repository"),
        flags::string("secret-ref", "Secret with the token"),
    ])
}

pub fn receiver() -> Command {
    flags::leaf("receiver", "Create or update a Receiver resource").args([
        receiver_type(),
        flags::string("secret-ref", "Secret with the token of the webhook"),
        flags::strings("event", "events that are heard; all when empty"),
        flags::strings("resource", "objects to reconcile, as <kind>/<name>"),
    ])
}

pub fn receiver_type() -> Arg {
    let kind = "generic|generic-hmac|github|gitlab|bitbucket|harbor|dockerhub|quay|gcr|nexus|acr|cdevents";
    flags::one_of("type", kind, "receiver type", RECEIVER_TYPES, "whose webhooks are understood")
}

pub async fn run_alert(request: &Request<'_>) -> Outcome {
    if request.text("provider-ref").is_empty() {
        return Err(Failure::new("provider ref is required"));
    }
    let mut sources = Vec::new();
    for text in request.matches.texts("event-source") {
        let reference = Reference::parse(&text);
        if reference.kind.is_empty() {
            return Err(Failure::new(format!("invalid event source '{text}', must be in format <kind>/<name>")));
        }
        sources.push(reference.to_value());
    }
    if sources.is_empty() {
        return Err(Failure::new("at least one event source is required"));
    }
    request.labels()?;
    announce(request, "Alert");
    let spec = Fields::new()
        .reference("providerRef", request.text("provider-ref"))
        .text("eventSeverity", request.text("event-severity"))
        .list("eventSources", sources);
    let done = format!("Alert {} is ready", request.name);
    Draft { request, kind: &kinds::ALERT, spec, noun: "Alert", made: "Alert", skips_unchanged: false, done, result: nothing }.finish().await
}

pub async fn run_provider(request: &Request<'_>) -> Outcome {
    let text = |flag: &str| request.text(flag);
    if text("type").is_empty() {
        return Err(Failure::new("Provider type is required"));
    }
    request.labels()?;
    announce(request, "Provider");
    let spec = Fields::new()
        .text("type", text("type"))
        .text("channel", text("channel"))
        .text("username", text("username"))
        .text("address", text("address"))
        .reference("secretRef", text("secret-ref"));
    let done = format!("Provider {} is ready", request.name);
    Draft { request, kind: &kinds::PROVIDER, spec, noun: "Provider", made: "Provider", skips_unchanged: false, done, result: nothing }
        .finish()
        .await
}

pub async fn run_receiver(request: &Request<'_>) -> Outcome {
    if request.text("type").is_empty() {
        return Err(Failure::new("Receiver type is required"));
    }
    if request.text("secret-ref").is_empty() {
        return Err(Failure::new("secret ref is required"));
    }
    let mut resources = Vec::new();
    for text in request.matches.texts("resource") {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [kind, name] if !kind.is_empty() => resources.push(json!({"kind": kind, "name": name})),
            _ => return Err(Failure::new(format!("invalid event source '{text}', must be in format <kind>/<name>"))),
        }
    }
    if resources.is_empty() {
        // The spelling is Flux's.
        return Err(Failure::new("atleast one resource is required"));
    }
    request.labels()?;
    announce(request, "Receiver");
    let spec = Fields::new()
        .text("type", request.text("type"))
        .list("events", request.matches.texts("event").into_iter().map(Value::from).collect())
        .list("resources", resources)
        .reference("secretRef", request.text("secret-ref"));
    Draft {
        request,
        kind: &kinds::RECEIVER,
        spec,
        noun: "Receiver",
        made: "Receiver",
        skips_unchanged: false,
        done: format!("Receiver {} is ready", request.name),
        result: |object| Ok(format!("generated webhook URL {}", objects::text(object, &["status", "webhookPath"]))),
    }
    .finish()
    .await
}

fn announce(request: &Request<'_>, kind: &str) {
    if !request.is_export() {
        log::generate(format!("generating {kind}"));
    }
}
