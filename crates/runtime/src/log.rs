use crate::backoff::Jitter;
use crate::clock::Clock;
use crate::flags::{Flags, LogEncoding, LogLevel};
use serde_json::{Map, Value};
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

/// Sends the log to standard error in the form that the flags name.
///
/// There is one log in a process: whoever owns the process calls this, once. Later calls change nothing.
pub fn init(flags: &Flags) {
    let level = match flags.log_level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Error => "error",
    };
    // Libraries tell at debug what every frame and packet does.
    let libraries = "hyper=info,hyper_util=info,h2=info,rustls=info,tower=info,reqwest=info,gix=warn,kube_client=info";
    let filter = EnvFilter::try_new(format!("{level},{libraries}")).unwrap_or_default();
    let lines = Lines { encoding: flags.log_encoding, clock: Clock::system(), write: Box::new(|line| eprint!("{line}")) };
    // Already set: a test, or a program that has a log of its own.
    let _ = Registry::default().with(lines.with_filter(filter)).try_init();
}

/// A random identifier in the form of a UUID of version 4.
pub(crate) fn uuid(random: &Jitter) -> String {
    let (high, low) = (random.next_u64(), random.next_u64());
    let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xfff);
    let (d, e) = (0x8000 | ((low >> 48) & 0x3fff), low & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{e:012x}")
}

/// Writes one line for an event: a JSON object with the keys that zap writes, which `flux logs` reads, or plain text.
struct Lines {
    encoding: LogEncoding,
    clock: Clock,
    write: Box<dyn Fn(&str) + Send + Sync>,
}

/// The fields of a span.
struct SpanFields(Map<String, Value>);

struct Collect<'a>(&'a mut Map<String, Value>);

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Map::new();
        attributes.record(&mut Collect(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            values.record(&mut Collect(&mut fields.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        for span in context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().into_iter().rev() {
            if let Some(more) = span.extensions().get::<SpanFields>() {
                fields.extend(more.0.clone());
            }
        }
        event.record(&mut Collect(&mut fields));
        let message = match fields.shift_remove("message") {
            Some(Value::String(text)) => text,
            other => other.map(|value| value.to_string()).unwrap_or_default(),
        };
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            // zap has no level of warnings in Flux's use; they are information there.
            Level::WARN | Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let time = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        (self.write)(&match self.encoding {
            LogEncoding::Json => json_line(&time, level, event.metadata().target(), &message, fields),
            LogEncoding::Console => console_line(&time, level, &message, &fields),
        });
    }
}

fn json_line(time: &str, level: &str, target: &str, message: &str, fields: Map<String, Value>) -> String {
    let mut line = Map::new();
    line.insert("level".into(), level.into());
    line.insert("ts".into(), time.into());
    line.insert("logger".into(), target.into());
    line.insert("msg".into(), message.into());
    line.extend(fields);
    format!("{}\n", Value::Object(line))
}

fn console_line(time: &str, level: &str, message: &str, fields: &Map<String, Value>) -> String {
    let mut line = format!("{time}\t{}\t{}", level.to_uppercase(), printable(message));
    for (key, value) in fields {
        let text = match value {
            Value::String(text) => printable(text),
            other => other.to_string(),
        };
        // Writing to a String cannot fail.
        let _ = write!(line, "\t{key}={text}");
    }
    line.push('\n');
    line
}

/// Text from outside must not move a terminal's cursor or begin a line of its own.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn logged(encoding: LogEncoding) -> String {
        let out = Arc::new(Mutex::new(String::new()));
        let sink = out.clone();
        let clock = Clock::from_fn(|| "2026-11-24T01:02:03.456Z".parse().unwrap());
        let lines = Lines { encoding, clock, write: Box::new(move |line| sink.lock().unwrap().push_str(line)) };
        tracing::subscriber::with_default(Registry::default().with(lines), || {
            let span = tracing::info_span!("reconcile", controllerKind = "Kustomization", name = "apps", namespace = "flux-system");
            span.in_scope(|| tracing::error!(error = "a\nb\u{1b}[2J", "Reconciliation failed"));
        });
        let text = out.lock().unwrap();
        text.clone()
    }

    #[test]
    fn json_lines_have_the_keys_that_flux_logs_reads() {
        let line: Value = serde_json::from_str(&logged(LogEncoding::Json)).unwrap();
        assert_eq!(line["level"], "error");
        assert_eq!(line["ts"], "2026-11-24T01:02:03.456Z");
        assert_eq!(line["msg"], "Reconciliation failed");
        assert_eq!(
            (&line["controllerKind"], &line["name"], &line["namespace"]),
            (&"Kustomization".into(), &"apps".into(), &"flux-system".into())
        );
    }

    #[test]
    fn console_lines_stay_on_one_line_and_hold_no_escapes() {
        let line = logged(LogEncoding::Console);
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(!line.contains('\u{1b}'));
        assert!(line.contains("ERROR\tReconciliation failed"));
    }

    #[test]
    fn identifiers_have_the_form_of_a_uuid() {
        let id = uuid(&Jitter::new(0, 1));
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
    }
}
