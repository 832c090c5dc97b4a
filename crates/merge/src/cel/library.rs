//! The functions that expressions may call, by name and types.
//!
//! Those of CEL, of its extensions for strings, lists and sets, and of Kubernetes' own libraries, as the environment of
//! Kubernetes 1.36 has them. `A` and `B` are any type; a name before a dot is what a function is called on.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::types::Type;

/// One way to call a function.
#[derive(Debug, Clone)]
pub struct Overload {
    /// Called on its first parameter: `text.size()`.
    pub member: bool,
    pub parameters: Vec<Type>,
    pub result: Type,
}

/// `name: (parameters) result; …`, a member where the list begins with a dot.
const FUNCTIONS: &str = "
_?_:_: (bool, A, A) A
_&&_: (bool, bool) bool
_||_: (bool, bool) bool
!_: (bool) bool
@not_strictly_false: (bool) bool
_==_: (A, A) bool
_!=_: (A, A) bool
_<_: (bool, bool) bool; (int, int) bool; (int, double) bool; (int, uint) bool; (uint, uint) bool; (uint, double) bool; (uint, int) bool; (double, double) bool; (double, int) bool; (double, uint) bool; (string, string) bool; (bytes, bytes) bool; (timestamp, timestamp) bool; (duration, duration) bool
_<=_: (bool, bool) bool; (int, int) bool; (int, double) bool; (int, uint) bool; (uint, uint) bool; (uint, double) bool; (uint, int) bool; (double, double) bool; (double, int) bool; (double, uint) bool; (string, string) bool; (bytes, bytes) bool; (timestamp, timestamp) bool; (duration, duration) bool
_>_: (bool, bool) bool; (int, int) bool; (int, double) bool; (int, uint) bool; (uint, uint) bool; (uint, double) bool; (uint, int) bool; (double, double) bool; (double, int) bool; (double, uint) bool; (string, string) bool; (bytes, bytes) bool; (timestamp, timestamp) bool; (duration, duration) bool
_>=_: (bool, bool) bool; (int, int) bool; (int, double) bool; (int, uint) bool; (uint, uint) bool; (uint, double) bool; (uint, int) bool; (double, double) bool; (double, int) bool; (double, uint) bool; (string, string) bool; (bytes, bytes) bool; (timestamp, timestamp) bool; (duration, duration) bool
_+_: (bytes, bytes) bytes; (double, double) double; (duration, duration) duration; (duration, timestamp) timestamp; (timestamp, duration) timestamp; (int, int) int; (list(A), list(A)) list(A); (string, string) string; (uint, uint) uint
_-_: (double, double) double; (duration, duration) duration; (int, int) int; (timestamp, duration) timestamp; (timestamp, timestamp) duration; (uint, uint) uint
_*_: (double, double) double; (int, int) int; (uint, uint) uint
_/_: (double, double) double; (int, int) int; (uint, uint) uint
_%_: (int, int) int; (uint, uint) uint
-_: (double) double; (int) int
_[_]: (list(A), int) A; (map(A, B), A) B; (optional(list(A)), int) optional(A); (optional(map(A, B)), A) optional(B)
_[?_]: (list(A), int) optional(A); (map(A, B), A) optional(B); (optional(list(A)), int) optional(A); (optional(map(A, B)), A) optional(B)
@in: (A, list(A)) bool; (A, map(A, B)) bool
size: (bytes) int; (list(A)) int; (map(A, B)) int; (string) int; .(bytes) int; .(list(A)) int; .(map(A, B)) int; .(string) int
type: (A) type(A)
dyn: (A) dyn
bool: (bool) bool; (string) bool
bytes: (bytes) bytes; (string) bytes
double: (double) double; (int) double; (string) double; (uint) double
duration: (duration) duration; (int) duration; (string) duration
int: (int) int; (double) int; (duration) int; (string) int; (timestamp) int; (uint) int
string: (string) string; (bool) string; (bytes) string; (double) string; (duration) string; (int) string; (timestamp) string; (uint) string; (net.IP) string; (net.CIDR) string
timestamp: (timestamp) timestamp; (int) timestamp; (string) timestamp
uint: (uint) uint; (double) uint; (int) uint; (string) uint
contains: .(string, string) bool
endsWith: .(string, string) bool
startsWith: .(string, string) bool
matches: (string, string) bool; .(string, string) bool
getDate: .(timestamp) int; .(timestamp, string) int
getDayOfMonth: .(timestamp) int; .(timestamp, string) int
getDayOfWeek: .(timestamp) int; .(timestamp, string) int
getDayOfYear: .(timestamp) int; .(timestamp, string) int
getFullYear: .(timestamp) int; .(timestamp, string) int
getMonth: .(timestamp) int; .(timestamp, string) int
getHours: .(timestamp) int; .(timestamp, string) int; .(duration) int
getMinutes: .(timestamp) int; .(timestamp, string) int; .(duration) int
getSeconds: .(timestamp) int; .(timestamp, string) int; .(duration) int
getMilliseconds: .(timestamp) int; .(timestamp, string) int; .(duration) int
optional.of: (A) optional(A)
optional.ofNonZeroValue: (A) optional(A)
optional.none: () optional(A)
value: .(optional(A)) A
hasValue: .(optional(A)) bool
or: .(optional(A), optional(A)) optional(A)
orValue: .(optional(A), A) A
unwrap: .(list(optional(A))) list(A)
optional.unwrap: (list(optional(A))) list(A)
cel.@mapInsert: (map(A, B), A, B) map(A, B); (map(A, B), map(A, B)) map(A, B)
charAt: .(string, int) string
indexOf: .(string, string) int; .(string, string, int) int; .(list(A), A) int
lastIndexOf: .(string, string) int; .(string, string, int) int; .(list(A), A) int
join: .(list(string)) string; .(list(string), string) string
lowerAscii: .(string) string
upperAscii: .(string) string
replace: .(string, string, string) string; .(string, string, string, int) string
split: .(string, string) list(string); .(string, string, int) list(string)
substring: .(string, int) string; .(string, int, int) string
trim: .(string) string
format: .(string, list(dyn)) string
strings.quote: (string) string
isSorted: .(list(A)) bool
sum: .(list(int)) int; .(list(uint)) uint; .(list(double)) double; .(list(duration)) duration
max: .(list(A)) A
min: .(list(A)) A
find: .(string, string) string
findAll: .(string, string) list(string); .(string, string, int) list(string)
sets.contains: (list(A), list(A)) bool
sets.equivalent: (list(A), list(A)) bool
sets.intersects: (list(A), list(A)) bool
slice: .(list(A), int, int) list(A)
flatten: .(list(list(A))) list(A); .(list(dyn), int) list(dyn)
lists.range: (int) list(int)
distinct: .(list(A)) list(A)
reverse: .(list(A)) list(A)
sort: .(list(A)) list(A)
first: .(list(A)) optional(A)
last: .(list(A)) optional(A)
url: (string) kubernetes.URL
isURL: (string) bool
getScheme: .(kubernetes.URL) string
getHost: .(kubernetes.URL) string
getHostname: .(kubernetes.URL) string
getPort: .(kubernetes.URL) string
getEscapedPath: .(kubernetes.URL) string
getQuery: .(kubernetes.URL) map(string, list(string))
ip: (string) net.IP; .(net.CIDR) net.IP
isIP: (string) bool
ip.isCanonical: (string) bool
family: .(net.IP) int
isUnspecified: .(net.IP) bool
isLoopback: .(net.IP) bool
isLinkLocalMulticast: .(net.IP) bool
isLinkLocalUnicast: .(net.IP) bool
isGlobalUnicast: .(net.IP) bool
cidr: (string) net.CIDR
isCIDR: (string) bool
containsIP: .(net.CIDR, string) bool; .(net.CIDR, net.IP) bool
containsCIDR: .(net.CIDR, string) bool; .(net.CIDR, net.CIDR) bool
masked: .(net.CIDR) net.CIDR
prefixLength: .(net.CIDR) int
quantity: (string) kubernetes.Quantity
isQuantity: (string) bool
sign: .(kubernetes.Quantity) int
isInteger: .(kubernetes.Quantity) bool
asInteger: .(kubernetes.Quantity) int
asApproximateFloat: .(kubernetes.Quantity) double
isGreaterThan: .(kubernetes.Quantity, kubernetes.Quantity) bool; .(kubernetes.Semver, kubernetes.Semver) bool
isLessThan: .(kubernetes.Quantity, kubernetes.Quantity) bool; .(kubernetes.Semver, kubernetes.Semver) bool
compareTo: .(kubernetes.Quantity, kubernetes.Quantity) int; .(kubernetes.Semver, kubernetes.Semver) int
add: .(kubernetes.Quantity, kubernetes.Quantity) kubernetes.Quantity; .(kubernetes.Quantity, int) kubernetes.Quantity
sub: .(kubernetes.Quantity, kubernetes.Quantity) kubernetes.Quantity; .(kubernetes.Quantity, int) kubernetes.Quantity
semver: (string) kubernetes.Semver; (string, bool) kubernetes.Semver
isSemver: (string) bool; (string, bool) bool
major: .(kubernetes.Semver) int
minor: .(kubernetes.Semver) int
patch: .(kubernetes.Semver) int
format.named: (string) optional(kubernetes.NamedFormat)
format.byte: () kubernetes.NamedFormat
format.date: () kubernetes.NamedFormat
format.datetime: () kubernetes.NamedFormat
format.dns1035Label: () kubernetes.NamedFormat
format.dns1035LabelPrefix: () kubernetes.NamedFormat
format.dns1123Label: () kubernetes.NamedFormat
format.dns1123LabelPrefix: () kubernetes.NamedFormat
format.dns1123Subdomain: () kubernetes.NamedFormat
format.dns1123SubdomainPrefix: () kubernetes.NamedFormat
format.labelValue: () kubernetes.NamedFormat
format.qualifiedName: () kubernetes.NamedFormat
format.uri: () kubernetes.NamedFormat
format.uuid: () kubernetes.NamedFormat
validate: .(kubernetes.NamedFormat, string) optional(list(string))
path: .(kubernetes.authorization.Authorizer, string) kubernetes.authorization.PathCheck
group: .(kubernetes.authorization.Authorizer, string) kubernetes.authorization.GroupCheck
serviceAccount: .(kubernetes.authorization.Authorizer, string, string) kubernetes.authorization.Authorizer
resource: .(kubernetes.authorization.GroupCheck, string) kubernetes.authorization.ResourceCheck
subresource: .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.ResourceCheck
namespace: .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.ResourceCheck
name: .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.ResourceCheck
fieldSelector: .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.ResourceCheck
labelSelector: .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.ResourceCheck
check: .(kubernetes.authorization.PathCheck, string) kubernetes.authorization.Decision; .(kubernetes.authorization.ResourceCheck, string) kubernetes.authorization.Decision
allowed: .(kubernetes.authorization.Decision) bool
reason: .(kubernetes.authorization.Decision) string
error: .(kubernetes.authorization.Decision) string
errored: .(kubernetes.authorization.Decision) bool
jsonpatch.escapeKey: (string) string
";

static TABLE: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    FUNCTIONS
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, overloads)| (name, overloads.split("; ").filter_map(overload).collect()))
        .collect()
});

/// The ways to call a function; none when there is no such function.
pub fn overloads(name: &str) -> &'static [Overload] {
    TABLE.get(name).map_or(&[], Vec::as_slice)
}

/// The name of a type as a value: `type(x) == int`.
pub fn type_name(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "list" => Type::List(Box::new(Type::Dyn)),
        "map" => Type::Map(Box::new(Type::Dyn), Box::new(Type::Dyn)),
        "null_type" => Type::Null,
        "type" => Type::Type(Box::new(Type::Dyn)),
        "optional_type" => Type::Optional(Box::new(Type::Dyn)),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        other => opaque(other)?,
    })
}

const OPAQUE: [&str; 11] = [
    "kubernetes.URL",
    "kubernetes.Quantity",
    "kubernetes.Semver",
    "kubernetes.NamedFormat",
    "net.IP",
    "net.CIDR",
    "kubernetes.authorization.Authorizer",
    "kubernetes.authorization.PathCheck",
    "kubernetes.authorization.GroupCheck",
    "kubernetes.authorization.ResourceCheck",
    "kubernetes.authorization.Decision",
];

fn opaque(name: &str) -> Option<Type> {
    OPAQUE.into_iter().find(|known| *known == name).map(Type::Opaque)
}

/// `(list(A), int) A`, or the same with a dot before it.
fn overload(text: &str) -> Option<Overload> {
    let member = text.starts_with('.');
    let text = text.trim_start_matches('.').strip_prefix('(')?;
    let end = closing(text)?;
    let parameters = split(&text[..end]).into_iter().map(parse).collect::<Option<Vec<_>>>()?;
    Some(Overload { member, parameters, result: parse(text[end + 1..].trim())? })
}

/// Where the bracket that is open at the beginning closes.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.char_indices().find_map(|(at, c)| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        (depth == 0).then_some(at)
    })
}

fn split(text: &str) -> Vec<&str> {
    let (mut out, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        out.push(text[start..].trim());
    }
    out
}

fn parse(text: &str) -> Option<Type> {
    if let Some((name, rest)) = text.split_once('(') {
        let mut inner = split(rest.strip_suffix(')')?).into_iter().map(parse);
        let first = Box::new(inner.next()??);
        return Some(match name {
            "list" => Type::List(first),
            "map" => Type::Map(first, Box::new(inner.next()??)),
            "optional" => Type::Optional(first),
            "type" => Type::Type(first),
            _ => return None,
        });
    }
    Some(match text {
        "A" => Type::Parameter('A'),
        "B" => Type::Parameter('B'),
        "dyn" => Type::Dyn,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        other => type_name(other)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_can_be_read() {
        for line in FUNCTIONS.lines().filter(|line| !line.is_empty()) {
            let (name, ways) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
            assert_eq!(overloads(name).len(), ways.split("; ").count(), "{line}");
        }
    }
}
