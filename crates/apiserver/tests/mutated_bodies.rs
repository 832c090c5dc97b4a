//! Bodies that are almost right. `SLUICE_FUZZ_SECONDS` makes it go on for longer; the same function is behind `fuzz/`.

#![allow(clippy::unwrap_used)]

use apiserver::probe::{Probe, REQUESTS};
use std::time::{Duration, Instant};

/// A small generator of our own: the same seed gives the same bodies everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }
}

/// Bodies from which others are made.
const SEEDS: &[&[u8]] = &[
    br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"made","labels":{"a":"b"}},"data":{"k":"v"}}"#,
    br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"probe","managedFields":[{"manager":"m","operation":"Apply","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:data":{".":{},"f:key":{}}}}]},"data":{"key":"other"}}"#,
    b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: probe}\ndata: &a\n  k: |\n    text\n  l: \"x\"\n",
    b"k8s\x00\n\x10\n\x02v1\x12\tConfigMap\x12\x1a\n\x0c\n\x04made\x12\x00\x1a\x00\x22\x00\x12\n\n\x01k\x12\x05value",
    br#"[{"op":"add","path":"/data/new","value":"x"},{"op":"test","path":"/data/key","value":"value"},{"op":"move","from":"/data/new","path":"/data/moved"},{"op":"copy","from":"/data/key","path":"/data/copy"},{"op":"remove","path":"/data/copy"}]"#,
    br#"{"metadata":{"labels":{"x":null},"finalizers":["a.io/b"]},"data":{"k":null,"l":"m"}}"#,
    br#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"probe"},"spec":{"selector":{"matchLabels":{"app":"probe"}},"template":{"metadata":{"labels":{"app":"probe"}},"spec":{"containers":[{"name":"main","image":"nginx:2","resources":{"limits":{"cpu":"100m","memory":"1Gi"}},"ports":[{"containerPort":81,"protocol":"TCP"}]},{"name":"side","image":"x"}]}}}}"#,
    br#"{"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"side"},{"name":"main"}],"containers":[{"name":"main","env":[{"$patch":"delete","name":"A"}],"$retainKeys":["name","image"]},{"name":"side","image":"y"}],"$patch":"merge"}}}}"#,
    br#"{"status":{"replicas":3,"conditions":[{"type":"Available","status":"True"}]},"spec":{"replicas":2147483647}}"#,
    br#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"made"},"spec":{"type":"NodePort","clusterIP":"10.96.0.77","ports":[{"name":"a","port":80,"targetPort":"http","nodePort":30080},{"name":"b","port":81}]}}"#,
    br#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things.made.example.com"},"spec":{"group":"made.example.com","scope":"Cluster","names":{"plural":"things","kind":"Thing"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"n":{"type":"integer","default":3,"multipleOf":2}},"x-kubernetes-validations":[{"rule":"self.n > 1","message":"too few"}]}}}},"additionalPrinterColumns":[{"name":"N","type":"integer","jsonPath":".spec.n"}]}]}}"#,
    br#"{"apiVersion":"probe.example.com/v1","kind":"Widget","metadata":{"name":"probe"},"spec":{"size":5,"items":[{"key":"a","value":"z"},{"key":"c"}],"tags":["y","x"],"any":{"deep":[1,2.5,{"x":null}]},"port":"http"}}"#,
    br#"{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"verb":"get","resource":"pods","namespace":"default"}}}"#,
    br#"{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"x","resourceVersion":"1"},"propagationPolicy":"Foreground","gracePeriodSeconds":0,"dryRun":["All"]}"#,
    br#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"generateName":"made-"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get","*"]}]}"#,
    b"labelSelector=app+in+(probe,x),!y,z!%3D1&fieldSelector=metadata.name%3Dprobe&limit=1&resourceVersion=1&resourceVersionMatch=NotOlderThan",
    b"watch=1&sendInitialEvents=true&allowWatchBookmarks=1&resourceVersionMatch=NotOlderThan&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ",
];

/// What readers stumble over.
const WORDS: &[&[u8]] = &[
    b"null",
    b"{}",
    b"[]",
    b"\"\"",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"0.1",
    b"true",
    b"\"\\u0000\"",
    b"\\ud800",
    b"\xff\xfe",
    b"\"$patch\":\"replace\"",
    b"\"$patch\":\"delete\"",
    b"\"$retainKeys\":[\"x\"]",
    b"\"$deleteFromPrimitiveList/finalizers\":[\"a\"]",
    b"\"f:data\":{\"f:key\":{}}",
    b"\"k:{\\\"name\\\":\\\"main\\\"}\":{}",
    b"\"v:\\\"x\\\"\":{}",
    b"\"metadata\":null",
    b"\"metadata\":[]",
    b"\"managedFields\":[{}]",
    b"\"name\":\"../x\"",
    b"\"resourceVersion\":\"999\"",
    b"\"generateName\":\"a-\"",
    b"\"deletionTimestamp\":\"x\"",
    b"\"ownerReferences\":[{\"uid\":\"x\"}]",
    b"/-",
    b"/~1~0",
    b"*id",
    b"&id ",
    b"!!binary ",
    b"? ",
    b"<<: *a",
    b"---\n",
    b"|+\n",
    b"\t",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":",
    b"9999999999Ei",
    b"\"spec\":{}",
    b"%00",
    b"%zz",
    b",,,",
    b"((",
    b"!!",
];

fn mutate(random: &mut Random, body: &mut Vec<u8>) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(body.len() + 1);
        match random.below(7) {
            0 if at < body.len() => body[at] ^= 1 << random.below(8),
            1 => {
                let end = (at + 1 + random.below(8)).min(body.len());
                body.drain(at.min(end)..end);
            }
            2 | 3 => {
                let word = WORDS[random.below(WORDS.len())];
                body.splice(at..at, word.iter().copied());
            }
            4 => {
                // A piece of it again, somewhere else.
                let end = (at + random.below(40)).min(body.len());
                let piece: Vec<u8> = body[at..end].to_vec();
                let to = random.below(body.len() + 1);
                body.splice(to..to, piece);
            }
            5 => {
                let other = SEEDS[random.below(SEEDS.len())];
                let from = random.below(other.len());
                body.truncate(at);
                body.extend_from_slice(&other[from..]);
            }
            _ => {
                // One value for another.
                if let Some(colon) = body.iter().skip(at).position(|byte| *byte == b':') {
                    let start = at + colon + 1;
                    let end =
                        body.iter().skip(start).position(|byte| matches!(byte, b',' | b'}' | b'\n')).map_or(body.len(), |p| start + p);
                    body.splice(start..end, WORDS[random.below(WORDS.len())].iter().copied());
                }
            }
        }
    }
    body.truncate(64 << 10);
}

#[test]
fn no_body_brings_the_server_down() {
    let seconds: u64 = std::env::var("SLUICE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(std::env::var("SLUICE_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x5eed_cafe_f00d_0001));
    let mut probe = Probe::default();
    let (mut sent, mut accepted, mut broken) = (0_u32, 0_u32, 0_u32);
    while sent < 3000 || Instant::now() < deadline {
        let mut body = SEEDS[random.below(SEEDS.len())].to_vec();
        mutate(&mut random, &mut body);
        let mut input = vec![u8::try_from(random.below(REQUESTS.len())).unwrap(), u8::try_from(random.below(16)).unwrap()];
        input.extend_from_slice(&body);
        let before = Instant::now();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| probe.send(&input)));
        let Ok(code) = outcome else {
            panic!("a panic after {sent} bodies: {:?} {}", REQUESTS[usize::from(input[0])], String::from_utf8_lossy(&body));
        };
        assert!(
            before.elapsed() < Duration::from_secs(10),
            "{:?} took too long: {}",
            REQUESTS[usize::from(input[0])],
            String::from_utf8_lossy(&body)
        );
        sent += 1;
        accepted += u32::from((200..300).contains(&code));
        broken += u32::from(code >= 500);
    }
    println!("{sent} bodies, {accepted} accepted, {broken} answered with a code of 500 or more");
    assert!(accepted > sent / 50, "the bodies are so wrong that nothing behind the readers is reached: {accepted} of {sent}");
}
