//! `trigger`: calls the webhook of a Receiver, without access to the cluster.

use crate::{
    hmac,
    shell::{Context, Failure, Flags, Outcome, flags, log},
};
use clap::{ArgMatches, Command};
use std::{env, error::Error as _};

const TOKEN_VARIABLE: &str = "FLUX_TRIGGER_RECEIVER_OIDC_TOKEN";
const DEFAULT_AUDIENCE: &str = "notification-controller";
/// An answer of a webhook is a line; more than this is not read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

pub fn command() -> Command {
    flags::group("trigger", "Trigger the webhook of a Receiver").subcommand(
        flags::leaf("receiver", "Trigger the webhook of a Receiver")
            .after_help("  # A plain webhook\n  sluice trigger receiver my-hook --token=$TOKEN --url=https://hooks.example.com\n\n  # From a job of GitHub Actions, without any secret\n  sluice trigger receiver my-hook --type=generic-oidc --oidc-provider=github --url=https://hooks.example.com")
            .args([
                flags::string("token", "token of the Receiver; not with --type=generic-oidc"),
                flags::string("url", "base address of the webhook receiver, may hold a path"),
                flags::string("type", "type of the Receiver: generic, generic-hmac or generic-oidc").default_value("generic"),
                flags::string("oidc-provider", "where to get a token from: github or forgejo"),
                flags::string("oidc-token", "the token itself, else taken from FLUX_TRIGGER_RECEIVER_OIDC_TOKEN"),
                flags::string("oidc-audience", "audience of the token, with --oidc-provider"),
                flags::string("payload", "JSON to send").default_value("{}"),
                flags::int("retries", "how often to try again when the answer may change; 0 never").default_value("10"),
                flags::duration("retry-delay", "how long to wait between tries").default_value("10s"),
            ]),
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Generic,
    Hmac,
    Oidc,
}

pub async fn run(context: &Context, _path: &[String], matches: &ArgMatches) -> Outcome {
    let name = matches.exactly_one()?;
    if matches.text("url").is_empty() {
        return Err(Failure::new("--url is required"));
    }
    let kind = validate(matches)?;
    let token = if kind == Kind::Oidc { "" } else { matches.text("token") };
    // The path is the hash of token, name and namespace (notification-controller api/v1).
    let hash = hmac::sha256_hex(&[token.as_bytes(), name.as_bytes(), context.namespace.as_bytes()]);
    let url = format!("{}/hook/{hash}", matches.text("url").trim_end_matches('/'));
    let payload = matches.text("payload").to_owned();
    let mut headers = vec![("Content-Type", "application/json".to_owned())];
    match kind {
        Kind::Generic => {}
        Kind::Hmac => headers.push(("X-Signature", format!("sha256={}", hmac::hmac_sha256_hex(token.as_bytes(), payload.as_bytes())))),
        Kind::Oidc => headers.push(("Authorization", format!("Bearer {}", oidc_token(matches).await?))),
    }
    log::action(format!("triggering Receiver {}/{name}", context.namespace));
    let target: reqwest::Url = match url.parse() {
        Ok(target) => target,
        Err(_) if url.starts_with(':') => {
            return Err(Failure::new(format!("unable to create request: parse {url:?}: missing protocol scheme")));
        }
        Err(error) => return Err(Failure::new(format!("unable to create request: parse {url:?}: {error}"))),
    };
    let client = client()?;
    let delay = matches.length("retry-delay").unwrap_or_default();
    let retries = matches.number("retries").unwrap_or(0);
    let deadline = context.deadline();
    for attempt in 1.. {
        let (message, again) = match send(&client, &target, &url, &headers, &payload).await {
            Ok(()) => {
                log::success(format!("Receiver {}/{name} triggered", context.namespace));
                return Ok(());
            }
            Err(refused) => refused,
        };
        if !again || attempt > retries {
            return Err(Failure::new(message));
        }
        log::waiting(format!("{message}; retrying in {delay} ({attempt}/{retries})"));
        let wake = tokio::time::Instant::now() + flags::to_std(delay);
        if wake > deadline {
            return Err(Failure::new("context deadline exceeded"));
        }
        tokio::time::sleep_until(wake).await;
    }
    Ok(())
}

fn validate(matches: &ArgMatches) -> Result<Kind, Failure> {
    let text = |name: &str| matches.text(name);
    let kind = match text("type") {
        "generic" => Kind::Generic,
        "generic-hmac" => Kind::Hmac,
        "generic-oidc" => Kind::Oidc,
        other => return Err(Failure::new(format!("invalid --type {other:?}, must be one of: generic, generic-hmac, generic-oidc"))),
    };
    let (provider, audience) = (text("oidc-provider"), text("oidc-audience"));
    let refuse = |why: String| Err(Failure::new(why));
    if kind != Kind::Oidc {
        if text("token").is_empty() {
            return refuse(format!("--token is required for --type={}", text("type")));
        }
        if !provider.is_empty() || !text("oidc-token").is_empty() || !audience.is_empty() {
            return refuse("--oidc-provider, --oidc-token and --oidc-audience can only be set for --type=generic-oidc".to_owned());
        }
        return Ok(kind);
    }
    if !text("token").is_empty() {
        return refuse("--token must not be set for --type=generic-oidc, the Receiver of this type has no secret".to_owned());
    }
    if !provider.is_empty() && !text("oidc-token").is_empty() {
        return refuse("--oidc-provider and --oidc-token are mutually exclusive".to_owned());
    }
    if !matches!(provider, "" | "github" | "forgejo") {
        return refuse(format!("invalid --oidc-provider {provider:?}, must be one of: github, forgejo"));
    }
    if !audience.is_empty() && provider.is_empty() {
        return refuse("--oidc-audience can only be set together with --oidc-provider".to_owned());
    }
    Ok(kind)
}

fn client() -> Result<reqwest::Client, Failure> {
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    builder.user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION"))).build().map_err(|error| Failure::new(error.to_string()))
}

/// One try; what went wrong, and whether it may go better later.
async fn send(
    client: &reqwest::Client,
    target: &reqwest::Url,
    url: &str,
    headers: &[(&'static str, String)],
    payload: &str,
) -> Result<(), (String, bool)> {
    let request = headers.iter().fold(client.post(target.clone()), |request, (name, value)| request.header(*name, value));
    let answer = match request.body(payload.to_owned()).send().await {
        Ok(answer) => answer,
        Err(error) => return Err((format!("request to {url} failed: Post {url:?}: {}", transport(&error)), true)),
    };
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body = answer.bytes().await.unwrap_or_default();
    let body = String::from_utf8_lossy(&body[..body.len().min(ANSWER_BYTES_MAX)]).trim().to_owned();
    let said = if body.is_empty() { String::new() } else { format!(": {body}") };
    // 404: the path may not be registered yet.
    let again = matches!(status.as_u16(), 404 | 408 | 429 | 500 | 502 | 503 | 504);
    Err((format!("request to {url} failed with status {status}{said}"), again))
}

/// The innermost cause, without the address that was said already.
fn transport(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

async fn oidc_token(matches: &ArgMatches) -> Result<String, Failure> {
    if !matches.text("oidc-provider").is_empty() {
        let audience = if matches.text("oidc-audience").is_empty() { DEFAULT_AUDIENCE } else { matches.text("oidc-audience") };
        return token_of_job(audience).await;
    }
    match matches.text("oidc-token") {
        "" => env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()).ok_or_else(|| {
            Failure::new(format!("no OIDC token provided: set --oidc-provider, --oidc-token or the {TOKEN_VARIABLE} environment variable"))
        }),
        token => Ok(token.to_owned()),
    }
}

/// A token for the running job of GitHub or Forgejo Actions, which both offer the same endpoint.
async fn token_of_job(audience: &str) -> Result<String, Failure> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let missing = || {
        Failure::new(
            "ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN are not set: does the job have the permission 'id-token: write'?",
        )
    };
    let url = variable("ACTIONS_ID_TOKEN_REQUEST_URL").ok_or_else(missing)?;
    let bearer = variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN").ok_or_else(missing)?;
    let mut url: reqwest::Url = url.parse().map_err(|error| Failure::new(format!("invalid ACTIONS_ID_TOKEN_REQUEST_URL: {error}")))?;
    url.query_pairs_mut().append_pair("audience", audience);
    let answer = client()?.get(url).bearer_auth(bearer).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status);
    let answer = answer.map_err(|error| Failure::new(format!("cannot get an OIDC token: {}", error.without_url())))?;
    let body = answer.bytes().await.map_err(|error| Failure::new(format!("cannot get an OIDC token: {}", error.without_url())))?;
    let body: serde_json::Value =
        serde_json::from_slice(&body).map_err(|_| Failure::new("cannot get an OIDC token: the answer is no JSON"))?;
    match crate::objects::text(&body, &["value"]) {
        "" => Err(Failure::new("cannot get an OIDC token: the answer holds none")),
        token => Ok(token.to_owned()),
    }
}
