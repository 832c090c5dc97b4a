//! A chart as the archive that repositories hold. The same chart gives the same bytes.

use crate::{
    chart::Chart,
    error::Error,
    metadata::{Lock, Metadata},
};
use serde_json::Value;
use std::io::Write;

/// Helm names itself in the header of the archive.
const COMMENT: &str = "Helm";

impl Chart {
    /// Gives the chart another version before it is packed.
    pub fn set_version(&mut self, version: &str) -> Result<(), Error> {
        if types::semver::Version::parse(version).is_err() {
            return Err(Error::Invalid(format!("chart.metadata.version {version:?} is invalid")));
        }
        self.metadata.version = version.to_owned();
        Ok(())
    }

    /// The name of the file that holds the packed chart.
    pub fn archive_name(&self) -> String {
        format!("{}-{}.tgz", self.metadata.name, self.metadata.version)
    }

    /// Packs the chart and the charts inside it. All files get the time `modified`, in seconds since 1970.
    pub fn pack(&self, modified: u64) -> Result<Vec<u8>, Error> {
        let failed = |error: std::io::Error| Error::Load(format!("cannot pack chart {:?}: {error}", self.metadata.name));
        let modified = u32::try_from(modified).unwrap_or(u32::MAX);
        let packed = flate2::GzBuilder::new().mtime(0).comment(COMMENT).write(Vec::new(), flate2::Compression::default());
        let mut archive = tar::Builder::new(packed);
        self.append(&mut archive, "", modified).map_err(failed)?;
        archive.into_inner().and_then(flate2::write::GzEncoder::finish).map_err(failed)
    }

    /// The order is Helm's: definition, lock, values, schema, templates, other files, charts.
    fn append(&self, archive: &mut tar::Builder<impl Write>, above: &str, modified: u32) -> std::io::Result<()> {
        let base = format!("{above}{}", self.metadata.name);
        let mut put = |name: &str, data: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(u64::from(modified));
            archive.append_data(&mut header, format!("{base}/{name}"), data)
        };
        put("Chart.yaml", definition(&self.metadata).as_bytes())?;
        if let Some(lock) = self.lock.as_ref().filter(|_| self.metadata.api_version == "v2") {
            put("Chart.lock", lock.to_yaml().as_bytes())?;
        }
        if let Some(values) = &self.values_text {
            put("values.yaml", values)?;
        }
        if let Some(schema) = &self.schema {
            if serde_json::from_slice::<serde::de::IgnoredAny>(schema).is_err() {
                return Err(std::io::Error::other("invalid JSON in values.schema.json"));
            }
            put("values.schema.json", schema)?;
        }
        for file in self.templates.iter().chain(self.files.iter()) {
            put(&file.name, file.data())?;
        }
        let charts = format!("{base}/charts/");
        self.dependencies.iter().try_for_each(|chart| chart.append(archive, &charts, modified))
    }
}

/// Chart.yaml as it is packed. Charts of API version 1 keep their dependencies in requirements.yaml.
fn definition(metadata: &Metadata) -> String {
    let mut value = serde_json::to_value(metadata).unwrap_or_default();
    if let Value::Object(map) = &mut value
        && metadata.api_version == "v1"
    {
        map.remove("dependencies");
    }
    yaml::emit(&value)
}

impl Lock {
    /// Chart.lock as Helm writes it.
    pub fn to_yaml(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(map) = &mut value
            && self.generated.is_empty()
        {
            // Go's time that was never set.
            map.insert("generated".to_owned(), Value::from("0001-01-01T00:00:00Z"));
        }
        yaml::emit(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChartLimits;
    use tree::MemoryTree;

    #[test]
    fn a_packed_chart_is_the_chart_again() {
        let files = [
            (
                "Chart.yaml",
                "apiVersion: v2\nname: web\nversion: 1.2.3\ndependencies:\n- {name: sub, version: 1.x, repository: 'file://../sub'}\n",
            ),
            (
                "Chart.lock",
                "dependencies:\n- {name: sub, repository: 'file://../sub', version: 1.0.0}\ndigest: sha256:ab\ngenerated: '2026-01-02T03:04:05Z'\n",
            ),
            ("values.yaml", "a: 1 # kept\n"),
            ("values.schema.json", "{}"),
            ("README.md", "read me"),
            ("templates/a.yaml", "kind: A"),
            ("charts/sub/Chart.yaml", "apiVersion: v1\nname: sub\nversion: 1.0.0\n"),
            ("charts/sub/templates/b.yaml", "kind: B"),
        ];
        let tree: MemoryTree = files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())).collect();
        let mut chart = Chart::from_tree(&tree, "", ChartLimits::default()).unwrap();
        chart.set_version("2.0.0").unwrap();
        assert!(chart.set_version("two").is_err());
        let packed = chart.pack(1_700_000_000).unwrap();
        assert_eq!(packed, chart.pack(1_700_000_000).unwrap(), "the same chart gives the same bytes");
        assert_eq!(chart.archive_name(), "web-2.0.0.tgz");
        let again = Chart::from_archive(&packed, ChartLimits::default()).unwrap();
        assert_eq!((&again.metadata, &again.lock, &again.values_text), (&chart.metadata, &chart.lock, &chart.values_text));
        assert_eq!((&again.templates, &again.files), (&chart.templates, &chart.files));
        assert_eq!(again.dependencies[0].templates, chart.dependencies[0].templates);
    }
}
