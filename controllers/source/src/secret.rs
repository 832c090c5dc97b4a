use cluster::{Client, Resource};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The data of a Secret. No `Debug`: it must not be printed.
#[derive(Default)]
pub(crate) struct Secret {
    data: BTreeMap<String, Vec<u8>>,
}

/// Why a Secret could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("secrets {0:?} not found")]
    NotFound(String),
    #[error(transparent)]
    Api(cluster::Error),
    #[error("the data of secret {0:?} is not valid")]
    Data(String),
}

impl Secret {
    pub(crate) async fn read(client: &Client, namespace: &str, name: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(default)]
            data: Option<BTreeMap<String, String>>,
        }
        let secrets = Resource::namespaced("", "v1", "Secret", "secrets");
        let bytes = client.get_opt(&secrets, namespace, name).await.map_err(Error::Api)?.ok_or_else(|| Error::NotFound(name.to_owned()))?;
        // Errors of the parser could quote what they read.
        let raw: Raw = serde_json::from_slice(&bytes).map_err(|_| Error::Data(name.to_owned()))?;
        let mut data = BTreeMap::new();
        for (key, value) in raw.data.unwrap_or_default() {
            let value =
                base64::Engine::decode(&base64::engine::general_purpose::STANDARD, value).map_err(|_| Error::Data(name.to_owned()))?;
            data.insert(key, value);
        }
        Ok(Self { data })
    }

    #[cfg(test)]
    pub(crate) fn of(data: &[(&str, &str)]) -> Self {
        Self { data: data.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect() }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(Vec::as_slice)
    }

    /// The value of a key that is there and not empty.
    pub(crate) fn filled(&self, key: &str) -> Option<&[u8]> {
        self.get(key).filter(|value| !value.is_empty())
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.data.keys().map(String::as_str)
    }

    pub(crate) fn text(&self, key: &str) -> String {
        self.get(key).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }
}
