use std::collections::BTreeMap;

/// Feature gates: switches with a name, given as `--feature-gates=Name=true,Other=false`.
///
/// A gate that this controller does not know is warned of and has no effect, so that one set of flags
/// can be kept for controllers of different versions. (Flux's controllers refuse to start.)
#[derive(Debug, Clone, Default)]
pub struct FeatureGates {
    gates: BTreeMap<String, bool>,
}

impl FeatureGates {
    /// Takes the known gates with their defaults and what the user set; returns warnings for what has no effect.
    pub fn new(known: &[(&str, bool)], set: &str) -> (Self, Vec<String>) {
        let mut gates: BTreeMap<String, bool> = known.iter().map(|(name, on)| ((*name).to_owned(), *on)).collect();
        let mut warnings = Vec::new();
        for part in set.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').map_or((part, "true"), |(name, value)| (name.trim(), value.trim()));
            // The spellings of Go's strconv.ParseBool.
            let value = match value {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
                _ => None,
            };
            match (gates.get_mut(name), value) {
                (None, _) => warnings.push(format!("feature gate {name:?} is unknown and has no effect")),
                (Some(_), None) => warnings.push(format!("feature gate {name:?} takes true or false; it keeps its default")),
                (Some(gate), Some(on)) => *gate = on,
            }
        }
        (Self { gates }, warnings)
    }

    /// Whether the gate is on; a gate that was not declared is off.
    pub fn enabled(&self, name: &str) -> bool {
        self.gates.get(name).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_gates_switch_and_unknown_ones_warn() {
        let known = [("StrictPostBuildSubstitutions", true), ("GroupChangeLog", false)];
        let (gates, warnings) = FeatureGates::new(&known, "GroupChangeLog=true, Nope=true,StrictPostBuildSubstitutions=maybe");
        assert!(gates.enabled("GroupChangeLog"));
        assert!(gates.enabled("StrictPostBuildSubstitutions"));
        assert!(!gates.enabled("Nope"));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }
}
