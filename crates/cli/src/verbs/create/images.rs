use super::{
    Request,
    draft::{Draft, Fields, nothing},
};
use crate::{
    kinds::{self, Kind},
    shell::{Failure, Outcome, flags, log},
};
use clap::Command;
use regex::Regex;
use serde_json::{Value, json};

pub fn command() -> Command {
    flags::group("image", "Create or update image automation objects")
        .subcommand(flags::leaf("policy", "Create or update an ImagePolicy object").args([
            flags::string("image-ref", "name of an ImageRepository"),
            flags::string("select-semver", "range of versions; the highest is taken"),
            flags::string("select-alpha", "take the last (asc) or first (desc) by the alphabet"),
            flags::string("select-numeric", "take the last (asc) or first (desc) by number"),
            flags::string("filter-regex", "regular expression for tags that take part"),
            flags::string("filter-extract", "what of the match is compared, with groups of --filter-regex"),
            flags::string("reflect-digest", "when the digest is looked up too: Never, IfNotPresent or Always"),
            flags::duration("interval", "how often to look up the digest, with --reflect-digest=Always"),
        ]))
        .subcommand(flags::leaf("repository", "Create or update an ImageRepository object").args([
            flags::string("image", "name of the image without tag"),
            flags::string("secret-ref", "Secret with registry credentials"),
            flags::string("cert-ref", "Secret with TLS certificates"),
            flags::duration("scan-timeout", "how long one scan may take; the interval when not set"),
        ]))
        .subcommand(flags::leaf("update", "Create or update an ImageUpdateAutomation object").args([
            flags::string("git-repo-ref", "name of a GitRepository"),
            flags::string("git-repo-namespace", "namespace of the GitRepository"),
            flags::string("git-repo-path", "folder whose files are changed; the root when empty"),
            flags::string("checkout-branch", "branch to check out"),
            flags::string("push-branch", "branch to push to; the checked-out one when empty"),
            flags::string("commit-template", "template of the commit message"),
            flags::string("author-name", "name of the author"),
            flags::string("author-email", "email address of the author"),
            flags::string("signing-key-secret", "Secret with the key that signs commits"),
            flags::string("signing-key-type", "kind of the key: gpg or ssh"),
        ]))
}

pub async fn run(request: &Request<'_>, kind: &str) -> Outcome {
    let (kind, spec): (&'static Kind, Fields) = match kind {
        "policy" => (&kinds::IMAGE_POLICY, policy(request)?),
        "repository" => (&kinds::IMAGE_REPOSITORY, repository(request)?),
        _ => (&kinds::IMAGE_UPDATE, update(request)?),
    };
    request.labels()?;
    if !request.is_export() {
        log::generate(format!("generating {}", kind.kind));
    }
    Draft {
        request,
        kind,
        spec,
        noun: kind.kind,
        made: kind.kind,
        skips_unchanged: true,
        done: format!("{} reconciliation completed", kind.kind),
        result: nothing,
    }
    .finish()
    .await
}

fn policy(request: &Request<'_>) -> Result<Fields, Failure> {
    let text = |flag: &str| request.text(flag);
    if text("image-ref").is_empty() {
        return Err(Failure::new("the name of an ImageRepository in the namespace is required (--image-ref)"));
    }
    let chosen: Vec<&str> = ["select-semver", "select-alpha", "select-numeric"].into_iter().filter(|flag| !text(flag).is_empty()).collect();
    let order = |flag: &str, key: &str| match text(flag) {
        order @ ("asc" | "desc") => Ok(json!({key: {"order": order}})),
        _ => Err(Failure::new(format!("--{flag} must be one of [\"asc\", \"desc\"]"))),
    };
    let choice = match chosen.as_slice() {
        ["select-semver"] => json!({"semver": {"range": text("select-semver")}}),
        ["select-alpha"] => order("select-alpha", "alphabetical")?,
        ["select-numeric"] => order("select-numeric", "numerical")?,
        [] => return Err(Failure::new("a policy must be provided with either --select-semver or --select-alpha")),
        _ => return Err(Failure::new("only one of --select-semver, --select-alpha or --select-numeric can be specified")),
    };
    let (pattern, extract) = (text("filter-regex"), text("filter-extract"));
    if pattern.is_empty() && !extract.is_empty() {
        return Err(Failure::new("cannot specify --filter-extract without specifying --filter-regex"));
    }
    if !pattern.is_empty() {
        let pattern = Regex::new(pattern).map_err(|_| Failure::new("--filter-regex is an invalid regex pattern"))?;
        check_extract(extract, &pattern)?;
    }
    let reflect = text("reflect-digest");
    if !matches!(reflect, "" | "Never" | "IfNotPresent" | "Always") {
        return Err(Failure::new("invalid value for --reflect-digest, must be one of 'Never', 'IfNotPresent', 'Always'"));
    }
    let interval = request.length("interval");
    if !interval.is_empty() && reflect != "Always" {
        return Err(Failure::new(
            "the --interval flag can only be used with the 'Always' digest reflection policy, use --reflect-digest=Always",
        ));
    }
    let filter = Fields::new().text("pattern", pattern).text("extract", extract);
    Ok(Fields::new()
        .reference("imageRepositoryRef", text("image-ref"))
        .value("policy", choice)
        .maybe("filterTags", if filter.is_empty() { None } else { Some(filter.into_value()) })
        .text("digestReflectionPolicy", reflect)
        .text("interval", &interval))
}

/// The groups that the template names must be groups of the pattern.
fn check_extract(template: &str, pattern: &Regex) -> Result<(), Failure> {
    let names: Vec<&str> = pattern.capture_names().flatten().collect();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let word = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let name = match rest.strip_prefix('{') {
            Some(inner) => inner.split_once('}').map(|(name, _)| name).filter(|name| word(name) == name.len()),
            None => Some(&rest[..word(rest)]),
        };
        let malformed = || Failure::new("--filter-extract is malformed".to_string());
        let name = name.filter(|name| !name.is_empty()).ok_or_else(malformed)?;
        let is_number = name.bytes().all(|b| b.is_ascii_digit());
        let known = if is_number { name.parse::<usize>().is_ok_and(|n| n < pattern.captures_len()) } else { names.contains(&name) };
        if !known {
            return Err(Failure::new(format!("capture group ${name} used in --filter-extract not found in --filter-regex")));
        }
    }
    Ok(())
}

fn repository(request: &Request<'_>) -> Result<Fields, Failure> {
    let image = request.text("image");
    if image.is_empty() {
        return Err(Failure::new("an image repository (--image) is required"));
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    let path_is_good = |path: &str| path.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-./".contains(&b));
    let path =
        image.split_once('/').map_or(image, |(first, rest)| if first.contains(['.', ':']) || first == "localhost" { rest } else { image });
    if last.contains([':', '@']) || !path_is_good(path) || image.is_empty() {
        return Err(Failure::new(format!(
            "unable to parse image value: repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: {path}"
        )));
    }
    Ok(Fields::new()
        .text("image", image)
        .text("interval", &request.interval())
        .text("timeout", &request.length("scan-timeout"))
        .reference("secretRef", request.text("secret-ref"))
        .reference("certSecretRef", request.text("cert-ref")))
}

fn update(request: &Request<'_>) -> Result<Fields, Failure> {
    let text = |flag: &str| request.text(flag);
    let required = [
        ("git-repo-ref", "a reference to a GitRepository is required (--git-repo-ref)"),
        ("checkout-branch", "the Git repository branch is required (--checkout-branch)"),
        ("author-name", "the author name is required (--author-name)"),
        ("author-email", "the author email is required (--author-email)"),
    ];
    if let Some((_, complaint)) = required.iter().find(|(flag, _)| text(flag).is_empty()) {
        return Err(Failure::new(*complaint));
    }
    let (key, key_type) = (text("signing-key-secret"), text("signing-key-type"));
    if !key_type.is_empty() && key.is_empty() {
        return Err(Failure::new("--signing-key-type requires --signing-key-secret"));
    }
    if !matches!(key_type, "" | "gpg" | "ssh") {
        return Err(Failure::new("--signing-key-type must be one of: gpg, ssh"));
    }
    let signing = Fields::new().reference("secretRef", key).text("type", key_type);
    let commit = Fields::new()
        .value("author", json!({"name": text("author-name"), "email": text("author-email")}))
        .text("messageTemplate", text("commit-template"))
        .maybe("signingKey", if signing.is_empty() { None } else { Some(signing.into_value()) });
    let push = Some(text("push-branch")).filter(|branch| !branch.is_empty());
    let git = Fields::new()
        .value("checkout", json!({"ref": {"branch": text("checkout-branch")}}))
        .value("commit", commit.into_value())
        .maybe("push", push.map(|branch| json!({"branch": branch})));
    let path = Some(text("git-repo-path")).filter(|path| !path.is_empty());
    let source = Fields::new()
        .value("kind", Value::from(kinds::GIT_REPOSITORY.kind))
        .text("name", text("git-repo-ref"))
        .text("namespace", text("git-repo-namespace"));
    Ok(Fields::new()
        .value("sourceRef", source.into_value())
        .value("git", git.into_value())
        .text("interval", &request.interval())
        .maybe("update", path.map(|path| json!({"path": path, "strategy": "Setters"}))))
}
