use crate::options::Options;
use artifacts::StorageFlags;
use clap::Parser;
use runtime::Flags;
use std::path::PathBuf;
use types::GoDuration;

/// The arguments of Flux's source-controller, under the same names and with the same defaults.
#[derive(Debug, Parser)]
#[command(name = "source-controller", version, about = "Fetches Git repositories and other sources, and serves them as artifacts")]
pub struct Args {
    #[command(flatten)]
    pub flags: Flags,

    #[command(flatten)]
    pub storage: StorageFlags,
    /// Folder of the Git caches; inside of the storage, and not served, when empty
    #[arg(long, value_name = "DIR")]
    pub git_cache_path: Option<PathBuf>,

    /// Largest Helm index that is read, in bytes
    #[arg(long, default_value_t = 52_428_800, value_name = "BYTES")]
    pub helm_index_max_size: i64,
    /// Largest chart that is read, in bytes
    #[arg(long, default_value_t = 10_485_760, value_name = "BYTES")]
    pub helm_chart_max_size: i64,
    /// Largest file of a chart that is read, in bytes
    #[arg(long, default_value_t = 5_242_880, value_name = "BYTES")]
    pub helm_chart_file_max_size: i64,
    /// How many Helm indexes are kept in memory
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub helm_cache_max_size: i64,
    /// How long a Helm index is kept in memory
    #[arg(long, default_value = "15m", value_name = "DURATION")]
    pub helm_cache_ttl: GoDuration,
    /// How often old Helm indexes are dropped
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub helm_cache_purge_interval: GoDuration,
    /// Key exchange algorithms for SSH
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub ssh_kex_algos: Vec<String>,
    /// Host key algorithms for SSH
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub ssh_hostkey_algos: Vec<String>,
    /// ServiceAccount that is used where an object names none
    #[arg(long, default_value = "", value_name = "NAME")]
    pub default_service_account: String,
}

/// Feature gates of Flux's source-controller and whether they are on by default.
pub const GATES: [(&str, bool); 2] = [("CacheSecretsAndConfigMaps", false), (crate::WORKLOAD_IDENTITY_GATE, false)];

impl Args {
    /// The options that the arguments spell out.
    pub fn options(&self) -> Result<Options, runtime::Error> {
        let mut options = Options::new(self.storage.storage_path.clone());
        let wrong = |error: &dyn std::fmt::Display| runtime::Error::Flag(error.to_string());
        options.storage = self.storage.storage().map_err(|error| wrong(&error))?;
        options.ssh_algorithms = git::Algorithms::only(&self.ssh_kex_algos, &self.ssh_hostkey_algos).map_err(|error| wrong(&error))?;
        if let Some(path) = &self.git_cache_path {
            options.git_cache = path.clone();
        }
        if let Some(concurrent) = self.flags.concurrent {
            options.concurrent = concurrent;
        }
        let bytes = |given: i64| u64::try_from(given).unwrap_or_default();
        options.helm_limits.index_max = bytes(self.helm_index_max_size);
        options.helm_limits.chart_max = bytes(self.helm_chart_max_size);
        options.helm_limits.file_max = bytes(self.helm_chart_file_max_size);
        // Flux keeps none by default; here the charts of a repository share one index in any case.
        if let Ok(indexes @ 1..) = usize::try_from(self.helm_cache_max_size) {
            options.helm_limits.listings_max = indexes;
        }
        options.requeue_dependency = self.flags.requeue_dependency();
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_flux_manifests_are_accepted() {
        let args = Args::try_parse_from([
            "source-controller",
            "--events-addr=http://notification-controller.flux-system.svc.cluster.local./",
            "--watch-all-namespaces=true",
            "--log-level=info",
            "--log-encoding=json",
            "--enable-leader-election",
            "--storage-path=/data",
            "--storage-adv-addr=source-controller.$(RUNTIME_NAMESPACE).svc.cluster.local.",
            "--helm-cache-max-size=10",
            "--helm-cache-ttl=60m",
            "--artifact-retention-ttl=90s",
            "--artifact-digest-algo=blake3",
            "--ssh-kex-algos=curve25519-sha256,diffie-hellman-group14-sha256",
            "--ssh-hostkey-algos=ssh-ed25519",
            "--concurrent=7",
        ])
        .unwrap();
        let options = args.options().unwrap();
        assert_eq!((options.concurrent, options.storage.retention.ttl.as_secs()), (7, 90));
        assert_eq!(options.storage.digest_algorithm, types::Algorithm::Blake3);
        assert_eq!(options.git_cache, PathBuf::from("/data/.tmp-git-cache"));
    }

    #[test]
    fn an_unknown_algorithm_is_refused_with_the_known_ones() {
        let args = Args::try_parse_from(["source-controller", "--ssh-hostkey-algos=ssh-dss"]).unwrap();
        let told = args.options().unwrap_err().to_string();
        assert!(told.contains("ssh-dss") && told.contains("ssh-ed25519"), "{told}");
    }

    #[test]
    fn an_unknown_digest_algorithm_is_an_error_that_names_the_known_ones() {
        let args = Args::try_parse_from(["source-controller", "--artifact-digest-algo=md5"]).unwrap();
        assert!(args.options().unwrap_err().to_string().contains("sha256"));
    }
}
