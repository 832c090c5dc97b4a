use crate::{
    Dialect, Limits, Place, Style, Tag, decode,
    edit::{Recorder, Spot, Step},
    error::Error,
    node::{Data, Entry, Map, Node, Scalar},
    resolve::{self, Resolved},
    scan::{Kind, Mark, Scanner, Token},
};
use smol_str::SmolStr;
use std::collections::{HashMap, HashSet};

type Result<T> = std::result::Result<T, Error>;

/// Builds nodes from tokens by libyaml's grammar. Aliases and merge keys are resolved on the way, under a budget.
pub(crate) struct Composer<'a> {
    scanner: Scanner<'a>,
    dialect: Dialect,
    limits: Limits,
    source: u32,
    keys: Keys,
    first: bool,
    handles: HashMap<String, String>,
    anchors: HashMap<&'a str, Anchor>,
    /// The lines of the keys of every map that is being read; those of the innermost are last.
    lines: Vec<u32>,
    recorder: Option<Box<Recorder>>,
    /// The first key of the document that cannot be one.
    wrong_key: Option<Error>,
    /// Nodes made so far, and how many of them by aliases.
    made: usize,
    copied: usize,
}

/// What becomes of a key that is given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    Refused,
    LastWins,
    /// Both stay, the first is found, and whoever makes JSON of the map is told: nodes of kyaml, which reads first and looks later.
    Kept,
}

enum Anchor {
    /// Its node is still being read: an alias to it would contain itself.
    Open,
    Closed {
        node: Node,
        size: usize,
    },
}

/// Where a node stands decides which tokens may begin it.
#[derive(Clone, Copy, PartialEq)]
enum Context {
    Flow,
    Block,
    /// A block value whose list may stand at the indentation of its key.
    BlockIndentless,
}

impl<'a> Composer<'a> {
    pub fn new(text: &'a str, dialect: Dialect, limits: Limits, source: u32, keys: Keys) -> Self {
        Self {
            scanner: Scanner::new(text, limits.depth),
            dialect,
            limits,
            source,
            keys,
            first: true,
            handles: HashMap::new(),
            anchors: HashMap::new(),
            lines: Vec::new(),
            recorder: None,
            wrong_key: None,
            made: 0,
            copied: 0,
        }
    }

    /// Notes where scalars stand from now on.
    pub fn record(&mut self) {
        self.recorder = Some(Box::default());
    }

    pub fn recorded(self) -> Vec<Spot> {
        self.recorder.map(|recorder| recorder.spots).unwrap_or_default()
    }

    fn step(&mut self, step: impl FnOnce() -> Step) {
        if let Some(recorder) = &mut self.recorder {
            recorder.path.push(step());
        }
    }

    fn step_back(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.path.pop();
        }
    }

    /// A key, which is no scalar to be changed; the value that follows is under it.
    fn key(&mut self, context: Context, depth: usize) -> Result<Node> {
        if let Some(recorder) = &mut self.recorder {
            recorder.in_key += 1;
        }
        let key = self.node(context, depth);
        if let Some(recorder) = &mut self.recorder {
            recorder.in_key -= 1;
        }
        key
    }

    /// Counts lines from here, because the text stands in a larger one.
    pub fn begin_at_line(&mut self, line: usize) {
        self.scanner.begin_at_line(line);
    }

    /// The next document and the mark of its first token; `None` at the end of the text.
    pub fn document(&mut self) -> Result<Option<(Node, Mark)>> {
        let implicit = std::mem::replace(&mut self.first, false);
        if !implicit {
            while self.scanner.peek()?.kind == Kind::DocumentEnd {
                self.scanner.take()?;
            }
        }
        let token = self.scanner.peek()?;
        let start = token.mark;
        self.anchors.clear();
        self.lines.clear();
        self.handles.clear();
        let explicit = matches!(token.kind, Kind::Version(..) | Kind::TagDirective(..) | Kind::DocumentStart);
        match token.kind {
            Kind::StreamEnd => return Ok(None),
            _ if explicit => self.directives()?,
            _ if implicit => {}
            _ => return Err(Error::parse("did not find expected <document start>", start, None)),
        }
        let token = self.scanner.peek()?;
        let mark = token.mark;
        let node = match token.kind {
            Kind::Version(..) | Kind::TagDirective(..) | Kind::DocumentStart | Kind::DocumentEnd | Kind::StreamEnd if explicit => {
                self.empty(mark)
            }
            _ => self.node(Context::Block, 0)?,
        };
        if self.scanner.peek()?.kind == Kind::DocumentEnd {
            self.scanner.take()?;
        }
        if self.keys == Keys::Kept {
            self.scanner.look_ahead(3)?;
        }
        if let Some(error) = self.wrong_key.take() {
            return Err(error);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.document += 1;
        }
        // As go-yaml, which counts while it decodes: small documents may be nearly all alias, large ones hardly.
        if self.copied > 100 && self.made > 1000 && self.copied as f64 / self.made as f64 > allowed_alias_ratio(self.made) {
            return Err(self.excessive(mark));
        }
        Ok(Some((node, start)))
    }

    fn directives(&mut self) -> Result<()> {
        let mut version = false;
        loop {
            let token = self.scanner.peek()?.clone();
            match token.kind {
                Kind::Version(major, minor) => {
                    if version {
                        return Err(Error::parse("found duplicate %YAML directive", token.mark, None));
                    }
                    if (major, minor) != (1, 1) {
                        return Err(Error::parse("found incompatible YAML document", token.mark, None));
                    }
                    version = true;
                }
                Kind::TagDirective(handle, prefix) => {
                    if self.handles.insert(handle.to_owned(), prefix).is_some() {
                        return Err(Error::parse("found duplicate %TAG directive", token.mark, None));
                    }
                }
                Kind::DocumentStart => {
                    self.scanner.take()?;
                    return Ok(());
                }
                _ => return Err(Error::parse("did not find expected <document start>", token.mark, None)),
            }
            self.scanner.take()?;
        }
    }

    fn place(&self, mark: Mark) -> Place {
        Place { source: self.source, line: mark.line as u32 + 1 }
    }

    fn empty(&mut self, mark: Mark) -> Node {
        self.made += 1;
        let scalar = Scalar::new(SmolStr::default(), Tag::Null, Style::Plain);
        Node { data: Data::Scalar(scalar), place: self.place(mark) }
    }

    fn node(&mut self, context: Context, depth: usize) -> Result<Node> {
        if depth > self.limits.depth {
            let mark = self.scanner.peek()?.mark;
            return Err(Error::parse(&format!("exceeded max depth of {}", self.limits.depth), mark, None));
        }
        let token = self.scanner.peek()?;
        let start = token.mark;
        if let Kind::Alias(name) = token.kind {
            self.scanner.take()?;
            return self.alias(name, start);
        }
        let (mut anchor, mut tag) = (None, None);
        for _ in 0..2 {
            let token = self.scanner.peek()?;
            match &token.kind {
                Kind::Anchor(name) if anchor.is_none() => anchor = Some(*name),
                Kind::Tag(handle, suffix) if tag.is_none() => tag = Some((*handle, suffix.clone(), token.mark)),
                _ => break,
            }
            self.scanner.take()?;
        }
        let tag = match tag {
            None => None,
            Some((handle, suffix, mark)) => Some(self.full_tag(handle, &suffix, start, mark)?),
        };
        if let Some(name) = anchor {
            self.anchors.insert(name, Anchor::Open);
        }
        let node = self.content(context, depth, start, tag.as_deref(), anchor.is_some())?;
        if let Some(name) = anchor {
            let size = node.size();
            self.anchors.insert(name, Anchor::Closed { node: node.clone(), size });
        }
        Ok(node)
    }

    fn alias(&mut self, name: &str, mark: Mark) -> Result<Node> {
        match self.anchors.get(name) {
            None => {
                Err(Error::value(mark, format!("unknown anchor '{name}' referenced"), format!("yaml: unknown anchor '{name}' referenced")))
            }
            Some(Anchor::Open) => Err(Error::value(
                mark,
                format!("anchor '{name}' value contains itself"),
                format!("yaml: anchor '{name}' value contains itself"),
            )),
            Some(Anchor::Closed { node, size }) => {
                if self.copied + size > self.limits.alias_nodes {
                    return Err(self.excessive(mark));
                }
                let node = node.clone();
                self.copied += size;
                self.made += size;
                Ok(node)
            }
        }
    }

    fn excessive(&self, mark: Mark) -> Error {
        Error::value(mark, "document contains excessive aliasing", "yaml: document contains excessive aliasing")
    }

    fn full_tag(&self, handle: &str, suffix: &str, start: Mark, mark: Mark) -> Result<String> {
        let prefix = match (handle, self.handles.get(handle)) {
            ("", _) => "",
            (_, Some(prefix)) => prefix,
            ("!", None) => "!",
            ("!!", None) => LONG,
            _ => return Err(Error::parse("found undefined tag handle", mark, Some(start))),
        };
        let full = format!("{prefix}{suffix}");
        Ok(match full.strip_prefix(LONG) {
            Some(short) => format!("!!{short}"),
            None => full,
        })
    }

    fn content(&mut self, context: Context, depth: usize, start: Mark, tag: Option<&str>, anchored: bool) -> Result<Node> {
        self.made += 1;
        let place = self.place(start);
        let token = self.scanner.peek()?;
        let data = match token.kind {
            Kind::BlockEntry if context == Context::BlockIndentless => list(self.indentless_list(depth)?),
            Kind::Scalar(..) => {
                let Token { kind: Kind::Scalar(text, style), mark, end } = self.scanner.take()? else { return Err(Error::Internal) };
                let scalar = self.scalar(&text, style, tag, mark)?;
                if let Some(recorder) = &mut self.recorder {
                    recorder.scalar(&scalar, mark, end);
                }
                Data::Scalar(scalar)
            }
            Kind::FlowSequenceStart | Kind::FlowMappingStart => self.flow(depth)?,
            Kind::BlockSequenceStart if context != Context::Flow => list(self.block_list(depth)?),
            Kind::BlockMappingStart if context != Context::Flow => Data::Map(self.block_map(depth)?),
            _ if anchored || tag.is_some() => Data::Scalar(self.scalar("", Style::Plain, tag, start)?),
            _ => return Err(Error::parse("did not find expected node content", token.mark, Some(start))),
        };
        Ok(Node { data, place })
    }

    fn scalar(&self, text: &str, style: Style, tag: Option<&str>, mark: Mark) -> Result<Scalar> {
        let plain = |tag| Ok(Scalar::new(text, tag, style));
        let resolved = || resolve::resolve(self.dialect, text);
        match tag {
            None if style != Style::Plain => plain(Tag::Str),
            None => plain(resolved().tag()),
            // go-yaml takes `!` for "resolve it", quoted or not; yaml.v2 where there is text.
            Some("!") if style == Style::Plain && (self.dialect == Dialect::Kyaml || !text.is_empty()) => plain(resolved().tag()),
            Some("!") => plain(Tag::Str),
            Some("!!str") => plain(Tag::Str),
            Some("!!binary") => plain(Tag::Binary),
            Some("!!merge") => plain(Tag::Merge),
            Some(wanted @ ("!!int" | "!!float" | "!!bool" | "!!null" | "!!timestamp")) => {
                let found = resolved();
                let tag = match (wanted, found) {
                    ("!!int", Resolved::Int(_) | Resolved::UInt(_))
                    | ("!!bool", Resolved::Bool(_))
                    | ("!!null", Resolved::Null)
                    | ("!!timestamp", Resolved::Timestamp) => found.tag(),
                    ("!!float", Resolved::Int(_) | Resolved::UInt(_) | Resolved::Float(_)) => Tag::Float,
                    // yaml.v3 minds when such a scalar becomes a value, not when it becomes a node.
                    ("!!int", _) if self.dialect == Dialect::Kyaml => Tag::Int,
                    ("!!float", _) if self.dialect == Dialect::Kyaml => Tag::Float,
                    ("!!bool", _) if self.dialect == Dialect::Kyaml => Tag::Bool,
                    ("!!null", _) if self.dialect == Dialect::Kyaml => Tag::Null,
                    ("!!timestamp", _) if self.dialect == Dialect::Kyaml => Tag::Timestamp,
                    _ => {
                        let problem = format!("cannot decode {} `{text}` as a {wanted}", found.tag().name());
                        return Err(Error::value(mark, problem.clone(), format!("yaml: {problem}")));
                    }
                };
                plain(tag)
            }
            // Tags of others mean nothing here; the text stays text.
            Some(_) => plain(Tag::Str),
        }
    }

    fn peeks(&mut self, is: impl FnOnce(&Kind<'a>) -> bool) -> Result<bool> {
        Ok(is(&self.scanner.peek()?.kind))
    }

    fn flow(&mut self, depth: usize) -> Result<Data> {
        if let Some(recorder) = &mut self.recorder {
            recorder.flow += 1;
        }
        let data = if self.peeks(|kind| matches!(kind, Kind::FlowSequenceStart))? {
            list(self.flow_list(depth)?)
        } else {
            let mut map = self.flow_map(depth)?;
            map.flow = true;
            Data::Map(map)
        };
        if let Some(recorder) = &mut self.recorder {
            recorder.flow -= 1;
        }
        Ok(data)
    }

    /// The element at a place of a list.
    fn element(&mut self, context: Context, depth: usize, at: usize) -> Result<Node> {
        self.step(|| Step::Index(at));
        let node = self.node(context, depth)?;
        self.step_back();
        Ok(node)
    }

    fn indentless_list(&mut self, depth: usize) -> Result<Vec<Node>> {
        let mut items = Vec::new();
        while self.peeks(|kind| matches!(kind, Kind::BlockEntry))? {
            let mark = self.scanner.take()?.mark;
            let missing = self.peeks(|kind| matches!(kind, Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd))?;
            items.push(if missing { self.empty(mark) } else { self.element(Context::Block, depth + 1, items.len())? });
        }
        Ok(items)
    }

    fn block_list(&mut self, depth: usize) -> Result<Vec<Node>> {
        let start = self.scanner.take()?.mark;
        let mut items = Vec::new();
        loop {
            let token = self.scanner.take()?;
            match token.kind {
                Kind::BlockEnd => return Ok(items),
                Kind::BlockEntry => {
                    let missing = self.peeks(|kind| matches!(kind, Kind::BlockEntry | Kind::BlockEnd))?;
                    items.push(if missing { self.empty(token.mark) } else { self.element(Context::Block, depth + 1, items.len())? });
                }
                _ => return Err(Error::parse("did not find expected '-' indicator", token.mark, Some(start))),
            }
        }
    }

    fn block_map(&mut self, depth: usize) -> Result<Map> {
        let start = self.scanner.take()?.mark;
        let mut building = self.begin();
        loop {
            let token = self.scanner.peek()?;
            let mark = token.mark;
            match token.kind {
                Kind::BlockEnd => {
                    self.scanner.take()?;
                    return Ok(self.finish(building));
                }
                Kind::Key => {
                    self.scanner.take()?;
                    let missing = self.peeks(|kind| matches!(kind, Kind::Key | Kind::Value | Kind::BlockEnd))?;
                    let key = if missing { self.empty(mark) } else { self.key(Context::BlockIndentless, depth + 1)? };
                    // Comments above the key are read by now; those behind it come with the first token after it, or after a short value.
                    let above = self.scanner.note_at(mark.line);
                    let value_mark = self.scanner.peek()?.mark;
                    let has_value = self.peeks(|kind| matches!(kind, Kind::Value))?;
                    if has_value {
                        self.scanner.take()?;
                        self.scanner.peek()?;
                    }
                    let behind = self.scanner.note_at(mark.line);
                    self.step(|| key_step(&key));
                    let value = if has_value { self.block_value(depth, value_mark)? } else { self.empty(value_mark) };
                    self.step_back();
                    self.scanner.peek()?;
                    let note = behind.or(self.scanner.note_at(mark.line)).or(above);
                    self.add(&mut building, key, mark, value)?;
                    if let (Dialect::Kyaml, Some(text)) = (self.dialect, note) {
                        building.note(text);
                    }
                }
                _ => return Err(Error::parse("did not find expected key", mark, Some(start))),
            }
        }
    }

    /// The value after the colon at a mark.
    fn block_value(&mut self, depth: usize, mark: Mark) -> Result<Node> {
        if self.peeks(|kind| matches!(kind, Kind::Key | Kind::Value | Kind::BlockEnd))? {
            Ok(self.empty(mark))
        } else {
            self.node(Context::BlockIndentless, depth + 1)
        }
    }

    fn flow_list(&mut self, depth: usize) -> Result<Vec<Node>> {
        let start = self.scanner.take()?.mark;
        let mut items = Vec::new();
        loop {
            if self.peeks(|kind| matches!(kind, Kind::FlowSequenceEnd))? {
                self.scanner.take()?;
                return Ok(items);
            }
            if !items.is_empty() {
                let token = self.scanner.take()?;
                if token.kind != Kind::FlowEntry {
                    return Err(Error::parse("did not find expected ',' or ']'", token.mark, Some(start)));
                }
            }
            let token = self.scanner.peek()?;
            let mark = token.mark;
            match token.kind {
                Kind::FlowSequenceEnd => {}
                // `[a: b]` is a list of one map of one key.
                Kind::Key => {
                    self.scanner.take()?;
                    let missing = self.peeks(|kind| matches!(kind, Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd))?;
                    let key = if missing { self.empty(mark) } else { self.key(Context::Flow, depth + 2)? };
                    self.step(|| Step::Index(items.len()));
                    self.step(|| key_step(&key));
                    let value = self.flow_value(depth + 1, Kind::FlowSequenceEnd)?;
                    self.step_back();
                    self.step_back();
                    let mut building = self.begin();
                    self.add(&mut building, key, mark, value)?;
                    let map = self.finish(building);
                    items.push(Node { data: Data::Map(map), place: self.place(mark) });
                }
                _ => items.push(self.element(Context::Flow, depth + 1, items.len())?),
            }
        }
    }

    fn flow_map(&mut self, depth: usize) -> Result<Map> {
        let start = self.scanner.take()?.mark;
        let mut building = self.begin();
        let mut first = true;
        loop {
            if self.peeks(|kind| matches!(kind, Kind::FlowMappingEnd))? {
                self.scanner.take()?;
                return Ok(self.finish(building));
            }
            if !std::mem::replace(&mut first, false) {
                let token = self.scanner.take()?;
                if token.kind != Kind::FlowEntry {
                    return Err(Error::parse("did not find expected ',' or '}'", token.mark, Some(start)));
                }
            }
            let token = self.scanner.peek()?;
            let mark = token.mark;
            match token.kind {
                Kind::FlowMappingEnd => {}
                Kind::Key => {
                    self.scanner.take()?;
                    let missing = self.peeks(|kind| matches!(kind, Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd))?;
                    let key = if missing { self.empty(mark) } else { self.key(Context::Flow, depth + 1)? };
                    self.step(|| key_step(&key));
                    let value = self.flow_value(depth, Kind::FlowMappingEnd)?;
                    self.step_back();
                    self.add(&mut building, key, mark, value)?;
                }
                // `{a, b}`: keys without values.
                _ => {
                    let key = self.key(Context::Flow, depth + 1)?;
                    let value = self.empty(mark);
                    self.add(&mut building, key, mark, value)?;
                }
            }
        }
    }

    fn flow_value(&mut self, depth: usize, end: Kind<'a>) -> Result<Node> {
        let token = self.scanner.peek()?;
        let mark = token.mark;
        if token.kind != Kind::Value {
            return Ok(self.empty(mark));
        }
        self.scanner.take()?;
        if self.peeks(|kind| *kind == Kind::FlowEntry || *kind == end)? {
            Ok(self.empty(mark))
        } else {
            self.node(Context::Flow, depth + 1)
        }
    }

    // --- maps -------------------------------------------------------------------------------------------------------

    fn begin(&self) -> Building {
        Building { first_line: self.lines.len(), ..Building::default() }
    }

    fn push(&mut self, building: &mut Building, entry: Entry, line: usize) {
        building.push(entry);
        self.lines.push(line as u32);
    }

    /// Adds an entry. What is wrong with a key is told once the document was read to its end, as in Go, which looks at keys after that: a
    /// mistake in the text itself comes first.
    fn add(&mut self, building: &mut Building, key: Node, mark: Mark, value: Node) -> Result<()> {
        match self.try_to_add(building, key, mark, value) {
            Err(error @ Error::Value { .. }) => {
                self.wrong_key.get_or_insert(error);
                Ok(())
            }
            added => added,
        }
    }

    fn try_to_add(&mut self, building: &mut Building, key: Node, mark: Mark, value: Node) -> Result<()> {
        let Data::Scalar(scalar) = key.data else {
            let go = format!("yaml: invalid map key: {}", go_syntax(&key));
            return Err(Error::value(mark, "a map or a list cannot be a key (a template placeholder without quotes?)", go));
        };
        if scalar.tag == Tag::Merge || (self.dialect == Dialect::Sigs && scalar.text == "<<" && scalar.style == Style::Plain) {
            return self.merge(building, value, mark);
        }
        let key = match self.dialect {
            Dialect::Sigs => sigs_key(scalar, mark)?,
            // kyaml writes a null without text as a string.
            Dialect::Kyaml if self.keys == Keys::Kept && decode::is_blank(&scalar) => (scalar.text, Tag::Str),
            Dialect::Kyaml => (scalar.text, scalar.tag),
        };
        if let Some(at) = building.find(&key.0) {
            if building.merged.remove(&at) {
                // A key written here wins over a merged one, wherever the merge stands.
                building.map.entries[at].value = value;
                return Ok(());
            }
            if self.keys == Keys::Kept {
                self.push(building, Entry { key: key.0, tag: key.1, value }, mark.line + 1);
                return Ok(());
            }
            if self.keys == Keys::Refused {
                let before = self.lines[building.first_line + at];
                let problem = format!("mapping key \"{}\" already defined at line {before}", key.0);
                let go = match self.dialect {
                    Dialect::Kyaml => format!("yaml: unmarshal errors:\n  line {}: {problem}", mark.line + 1),
                    Dialect::Sigs => format!("yaml: unmarshal errors:\n  line {}: key \"{}\" already set in map", mark.line + 1, key.0),
                };
                return Err(Error::value(mark, problem, go));
            }
            building.map.entries[at].value = value;
            self.lines[building.first_line + at] = mark.line as u32 + 1;
            return Ok(());
        }
        if self.keys == Keys::Kept && key.1 == Tag::Null {
            // kyaml does not find a null again when it merges a map with itself, and has it twice.
            self.push(building, Entry { key: key.0.clone(), tag: key.1, value: Node::null().at(value.place) }, mark.line + 1);
        }
        self.push(building, Entry { key: key.0, tag: key.1, value }, mark.line + 1);
        Ok(())
    }

    fn merge(&mut self, building: &mut Building, value: Node, mark: Mark) -> Result<()> {
        let maps = match value.data {
            Data::Map(map) => vec![map],
            Data::List(items) => {
                let maps = items.into_iter().map(|item| if let Data::Map(map) = item.data { Some(map) } else { None });
                maps.collect::<Option<Vec<Map>>>().ok_or_else(|| wants_map(mark))?
            }
            Data::Scalar(_) => return Err(wants_map(mark)),
        };
        if self.dialect == Dialect::Kyaml && std::mem::replace(&mut building.has_merge, true) {
            return Err(Error::value(mark, "duplicate merge key", "duplicate merge key"));
        }
        // Earlier maps of a list win; yaml.v2 lets a merge override the keys that stand before it, yaml.v3 never.
        let mut seen: HashSet<SmolStr> = HashSet::new();
        for map in maps {
            for entry in map.entries {
                if !seen.insert(entry.key.clone()) {
                    continue;
                }
                match building.find(&entry.key) {
                    Some(at) if self.dialect == Dialect::Sigs => building.map.entries[at].value = entry.value,
                    Some(_) => {}
                    None => {
                        building.merged.insert(building.map.entries.len());
                        self.push(building, entry, mark.line + 1);
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, mut building: Building) -> Map {
        self.lines.truncate(building.first_line);
        if self.keys == Keys::Kept {
            // kyaml clears the merge key after it has merged, and takes a quoted one for it, too.
            building.map.remove("<<");
        }
        // Most maps are small, and room for more than they have would be most of what a document takes.
        building.map.entries.shrink_to_fit();
        building.map
    }
}

/// A map while it is read.
#[derive(Default)]
struct Building {
    map: Map,
    /// Where the lines of its keys begin.
    first_line: usize,
    /// Places of entries that came from a merge.
    merged: HashSet<usize>,
    has_merge: bool,
    /// Keys by place, once there are many.
    index: HashMap<SmolStr, usize>,
}

impl Building {
    const INDEX_FROM: usize = 16;

    fn find(&self, key: &str) -> Option<usize> {
        if self.index.is_empty() { self.map.position(key) } else { self.index.get(key).copied() }
    }

    /// Notes a comment at the key that was read last.
    fn note(&mut self, text: &str) {
        if let Some(entry) = self.map.entries.last() {
            self.map.notes.get_or_insert_default().push((entry.key.clone(), text.into()));
        }
    }

    fn push(&mut self, entry: Entry) {
        let at = self.map.entries.len();
        if !self.index.is_empty() {
            self.index.entry(entry.key.clone()).or_insert(at);
        }
        self.map.entries.push(entry);
        if at + 1 == Self::INDEX_FROM {
            for (at, entry) in self.map.entries.iter().enumerate() {
                self.index.entry(entry.key.clone()).or_insert(at);
            }
        }
    }
}

/// A list without room for more, as maps are.
fn list(mut items: Vec<Node>) -> Data {
    items.shrink_to_fit();
    Data::List(items)
}

fn key_step(key: &Node) -> Step {
    Step::Key(key.text().unwrap_or("").into())
}

const LONG: &str = "tag:yaml.org,2002:";

/// Keys as sigs.k8s.io/yaml makes strings of them: `y` is `"true"`, `0x10` is `"16"`.
fn sigs_key(scalar: Scalar, mark: Mark) -> Result<(SmolStr, Tag)> {
    let text = match scalar.tag {
        Tag::Str | Tag::Timestamp | Tag::Merge => scalar.text,
        Tag::Null => {
            let go = "error converting YAML to JSON: unsupported map key of type: %!s(<nil>), key: <nil>";
            return Err(Error::value(mark, "null cannot be a key", go));
        }
        Tag::Binary => return Err(Error::value(mark, "binary data cannot be a key", "yaml: binary key")),
        Tag::Bool | Tag::Int | Tag::Float => match resolve::resolve(Dialect::Sigs, &scalar.text) {
            Resolved::Bool(value) => SmolStr::new_static(if value { "true" } else { "false" }),
            Resolved::Int(value) => value.to_string().into(),
            Resolved::UInt(value) => {
                let go = format!("error converting YAML to JSON: unsupported map key of type: uint64, key: 0x{value:x}");
                return Err(Error::value(mark, format!("{value} is too large for a key"), go));
            }
            // sigs.k8s.io/yaml prints float keys with 32 bits of precision.
            Resolved::Float(value) => resolve::format_float32(value as f32).into(),
            _ => scalar.text,
        },
    };
    Ok((text, Tag::Str))
}

fn wants_map(mark: Mark) -> Error {
    let problem = "map merge requires map or sequence of maps as the value";
    Error::value(mark, problem, format!("yaml: {problem}"))
}

fn allowed_alias_ratio(made: usize) -> f64 {
    const LOW: f64 = 400_000.0;
    const HIGH: f64 = 4_000_000.0;
    0.99 - 0.89 * ((made as f64 - LOW) / (HIGH - LOW)).clamp(0.0, 1.0)
}

/// A value as Go's `%#v` prints it: people meet it in "invalid map key".
fn go_syntax(node: &Node) -> String {
    match &node.data {
        Data::Map(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key:?}:{}", go_syntax(value))).collect();
            format!("map[interface {{}}]interface {{}}{{{}}}", entries.join(", "))
        }
        Data::List(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Data::Scalar(scalar) => match scalar.tag {
            Tag::Null => "interface {}(nil)".to_owned(),
            Tag::Bool | Tag::Int | Tag::Float => scalar.text.to_string(),
            _ => format!("{:?}", scalar.text.as_str()),
        },
    }
}
