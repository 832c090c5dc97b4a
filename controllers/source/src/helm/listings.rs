use super::Remotes;
use crate::kept;
use api::Artifact;
use chartrepo::{Index, Listing};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Mutex as AsyncMutex;

/// The indexes that charts were chosen from lately, by digest: all charts of a repository share one.
pub(crate) struct Listings {
    kept: Mutex<Kept>,
    /// One index is read at a time: those who wait for the same one find it then.
    reading: AsyncMutex<()>,
}

struct Kept {
    max: usize,
    uses: u64,
    by_digest: HashMap<String, (u64, Arc<Listing>)>,
}

impl Listings {
    pub(crate) fn new(max: usize) -> Self {
        Self { kept: Mutex::new(Kept { max: max.max(1), uses: 0, by_digest: HashMap::new() }), reading: AsyncMutex::default() }
    }

    fn get(&self, digest: &str) -> Option<Arc<Listing>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let now = kept.uses;
        kept.by_digest.get_mut(digest).map(|(used, listing)| {
            *used = now;
            listing.clone()
        })
    }

    fn put(&self, digest: &str, listing: &Arc<Listing>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_digest.len() >= kept.max
            && let Some(oldest) = kept.by_digest.iter().min_by_key(|(_, (used, _))| *used).map(|(digest, _)| digest.clone())
        {
            kept.by_digest.remove(&oldest);
        }
        let now = kept.uses;
        kept.by_digest.insert(digest.to_owned(), (now, listing.clone()));
    }
}

impl Remotes {
    /// The charts of the index that a HelmRepository stored.
    pub(crate) async fn listing(&self, artifact: &Artifact) -> Result<Arc<Listing>, String> {
        if let Some(listing) = self.listings.get(&artifact.digest) {
            return Ok(listing);
        }
        let _reading = self.listings.reading.lock().await;
        if let Some(listing) = self.listings.get(&artifact.digest) {
            return Ok(listing);
        }
        let bytes = kept::content(&self.store, &self.http, artifact).await?;
        let parsed = tokio::task::spawn_blocking(move || Index::parse(&bytes).map(Index::listing)).await;
        let listing = parsed.map_err(|_| "internal error".to_owned())?.map_err(|e| format!("failed to load index: {e}"))?;
        let listing = Arc::new(listing);
        self.listings.put(&artifact.digest, &listing);
        Ok(listing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_that_was_not_asked_for_longest_goes_first() {
        let listings = Listings::new(2);
        let listing = Arc::new(Listing::default());
        listings.put("a", &listing);
        listings.put("b", &listing);
        assert!(listings.get("a").is_some());
        listings.put("c", &listing);
        assert!(listings.get("a").is_some() && listings.get("b").is_none() && listings.get("c").is_some());
    }
}
