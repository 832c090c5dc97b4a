use crate::backoff::Jitter;
use crate::clock::{Clock, rfc3339_micros};
use cluster::{Client, Error, Fence, Resource};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How leadership is held.
#[derive(Debug, Clone)]
pub struct LeaderElection {
    pub namespace: String,
    /// The name of the Lease.
    pub lease: String,
    /// Who holds it: unique to this replica.
    pub identity: String,
    pub lease_duration: Duration,
    pub renew_deadline: Duration,
    pub retry_period: Duration,
    pub release_on_cancel: bool,
}

/// The name that Flux gives to the lease of a controller; each shard has its own.
pub fn lease_name(controller: &str, label_selector: &str) -> String {
    if label_selector.is_empty() {
        return format!("{controller}-leader-election");
    }
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(label_selector.as_bytes());
    let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{controller}-leader-election-{short}")
}

/// Takes part in the election that client-go's leaderelection holds over a Lease.
///
/// Times of others are never compared with this machine's clock: a lease counts from when its change was *seen*.
/// Losing the lease does not end the process. The fence closes before another may take over, runs are cancelled,
/// and this replica stands for election again, with its caches warm.
pub(crate) struct Elector {
    pub(crate) client: Client,
    pub(crate) settings: LeaderElection,
    pub(crate) clock: Clock,
    pub(crate) jitter: Jitter,
    pub(crate) fence: Fence,
    pub(crate) leading: watch::Sender<bool>,
}

/// The lease as last seen.
#[derive(Default)]
struct Seen {
    lease: Value,
    /// When it was seen to change.
    at: Option<Instant>,
}

impl Seen {
    fn take(&mut self, lease: Value) {
        // As client-go: the record changed, whatever in it did.
        if self.lease["spec"] != lease["spec"] {
            self.at = Some(Instant::now());
        }
        self.lease = lease;
    }

    fn holder(&self) -> &str {
        self.lease["spec"]["holderIdentity"].as_str().unwrap_or("")
    }

    fn is_held_by_other(&self, me: &str, now: Instant) -> bool {
        let holds_for = Duration::from_secs(self.lease["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(0));
        !self.holder().is_empty() && self.holder() != me && self.at.is_some_and(|at| now < at + holds_for)
    }
}

impl Elector {
    /// Stands for election, leads, loses, stands again, until told to stop. Holds the lease until `released` then.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut seen = Seen::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.acquire(&mut seen) => {}
            }
            tracing::info!(lease = %self.settings.lease, identity = %self.settings.identity, "this replica leads");
            self.leading.send_replace(true);
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = self.renew(&mut seen) => false,
            };
            if stopped {
                if self.settings.release_on_cancel {
                    self.release(&mut seen).await;
                }
                self.fence.close();
                self.leading.send_replace(false);
                return;
            }
            self.fence.close();
            self.leading.send_replace(false);
            tracing::error!(lease = %self.settings.lease, "the lease was lost; standing for election again");
        }
    }

    async fn acquire(&self, seen: &mut Seen) {
        loop {
            match self.try_once(seen).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::info!(error = %error.chain(), lease = %self.settings.lease, "the lease cannot be read or taken"),
            }
            // As client-go: up to 1.2 times the period longer, so that candidates do not stay in step.
            let spread = (self.jitter.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            tokio::time::sleep(self.settings.retry_period.mul_f64(1.0 + 1.2 * spread)).await;
        }
    }

    /// Renews until that has not worked for the deadline.
    async fn renew(&self, seen: &mut Seen) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.settings.retry_period).await;
            let left = (renewed + self.settings.renew_deadline).saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.try_once(seen)).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                // Somebody else has it: no use in trying on.
                Ok(Ok(false)) if seen.holder() != self.settings.identity => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::info!(error = %error.chain(), "the lease was not renewed; trying again"),
                Err(_) => return,
            }
            if renewed.elapsed() >= self.settings.renew_deadline {
                return;
            }
        }
    }

    /// Takes the lease, or renews it; returns whether it is ours now.
    async fn try_once(&self, seen: &mut Seen) -> Result<bool, Error> {
        // Counted from before the request: the server's copy is never older than we believe.
        let asked = std::time::Instant::now();
        let (namespace, name) = (&self.settings.namespace, &self.settings.lease);
        let client = self.client.urgent();
        // A leader that renews knows the lease: one request instead of two, and the version guards it.
        let renewing = seen.holder() == self.settings.identity;
        if !renewing {
            match client.get_opt(&leases(), namespace, name).await? {
                Some(bytes) => seen.take(serde_json::from_slice(&bytes).map_err(Error::Decode)?),
                None => {
                    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                        "metadata": {"name": name, "namespace": namespace}, "spec": self.record(None)});
                    let body = lease.to_string().into_bytes();
                    let bytes = client.create(&leases(), namespace, "", body).await?;
                    seen.take(serde_json::from_slice(&bytes).map_err(Error::Decode)?);
                    self.extend(asked);
                    return Ok(true);
                }
            }
            if seen.is_held_by_other(&self.settings.identity, Instant::now()) {
                return Ok(false);
            }
        }
        let mut lease = seen.lease.clone();
        lease["spec"] = self.record(Some(&seen.lease["spec"]));
        match client.replace(&leases(), namespace, name, "", lease.to_string().into_bytes()).await {
            Ok(bytes) => {
                seen.take(serde_json::from_slice(&bytes).map_err(Error::Decode)?);
                self.extend(asked);
                Ok(true)
            }
            Err(error) if error.is_conflict() || error.is_not_found() => {
                // Changed behind our back, perhaps by an answer of ours that got lost: look before trying again.
                match client.get_opt(&leases(), namespace, name).await? {
                    Some(bytes) => seen.take(serde_json::from_slice(&bytes).map_err(Error::Decode)?),
                    None => *seen = Seen::default(),
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn extend(&self, asked: std::time::Instant) {
        self.fence.extend(asked, self.settings.renew_deadline);
    }

    /// The spec of the lease with us as its holder.
    fn record(&self, before: Option<&Value>) -> Value {
        let now = rfc3339_micros(self.clock.now());
        let mut record = before.cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
        let ours = record["holderIdentity"].as_str() == Some(&self.settings.identity);
        if !ours || record["acquireTime"].is_null() {
            record["acquireTime"] = now.as_str().into();
            let transitions = record["leaseTransitions"].as_i64().unwrap_or(0);
            record["leaseTransitions"] = if before.is_some() && !ours { transitions + 1 } else { transitions }.into();
        }
        record["holderIdentity"] = self.settings.identity.as_str().into();
        record["leaseDurationSeconds"] = self.settings.lease_duration.as_secs().into();
        record["renewTime"] = now.as_str().into();
        record
    }

    /// Gives the lease back, so that another may take it at once.
    async fn release(&self, seen: &mut Seen) {
        if seen.holder() != self.settings.identity {
            return;
        }
        // No write may follow the release.
        self.fence.close();
        let mut lease = seen.lease.clone();
        let now = rfc3339_micros(self.clock.now());
        // As client-go: no holder, and a duration of one second.
        lease["spec"]["holderIdentity"] = "".into();
        lease["spec"]["leaseDurationSeconds"] = 1.into();
        lease["spec"]["renewTime"] = now.as_str().into();
        lease["spec"]["acquireTime"] = now.as_str().into();
        let body = lease.to_string().into_bytes();
        let (client, leases) = (self.client.urgent(), leases());
        let answer = client.replace(&leases, &self.settings.namespace, &self.settings.lease, "", body);
        match tokio::time::timeout(Duration::from_secs(5), answer).await {
            Ok(Ok(_)) => tracing::info!(lease = %self.settings.lease, "the lease was given back"),
            Ok(Err(error)) => tracing::info!(error = %error.chain(), "the lease was not given back"),
            Err(_) => tracing::info!("the lease was not given back in time"),
        }
    }
}

fn leases() -> Resource {
    Resource::namespaced("coordination.k8s.io", "v1", "Lease", "leases")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_have_leases_of_their_own() {
        assert_eq!(lease_name("kustomize-controller", ""), "kustomize-controller-leader-election");
        // printf '%s' 'sharding.fluxcd.io/key=shard1' | sha256sum
        let shard = lease_name("kustomize-controller", "sharding.fluxcd.io/key=shard1");
        assert_eq!(shard.len(), "kustomize-controller-leader-election-".len() + 8);
        assert_ne!(shard, lease_name("kustomize-controller", "sharding.fluxcd.io/key=shard2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_counts_from_when_its_change_was_seen() {
        let lease = |renewed: &str| json!({"spec": {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": renewed}});
        let mut seen = Seen::default();
        // A holder whose clock is years behind is as good as any.
        seen.take(lease("2001-01-01T00:00:00.000000Z"));
        tokio::time::advance(Duration::from_secs(14)).await;
        assert!(seen.is_held_by_other("me", Instant::now()));
        seen.take(lease("2001-01-01T00:00:10.000000Z"));
        tokio::time::advance(Duration::from_secs(14)).await;
        assert!(seen.is_held_by_other("me", Instant::now()));
        seen.take(lease("2001-01-01T00:00:10.000000Z"));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!seen.is_held_by_other("me", Instant::now()), "unchanged for longer than it holds");
        seen.take(json!({"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}));
        assert!(!seen.is_held_by_other("me", Instant::now()), "given back");
    }
}
