//! Name references: when an object's name changed, the fields of others that hold its old name follow (kustomize api/filters/nameref).

use crate::{
    error::{Result, problem},
    fields::{FieldSpec, Make, Reference},
    id::{Gvk, Id, NO_NAMESPACE, Scopes},
    object::Objects,
    ops,
    transform::Run,
};
use smol_str::SmolStr;
use std::collections::{BTreeSet, HashMap};
use yaml::{Data, Node, Place};

/// What of an object matters to those that refer to it.
struct Target {
    id: Id,
    /// `_non_namespaceable_` for cluster-scoped objects.
    namespace: SmolStr,
    original_namespace: SmolStr,
    former: Vec<Id>,
    prefixes: Vec<SmolStr>,
    suffixes: Vec<SmolStr>,
    /// Where its name came from: that is where what refers to it has the name from.
    place: Place,
}

struct Resolver<'a> {
    targets: &'a [Target],
    /// Objects by every name they had before.
    by_former_name: &'a HashMap<SmolStr, Vec<usize>>,
    by_original_namespace: &'a HashMap<SmolStr, Vec<usize>>,
    referrer: usize,
    binding_namespaces: BTreeSet<SmolStr>,
    role_ref: Option<Gvk>,
    target: &'a Gvk,
}

/// Fixes the references of all objects.
pub(crate) fn fix(run: &Run<'_, '_>, objects: &mut Objects, references: &[Reference]) -> Result<()> {
    let scopes: Scopes = run.scopes();
    let targets: Vec<Target> = objects
        .list
        .iter()
        .map(|object| {
            let (id, original) = (object.id(), object.original_id());
            Target {
                namespace: id.effective_namespace(&scopes),
                original_namespace: original.effective_namespace(&scopes),
                former: object.former_ids().collect(),
                prefixes: object.prefixes.clone(),
                suffixes: object.suffixes.clone(),
                place: object.node.at_path(&["metadata", "name"]).map_or(object.node.place, |name| name.place),
                id,
            }
        })
        .collect();
    for (object, target) in objects.list.iter().zip(&targets) {
        // kustomize keeps such ids in lists with commas, and cannot take them apart again.
        if let Some(former) = object
            .former
            .iter()
            .find(|former| [&former.name, &former.kind, &former.namespace].iter().any(|part| part.is_empty() || part.contains(',')))
        {
            return Err(problem(format!("it was {} \"{}\" before, which is no name to refer to", former.kind, former.name)).on(&target.id));
        }
    }
    let mut by_former_name: HashMap<SmolStr, Vec<usize>> = HashMap::new();
    for (at, target) in targets.iter().enumerate() {
        for id in &target.former {
            let places = by_former_name.entry(id.name.clone()).or_default();
            if places.last() != Some(&at) {
                places.push(at);
            }
        }
    }
    let mut by_original_namespace: HashMap<SmolStr, Vec<usize>> = HashMap::new();
    for (at, target) in targets.iter().enumerate() {
        by_original_namespace.entry(target.original_namespace.clone()).or_default().push(at);
    }
    // Which fields an object of a type may refer with is the same for all of its type.
    let mut fields_of: HashMap<Gvk, Vec<(&Gvk, &FieldSpec)>> = HashMap::new();
    for (at, object) in objects.list.iter_mut().enumerate() {
        let original = object.original_id().gvk;
        let fields = fields_of.entry(original.clone()).or_insert_with(|| {
            let all = references.iter().flat_map(|reference| reference.referrers.iter().map(move |spec| (&reference.target, spec)));
            all.filter(|(_, spec)| original.selected_by(&spec.gvk)).collect()
        });
        if fields.is_empty() {
            continue;
        }
        run.context.budget.spend(fields.len() as u64)?;
        if object.node.get("apiVersion").is_some_and(|version| version.is_null() && version.text().is_some_and(|text| !text.is_empty())) {
            return Err(problem("apiVersion is null").on(&targets[at].id));
        }
        let binding_namespaces = binding_namespaces(&object.node).map_err(|error| error.on(&targets[at].id))?;
        let role_ref = role_ref(&object.node);
        for (target, spec) in fields.iter() {
            let resolver = Resolver {
                targets: &targets,
                by_former_name: &by_former_name,
                by_original_namespace: &by_original_namespace,
                referrer: at,
                binding_namespaces: binding_namespaces.clone(),
                role_ref: if spec.path.ends_with("roleRef/name") { role_ref.clone() } else { None },
                target,
            };
            let result = spec.apply(&mut object.node, Make::Nothing, run.place, &mut |node| resolver.set(node));
            if let Err(error) = result {
                return Err(error.on(&targets[at].id));
            }
        }
    }
    Ok(())
}

/// Namespaces of the service accounts that a role binding names: it may refer into them.
fn binding_namespaces(node: &Node) -> Result<BTreeSet<SmolStr>> {
    let mut namespaces = BTreeSet::new();
    if node.get("kind").and_then(Node::text) != Some("RoleBinding") {
        return Ok(namespaces);
    }
    for subject in node.get("subjects").and_then(Node::as_list).into_iter().flatten() {
        if subject.as_map().is_none() {
            return Err(problem(format!("a subject must be a map, but is {}", subject.describe())));
        }
        let Some(namespace) = subject.get("namespace") else { continue };
        let Some(kind) = subject.get("kind") else { continue };
        let kind = kind.as_str().ok_or_else(|| problem(format!("the kind of a subject must be a string, but is {}", kind.describe())))?;
        if kind == "ServiceAccount" {
            match namespace.as_str() {
                Some(namespace) => namespaces.insert(namespace.into()),
                None => return Err(problem(format!("the namespace of a subject must be a string, but is {}", namespace.describe()))),
            };
        }
    }
    Ok(namespaces)
}

fn role_ref(node: &Node) -> Option<Gvk> {
    let text = |key: &str| node.at_path(&["roleRef", key]).and_then(Node::text);
    Some(Gvk { group: text("apiGroup")?.into(), version: SmolStr::default(), kind: text("kind")?.into() })
}

impl Resolver<'_> {
    fn set(&self, node: &mut Node) -> Result<()> {
        match &mut node.data {
            Data::Scalar(scalar) if scalar.tag == yaml::Tag::Null => Ok(()),
            Data::Scalar(_) => self.set_scalar(node),
            Data::Map(_) => self.set_map(node),
            Data::List(items) => items.iter_mut().try_for_each(|item| match &item.data {
                Data::Scalar(scalar) if scalar.tag == yaml::Tag::Null => Ok(()),
                Data::Scalar(_) => self.set_scalar(item),
                Data::Map(_) => self.set_map(item),
                Data::List(_) => Err(problem("a reference must be a name or a map with a name, but is a list")),
            }),
        }
    }

    fn set_scalar(&self, node: &mut Node) -> Result<()> {
        let Some(old) = node.text() else { return Ok(()) };
        let Some(referral) = self.select(old, |_| true, |a, b| a.id.name == b.id.name)? else { return Ok(()) };
        if referral.id.name == old {
            return Ok(());
        }
        ops::set_text(node, &referral.id.name, referral.place)
    }

    /// A map with `name`, and perhaps `namespace`: both are set.
    fn set_map(&self, node: &mut Node) -> Result<()> {
        let Some(old) = node.get("name") else { return Err(problem("a reference must be a name or a map with a name; this map has none")) };
        let old = old.text().unwrap_or("").to_owned();
        let namespace = node.get("namespace").map(|namespace| SmolStr::from(namespace.text().unwrap_or("")));
        // Objects that came from the namespace are preferred to those that are in it now.
        let by_original = namespace.as_ref().is_some_and(|namespace| {
            *namespace != NO_NAMESPACE
                && self.by_original_namespace.get(namespace).is_some_and(|places| places.iter().any(|at| self.may_refer_to(*at)))
        });
        let same = |a: &Target, b: &Target| a.id.name == b.id.name && a.id.namespace == b.id.namespace;
        let in_namespace = |target: &Target| match &namespace {
            None => true,
            Some(namespace) if by_original => &target.original_namespace == namespace,
            Some(namespace) => &target.namespace == namespace && target.namespace != NO_NAMESPACE,
        };
        let Some(referral) = self.select(&old, in_namespace, same)? else { return Ok(()) };
        if referral.id.name == old && referral.id.namespace.is_empty() {
            return Ok(());
        }
        let (name, namespace, place) = (referral.id.name.clone(), referral.id.namespace.clone(), referral.place);
        ops::set_field_text(node, "name", &name, place);
        if !namespace.is_empty() {
            ops::set_field_text(node, "namespace", &namespace, place);
        }
        Ok(())
    }

    /// Whether the referrer may refer to an object at all.
    fn may_refer_to(&self, at: usize) -> bool {
        let (from, to) = (&self.targets[self.referrer], &self.targets[at]);
        from.namespace == NO_NAMESPACE
            || to.namespace == NO_NAMESPACE
            || from.namespace == to.namespace
            || self.binding_namespaces.contains(&to.id.namespace)
    }

    fn select(&self, old: &str, extra: impl Fn(&Target) -> bool, same: impl Fn(&Target, &Target) -> bool) -> Result<Option<&Target>> {
        let Some(places) = self.by_former_name.get(old) else { return Ok(None) };
        let from = &self.targets[self.referrer];
        let mut candidates: Vec<&Target> = places
            .iter()
            .filter(|at| self.may_refer_to(**at))
            .map(|at| &self.targets[*at])
            .filter(|to| extra(to))
            .filter(|to| to.former.iter().any(|id| id.gvk.selected_by(self.target)))
            .filter(|to| self.role_ref.as_ref().is_none_or(|gvk| to.former.iter().any(|id| id.gvk.selected_by(gvk))))
            .filter(|to| {
                from.namespace == NO_NAMESPACE
                    || to.namespace == NO_NAMESPACE
                    || to.id.gvk.kind == "ServiceAccount"
                    || from.namespace == to.namespace
            })
            .collect();
        if candidates.len() == 1 {
            return Ok(candidates.pop());
        }
        candidates.retain(|to| same_affixes(from, to, true));
        if candidates.len() > 1 {
            candidates.retain(|to| same_affixes(from, to, false));
        }
        match candidates.as_slice() {
            [] => Ok(None),
            [first, rest @ ..] => match rest.iter().find(|other| !same(first, other)) {
                None => Ok(Some(first)),
                Some(second) => Err(problem(format!("\"{old}\" may refer to several objects: {} and {}", first.id, second.id))),
            },
        }
    }
}

/// Whether two objects went through the same prefixes and suffixes at the end; none of them may match anything.
fn same_affixes(from: &Target, to: &Target, allow_empty: bool) -> bool {
    let same = |a: &[SmolStr], b: &[SmolStr]| {
        if allow_empty && (a.is_empty() || b.is_empty()) {
            return true;
        }
        // One must end with the other; against nothing that holds for nothing only.
        let (shorter, longer) = if a.len() < b.len() { (a, b) } else { (b, a) };
        if shorter.is_empty() { longer.is_empty() } else { longer.ends_with(shorter) }
    };
    same(&from.prefixes, &to.prefixes) && same(&from.suffixes, &to.suffixes)
}
