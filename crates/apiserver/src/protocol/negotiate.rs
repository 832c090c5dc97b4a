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
    /// `PartialObjectMetadata`, or its list.
    Metadata,
    Table,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepted {
    pub encoding: Encoding,
    pub shape: Shape,
}

pub const MEDIA_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// Custom resources have no messages.
pub const CUSTOM_MEDIA_TYPES: &str = "application/json, application/yaml";

/// Which forms an answer can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forms {
    /// Tables, and metadata alone.
    pub shapes: bool,
    /// Whole objects have a protobuf message; metadata always has.
    pub protobuf: bool,
}

impl Forms {
    pub const TEXT: Self = Self { shapes: false, protobuf: false };
}

/// Picks the first form in the `Accept` header that can be served, by weight and then by order.
pub fn accept(header: &str, pretty: bool, forms: Forms) -> Result<Accepted> {
    let shapes = forms.shapes;
    let json = if pretty { Encoding::Pretty } else { Encoding::Json };
    if header.trim().is_empty() {
        return Ok(Accepted { encoding: json, shape: Shape::Whole });
    }
    let mut clauses: Vec<(f32, &str)> = header
        .split(',')
        .map(|clause| {
            let weight = clause.split(';').find_map(|p| p.trim().strip_prefix("q=")).and_then(|q| q.trim().parse().ok());
            (weight.unwrap_or(1.0), clause)
        })
        .collect();
    clauses.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut known = false;
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
        let shape = match parameter("as") {
            "" => Shape::Whole,
            _ if !shapes => continue,
            "Table" if parameter("g") == "meta.k8s.io" && matches!(parameter("v"), "v1" | "v1beta1") => Shape::Table,
            "PartialObjectMetadata" | "PartialObjectMetadataList"
                if parameter("g") == "meta.k8s.io" && matches!(parameter("v"), "v1" | "v1beta1") =>
            {
                Shape::Metadata
            }
            _ => continue,
        };
        let written = match shape {
            Shape::Whole => forms.protobuf,
            Shape::Metadata => true,
            Shape::Table => false,
        };
        if encoding == Encoding::Protobuf && !written {
            continue;
        }
        return Ok(Accepted { encoding, shape });
    }
    if !known && forms.protobuf {
        // Paths of built-in kinds are refused before anything looks at what they mean.
        let watches = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        let mut status =
            Status::new(406, "NotAcceptable", format!("406: Not Acceptable\n\nAvailable representations: {MEDIA_TYPES}, {watches}"));
        status.details = Some(Box::default());
        return Err(status);
    }
    Err(Status::not_acceptable(if forms.protobuf { MEDIA_TYPES } else { CUSTOM_MEDIA_TYPES }))
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
        let all = Forms { shapes: true, protobuf: true };
        let custom = Forms { shapes: true, protobuf: false };
        let table = accept("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", false, all).unwrap();
        assert_eq!(table.shape, Shape::Table);
        let protobuf = accept("application/vnd.kubernetes.protobuf,application/json", false, all).unwrap();
        assert_eq!(protobuf.encoding, Encoding::Protobuf);
        assert_eq!(accept("application/vnd.kubernetes.protobuf,application/json", false, custom).unwrap(), Accepted::default());
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
        let both = Accepted { encoding: Encoding::Protobuf, shape: Shape::Metadata };
        assert_eq!(accept(metadata, false, custom).unwrap(), both);
        assert_eq!(accept("application/yaml", false, all).unwrap().encoding, Encoding::Yaml);
        assert_eq!(accept("application/yaml;q=0.5, application/json", false, all).unwrap().encoding, Encoding::Json);
        assert_eq!(accept("application/vnd.kubernetes.protobuf", false, custom).unwrap_err().code, 406);
        assert_eq!(accept("application/json;as=Table;v=v9;g=meta.k8s.io", false, all).unwrap_err().code, 406);
        assert_eq!(accept("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", false, all).unwrap_err().code, 406);
    }
}
