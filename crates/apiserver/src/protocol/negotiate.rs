use crate::protocol::status::{Result, Status};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    Json,
    /// JSON with indentation, for people (`pretty=true`).
    Pretty,
    Yaml,
}

impl Encoding {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::Pretty => "application/json",
            Self::Yaml => "application/yaml",
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

pub const MEDIA_TYPES: &str = "application/json, application/yaml";

/// Picks the first form in the `Accept` header that can be served, by weight and then by order.
pub fn accept(header: &str, pretty: bool, shapes: bool) -> Result<Accepted> {
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
    for (_, clause) in clauses {
        let mut parts = clause.split(';').map(str::trim);
        let encoding = match parts.next().unwrap_or("") {
            "application/json" | "*/*" | "application/*" => json,
            "application/yaml" | "application/x-yaml" | "text/yaml" => Encoding::Yaml,
            _ => continue,
        };
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
        return Ok(Accepted { encoding, shape });
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
        let table = accept("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", false, true).unwrap();
        assert_eq!(table.shape, Shape::Table);
        let json = accept("application/vnd.kubernetes.protobuf,application/json", false, true).unwrap();
        assert_eq!(json, Accepted::default());
        assert_eq!(accept("application/yaml", false, true).unwrap().encoding, Encoding::Yaml);
        assert_eq!(accept("application/yaml;q=0.5, application/json", false, true).unwrap().encoding, Encoding::Json);
        assert_eq!(accept("application/vnd.kubernetes.protobuf", false, true).unwrap_err().code, 406);
        assert_eq!(accept("application/json;as=Table;v=v9;g=meta.k8s.io", false, true).unwrap_err().code, 406);
    }
}
