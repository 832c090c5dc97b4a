//! Helm charts: loaded, given values, rendered, stored as releases.
//!
//! ```text
//! Tree | tgz -> chart(metadata, ignore) -> Chart
//! files, --set (values, strvals) -> Table (data)                        Capabilities, Environment, lookup
//!          |                           |                                           |
//!          +-> dependencies (aliases, tags, conditions, imports) -> schema -> engine(functions, files) -> manifest -> Rendered
//!                                                                                                                        |
//!                                                                             StoredRelease (release) <-- what is stored +
//! ```
//!
//! One call, [`render`], goes from a chart and values to manifests, hooks and notes. A [`Chart`] never changes and may be shared by
//! threads; with a [`Cache`] its templates are compiled once, and [`Ahead`] of it a second thread can begin to parse them. Time, randomness and lookups are passed in.

mod ahead;
mod capabilities;
mod chart;
mod data;
mod dependencies;
mod durations;
mod engine;
mod error;
mod files;
mod functions;
mod ignore;
mod lint;
mod manifest;
mod metadata;
mod names;
mod pack;
mod post_render;
mod pretty;
mod release;
mod render;
mod schema;
mod skim;
mod sources;
mod strvals;
mod toml;
mod values;

pub use ahead::Ahead;
pub use capabilities::{Capabilities, KubeVersion, Profile};
pub use chart::{Archive, Chart, File as ChartFile, Limits as ChartLimits, unpack as unpack_archive};
pub use data::{Data, Table};
pub use engine::{Cache, function_names};
pub use error::Error;
pub use functions::Lookup;
pub use gotemplate::{Limits, Origin};
pub use ignore::{Rules as IgnoreRules, matches as path_matches};
pub use lint::{Finding, Severity, lint};
pub use manifest::{
    Head, Hook, LastRun, Manifest, sort as sort_manifests, sort_for_install, sort_for_uninstall, sort_hooks_for_running,
    split as split_manifests,
};
pub use metadata::{Dependency, Lock, Maintainer, Metadata, go_json};
pub use names::{check_release_name, name_from_template};
pub use post_render::{PostRender, PostRenderStrategy};
pub use release::{Info, SYSTEM_LABELS, StoredChart, StoredFile, StoredRelease};
pub use render::{Crd, Options, Release, Rendered, push_document, render, render_files};
pub use sources::ValueSources;
pub use sprig::{Environment, SeededRandom, SystemRandom};
pub use strvals::{Mode as SetMode, set, set_file, set_json, set_literal};
pub use values::{merge_over, read as read_values, read_table as read_values_document};

/// Text in bytes; what is no UTF-8 is replaced. Most texts are fine, which is checked faster than they are repaired.
pub(crate) fn text_of(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Into::into)
}

/// A value as Go's `%v` prints it, for warnings. What may be long or secret is not shown.
pub(crate) fn data_text(data: &Data) -> String {
    match data {
        Data::Null => "<nil>".to_owned(),
        Data::Bool(b) => b.to_string(),
        Data::Int(n) => n.to_string(),
        Data::Float(f) => gotemplate::number::float(*f),
        Data::String(_) | Data::List(_) | Data::Table(_) => format!("a {}", data.type_name()),
    }
}
