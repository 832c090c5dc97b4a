//! What HelmRepositories and HelmCharts share: how their servers are spoken to, and the indexes in memory.

mod access;
mod listings;
mod registry;

pub(crate) use access::{Remote, is_registry};
pub(crate) use listings::Listings;
pub(crate) use registry::Registry;

use std::sync::Arc;
use store::Store;

/// How much Helm repositories may send.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of an index.
    pub index_max: u64,
    /// Bytes of a packed chart.
    pub chart_max: u64,
    /// Bytes of one file in a chart.
    pub file_max: u64,
    /// Indexes kept in memory.
    pub listings_max: usize,
}

impl Default for Limits {
    /// Flux's defaults; it keeps no index in memory unless told to.
    fn default() -> Self {
        Self { index_max: 50 << 20, chart_max: 10 << 20, file_max: 5 << 20, listings_max: 16 }
    }
}

impl Limits {
    /// The same limits, as the chart loader takes them.
    pub(crate) fn chart(self) -> helm::ChartLimits {
        helm::ChartLimits { file: self.file_max, ..helm::ChartLimits::default() }
    }
}

/// An error of a download, with the way out when the chart was too large.
pub(crate) fn too_large(error: &dyn std::fmt::Display, is_so: bool) -> String {
    let hint = if is_so { "; --helm-chart-max-size of source-controller sets it" } else { "" };
    format!("{error}{hint}")
}

/// What is needed to speak to Helm repositories.
pub(crate) struct Remotes {
    pub(crate) client: cluster::Client,
    pub(crate) store: Arc<Store>,
    /// For servers that need no certificates of their own.
    pub(crate) http: http_client::Client,
    pub(crate) registries: reqwest::Client,
    pub(crate) limits: Limits,
    pub(crate) listings: Listings,
}
