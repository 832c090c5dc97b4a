use crate::protocol::status::{Result, Status};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    Json,
    /// JSON with indentation, for people (`pretty=true`).
    Pretty,
    Yaml,
    Protobuf,
}

impl Encoding {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::Pretty => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// What of an object is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    #[default]
    Whole,
    /// `PartialObjectMetadata`: of one object.
    Metadata,
    /// `PartialObjectMetadataList`: of a list.
    MetadataList,
    Table,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub encoding: Encoding,
    pub shape: Shape,
    /// The version of tables and metadata.
    pub api_version: &'static str,
}

impl Default for Accepted {
    fn default() -> Self {
        Self { encoding: Encoding::default(), shape: Shape::default(), api_version: "meta.k8s.io/v1" }
    }
}

pub const MEDIA_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// YAML is no form of a watch.
const WATCHED_TYPES: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// Which forms an answer can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forms {
    /// Tables, and metadata alone.
    pub shapes: bool,
    /// Whole objects have a protobuf message; metadata always has. Custom resources have none.
    pub protobuf: bool,
    pub of: Of,
}

/// What an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    One,
    List,
    Watch,
}

impl Forms {
    pub const TEXT: Self = Self { shapes: false, protobuf: false, of: Of::One };
}

/// Picks the first form in the `Accept` header that can be served, by weight and then by order.
pub fn accept(header: &str, pretty: bool, forms: Forms) -> Result<Accepted> {
    let shapes = forms.shapes;
    let json = if pretty { Encoding::Pretty } else { Encoding::Json };
    if header.trim().is_empty() {
        return Ok(Accepted { encoding: json, ..Accepted::default() });
    }
    let mut clauses: Vec<(f32, &str)> = header
        .split(',')
        .map(|clause| {
            let weight = clause.split(';').find_map(|p| p.trim().strip_prefix("q=")).and_then(|q| q.trim().parse().ok());
            (weight.unwrap_or(1.0), clause)
        })
        .collect();
    clauses.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut known, mut unwatchable) = (false, false);
    for (_, clause) in clauses {
        let mut parts = clause.split(';').map(str::trim);
        let encoding = match parts.next().unwrap_or("") {
            "application/json" | "*/*" | "application/*" => json,
            "application/yaml" | "application/x-yaml" | "text/yaml" => Encoding::Yaml,
            "application/vnd.kubernetes.protobuf" => Encoding::Protobuf,
            _ => continue,
        };
        known = true;
        let parameters: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('=')).collect();
        let parameter = |name: &str| parameters.iter().find(|(k, _)| *k == name).map_or("", |(_, v)| *v);
        let api_version = match (parameter("g"), parameter("v")) {
            ("meta.k8s.io", "v1") => Some("meta.k8s.io/v1"),
            ("meta.k8s.io", "v1beta1") => Some("meta.k8s.io/v1beta1"),
            _ => None,
        };
        let shape = match parameter("as") {
            "" => Shape::Whole,
            _ if !shapes || api_version.is_none() => continue,
            "Table" => Shape::Table,
            "PartialObjectMetadata" => Shape::Metadata,
            "PartialObjectMetadataList" => Shape::MetadataList,
            _ => continue,
        };
        let written = match shape {
            Shape::Whole => forms.protobuf,
            Shape::Metadata | Shape::MetadataList => true,
            Shape::Table => false,
        };
        if encoding == Encoding::Protobuf && !written {
            continue;
        }
        if encoding == Encoding::Yaml && forms.of == Of::Watch {
            unwatchable = true;
            continue;
        }
        return Ok(Accepted { encoding, shape, api_version: api_version.unwrap_or(Accepted::default().api_version) });
    }
    if unwatchable {
        return Err(Status::not_acceptable(WATCHED_TYPES));
    }
    if !known && forms.protobuf {
        // Paths of built-in kinds are refused before anything looks at what they mean.
        let watches = if forms.of == Of::One { String::new() } else { format!(", {WATCHED_TYPES}") };
        let mut status =
            Status::new(406, "NotAcceptable", format!("406: Not Acceptable\n\nAvailable representations: {MEDIA_TYPES}{watches}"));
        status.details = Some(Box::default());
        return Err(status);
    }
    Err(Status::not_acceptable(MEDIA_TYPES))
}

/// The type of a request body, without parameters.
pub fn media_type(header: &str) -> &str {
    header.split(';').next().unwrap_or("").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_can_be_served_is_taken() {
        let all = Forms { shapes: true, protobuf: true, of: Of::One };
        let custom = Forms { protobuf: false, ..all };
        let table = accept("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", false, all).unwrap();
        assert_eq!(table.shape, Shape::Table);
        let protobuf = accept("application/vnd.kubernetes.protobuf,application/json", false, all).unwrap();
        assert_eq!(protobuf.encoding, Encoding::Protobuf);
        assert_eq!(accept("application/vnd.kubernetes.protobuf,application/json", false, custom).unwrap(), Accepted::default());
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
        let both = Accepted { encoding: Encoding::Protobuf, shape: Shape::Metadata, api_version: "meta.k8s.io/v1" };
        assert_eq!(accept(metadata, false, custom).unwrap(), both);
        assert_eq!(accept("application/yaml", false, all).unwrap().encoding, Encoding::Yaml);
        let watch = Forms { of: Of::Watch, ..all };
        assert_eq!(accept("application/yaml", false, watch).unwrap_err().code, 406);
        assert_eq!(accept("application/yaml,application/json", false, watch).unwrap().encoding, Encoding::Json);
        let old = accept("application/json;as=Table;v=v1beta1;g=meta.k8s.io", false, all).unwrap();
        assert_eq!((old.shape, old.api_version), (Shape::Table, "meta.k8s.io/v1beta1"));
        assert_eq!(accept("application/yaml;q=0.5, application/json", false, all).unwrap().encoding, Encoding::Json);
        assert_eq!(accept("application/vnd.kubernetes.protobuf", false, custom).unwrap_err().code, 406);
        assert_eq!(accept("application/json;as=Table;v=v9;g=meta.k8s.io", false, all).unwrap_err().code, 406);
        assert_eq!(accept("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", false, all).unwrap_err().code, 406);
    }
}
