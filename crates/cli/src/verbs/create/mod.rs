//! `create`: makes or changes objects, or prints what would be made.
//!
//! ```text
//! flags -> kustomization | release | sources | images | notifications -> Draft -> YAML, or create/update and wait
//!       -> secrets | tenant                                                    -> YAML, or create/update
//! ```

mod draft;
mod images;
mod kustomization;
mod notifications;
mod references;
mod release;
mod secrets;
mod sources;
mod tenant;

use crate::shell::{Context, Failure, Flags, Outcome, flags};
use clap::{ArgMatches, Command};
use std::collections::BTreeMap;

pub fn command() -> Command {
    flags::group("create", "Create or update sources and resources")
        .after_help("  # A source and what to apply from it\n  sluice create source git podinfo --url=https://github.com/stefanprodan/podinfo --branch=master\n  sluice create kustomization podinfo --source=GitRepository/podinfo --path=./kustomize --prune\n\n  # Print instead of create\n  sluice create kustomization podinfo --source=podinfo --export > podinfo.yaml")
        .args(
            [
                flags::duration("interval", "how often to reconcile").default_value("1m0s"),
                flags::switch("export", "print as YAML instead of creating"),
                flags::strings("label", "labels of the object, as label1=value1,label2=value2"),
            ]
            .map(|arg| arg.global(true)),
        )
        .subcommand(notifications::alert())
        .subcommand(notifications::provider())
        .subcommand(notifications::receiver())
        .subcommand(release::command())
        .subcommand(images::command())
        .subcommand(kustomization::command())
        .subcommand(secrets::command())
        .subcommand(sources::command())
        .subcommand(tenant::command())
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    let name = matches.name("name")?;
    if !is_object_name(&name) {
        return Err(Failure::new(format!(
            "name '{name}' is invalid, it should adhere to standard defined in RFC 1123, the name can only contain alphanumeric characters or '-'"
        )));
    }
    let request = Request { context, name, matches };
    match path.iter().skip(1).map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["kustomization"] => kustomization::run(&request).await,
        ["helmrelease"] => release::run(&request).await,
        ["source", kind] => sources::run(&request, kind).await,
        ["image", kind] => images::run(&request, kind).await,
        ["alert"] => notifications::run_alert(&request).await,
        ["alert-provider"] => notifications::run_provider(&request).await,
        ["receiver"] => notifications::run_receiver(&request).await,
        ["secret", kind] => secrets::run(&request, kind).await,
        ["tenant"] => tenant::run(&request).await,
        other => Err(Failure::new(format!("unknown kind of object: {}", other.join(" ")))),
    }
}

/// What is asked for.
struct Request<'a> {
    context: &'a Context,
    name: String,
    matches: &'a ArgMatches,
}

impl Request<'_> {
    fn text(&self, flag: &str) -> &str {
        self.matches.text(flag)
    }

    fn is_export(&self) -> bool {
        self.matches.is_set("export")
    }

    fn interval(&self) -> String {
        self.matches.length("interval").unwrap_or_default().to_string()
    }

    /// A length of time that was given and is more than none.
    fn length(&self, flag: &str) -> String {
        match self.matches.length(flag) {
            Some(length) if length.as_nanos() > 0 => length.to_string(),
            _ => String::new(),
        }
    }

    fn labels(&self) -> Result<BTreeMap<String, String>, Failure> {
        self.matches.texts("label").iter().map(|label| parse_label(label)).collect()
    }
}

/// Two to 63 letters, digits and dashes: a DNS label, as Flux asks for.
fn is_object_name(name: &str) -> bool {
    name.len() >= 2 && crate::shell::cluster::is_label(name)
}

fn parse_label(label: &str) -> Result<(String, String), Failure> {
    match label.split('=').collect::<Vec<_>>().as_slice() {
        [key, value] => {
            check_qualified_name(key).map_err(|why| Failure::new(format!("invalid label '{key}': [{why}]")))?;
            check_label_value(value).map_err(|why| Failure::new(format!("invalid label value '{value}': [{why}]")))?;
            Ok(((*key).to_owned(), (*value).to_owned()))
        }
        _ => Err(Failure::new(format!("invalid label format '{label}', must be key=value"))),
    }
}

const NAME_WORDING: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// A label's key: an optional DNS prefix, a slash, and up to 63 characters (Kubernetes' words).
pub(super) fn check_qualified_name(name: &str) -> Result<(), String> {
    let part = match name.split('/').collect::<Vec<_>>().as_slice() {
        [part] => *part,
        ["", _] => return Err("prefix part must be non-empty".to_owned()),
        [prefix, part] => {
            let labels = |prefix: &str| prefix.len() <= 253 && prefix.split('.').all(crate::shell::cluster::is_label);
            if !labels(prefix) {
                return Err("prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')".to_owned());
            }
            *part
        }
        _ => {
            return Err("a qualified name must consist of alphanumeric characters, '-', '_' or '.', with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')".to_string());
        }
    };
    if part.is_empty() {
        return Err(format!("name part must be non-empty {NAME_WORDING}"));
    }
    if part.len() > 63 {
        return Err("name part must be no more than 63 bytes".to_owned());
    }
    if is_name_part(part) { Ok(()) } else { Err(NAME_WORDING.to_owned()) }
}

fn check_label_value(value: &str) -> Result<(), String> {
    if value.len() > 63 {
        return Err("must be no more than 63 bytes".to_owned());
    }
    if value.is_empty() || is_name_part(value) {
        return Ok(());
    }
    Err("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')".to_owned())
}

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()].into_iter().flatten().all(u8::is_ascii_alphanumeric);
    ends && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels_of_two_letters_or_more() {
        for (name, good) in [("ab", true), ("a", false), ("a.b", false), ("A-b", false), ("a-", false), ("-a", false)] {
            assert_eq!(is_object_name(name), good, "{name}");
        }
        assert!(is_object_name(&"a".repeat(63)) && !is_object_name(&"a".repeat(64)));
    }

    #[test]
    fn labels_are_checked_before_they_reach_the_server() {
        assert!(parse_label("app.example.com/team=a_b.c").is_ok());
        for bad in ["a", "a=b=c", "=b", "a/b/c=d", "-a=b", "a=b c", "/a=b"] {
            assert!(parse_label(bad).is_err(), "{bad}");
        }
    }
}
