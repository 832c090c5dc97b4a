//! Which controllers run, named as kube-controller-manager names them.

/// A set of controllers of workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Controllers(u16);

/// Those that can be switched off.
const NAMES: [&str; 13] = [
    "deployment",
    "replicaset",
    "replicationcontroller",
    "statefulset",
    "daemonset",
    "job",
    "cronjob",
    "endpoint",
    "endpointslice",
    "disruption",
    "horizontalpodautoscaling",
    "persistentvolume-binder",
    "resourcequota",
];

/// Those that a server cannot be without; naming them changes nothing.
const ALWAYS: [&str; 8] = [
    "namespace",
    "garbagecollector",
    "serviceaccount",
    "serviceaccount-token",
    "root-ca-certificate-publisher",
    "clusterrole-aggregation",
    "pvc-protection",
    "pv-protection",
];

impl Controllers {
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);
    pub const NONE: Self = Self(0);

    pub fn has(self, name: &str) -> bool {
        NAMES.iter().position(|known| *known == name).is_some_and(|at| self.0 & (1 << at) != 0)
    }

    /// Reads a list as kube-controller-manager's `--controllers` has it: `*` is all, `-name` leaves one out.
    pub fn parse(list: &str) -> Result<Self, UnknownController> {
        let mut out = Self::NONE;
        let words = || list.split(',').map(str::trim).filter(|word| !word.is_empty());
        if words().any(|word| word == "*") {
            out = Self::ALL;
        }
        for word in words().filter(|word| *word != "*") {
            let (name, on) = word.strip_prefix('-').map_or((word, true), |name| (name, false));
            let short = name.strip_suffix("-controller").unwrap_or(name);
            match NAMES.iter().position(|known| *known == short) {
                Some(at) if on => out.0 |= 1 << at,
                Some(at) => out.0 &= !(1 << at),
                None if on && ALWAYS.contains(&short) => {}
                None => return Err(UnknownController(name.to_owned())),
            }
        }
        Ok(out)
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no controller \"{0}\" that could be switched; those are {list}", list = NAMES.join(", "))]
pub struct UnknownController(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_controller_manager_reads_them() {
        assert_eq!(Controllers::parse("*"), Ok(Controllers::ALL));
        assert_eq!(Controllers::parse(""), Ok(Controllers::NONE));
        let some = Controllers::parse("deployment,replicaset-controller,namespace").unwrap();
        assert!(some.has("deployment") && some.has("replicaset") && !some.has("job"));
        let most = Controllers::parse("*,-cronjob").unwrap();
        assert!(most.has("job") && !most.has("cronjob"));
        assert!(Controllers::parse("-namespace").is_err(), "it cannot be switched off");
        assert!(Controllers::parse("nope").unwrap_err().to_string().contains("nope"));
    }
}
