use crate::Error;

const DEPTH_MAX: usize = 64;

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Call(Call),
}

/// One `${…}`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub name: String,
    pub operator: Operator,
    pub arguments: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Plain,
    Length,
    Default,
    Slice,
    LowerFirst,
    LowerAll,
    UpperFirst,
    UpperAll,
    TrimShortestPrefix,
    TrimLongestPrefix,
    TrimShortestSuffix,
    TrimLongestSuffix,
    ReplaceFirst,
    ReplaceAll,
    ReplacePrefix,
    ReplaceSuffix,
}

impl Operator {
    pub(crate) fn has_default(self) -> bool {
        self == Operator::Default
    }
}

pub(crate) fn parse(text: &str) -> Result<Vec<Piece>, Error> {
    let mut at = Cursor { rest: text };
    let mut pieces = Vec::new();
    let mut plain = String::new();
    while let Some(dollar) = at.rest.find('$') {
        plain.push_str(&at.rest[..dollar]);
        at.rest = &at.rest[dollar..];
        if at.eat("$$") {
            plain.push('$');
        } else if at.eat("${") {
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(at.call(0)?);
        } else {
            plain.push('$');
            at.rest = &at.rest[1..];
        }
    }
    plain.push_str(at.rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn eat(&mut self, prefix: &str) -> bool {
        self.rest.strip_prefix(prefix).map(|rest| self.rest = rest).is_some()
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes the longest run of characters that `accept` holds for.
    fn take(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    fn identifier(&mut self) -> &'a str {
        self.take(|c| c == '_' || c.is_alphanumeric())
    }

    /// Everything after `${`.
    fn call(&mut self, depth: usize) -> Result<Piece, Error> {
        if depth >= DEPTH_MAX {
            return Err(Error::TooDeep);
        }
        match self.peek() {
            // `${!name}` is left for the shell that will read the text.
            Some('!') => {
                let end = self.rest.find('}').ok_or(Error::MissingClosingBrace)?;
                let kept = format!("${{{}", &self.rest[..=end]);
                self.rest = &self.rest[end + 1..];
                return Ok(Piece::Text(kept));
            }
            Some('#') => {
                self.eat("#");
                let name = self.identifier().to_owned();
                if name.is_empty() {
                    return Err(Error::BadSubstitution);
                }
                return self.close(name, Operator::Length, Vec::new());
            }
            _ => {}
        }
        let name = self.identifier().to_owned();
        if name.is_empty() {
            return Err(Error::VariableName);
        }
        match self.peek() {
            Some(':') if matches!(self.rest.as_bytes().get(1), Some(b'=' | b'-' | b'?' | b'+')) => {
                self.rest = &self.rest[2..];
                self.default(name, depth)
            }
            Some(':') => self.slice(name, depth),
            Some('=') => {
                self.eat("=");
                self.default(name, depth)
            }
            Some(',') => self.case(name, ",", Operator::LowerFirst, Operator::LowerAll),
            Some('^') => self.case(name, "^", Operator::UpperFirst, Operator::UpperAll),
            Some('#') => self.trim(name, "#", Operator::TrimShortestPrefix, Operator::TrimLongestPrefix, depth),
            Some('%') => self.trim(name, "%", Operator::TrimShortestSuffix, Operator::TrimLongestSuffix, depth),
            Some('/') => self.replace(name, depth),
            Some('}') => self.close(name, Operator::Plain, Vec::new()),
            _ => Err(Error::MissingClosingBrace),
        }
    }

    fn close(&mut self, name: String, operator: Operator, arguments: Vec<Piece>) -> Result<Piece, Error> {
        if self.eat("}") { Ok(Piece::Call(Call { name, operator, arguments })) } else { Err(Error::BadSubstitution) }
    }

    /// One argument: a nested `${…}`, or text up to a nested one or a character that is not accepted.
    fn argument(&mut self, accept: impl Fn(char) -> bool, escapes: bool, depth: usize) -> Result<Piece, Error> {
        if self.eat("${") {
            return self.call(depth + 1);
        }
        let mut text = String::new();
        while let Some(c) = self.peek() {
            if self.rest.starts_with("${") {
                break;
            }
            if escapes
                && let Some(escaped) =
                    [("$$", '$'), ("\\/", '/'), ("\\\\", '\\')].iter().find_map(|(from, to)| self.eat(from).then_some(*to))
            {
                text.push(escaped);
            } else if accept(c) {
                text.push(c);
                self.rest = &self.rest[c.len_utf8()..];
            } else {
                break;
            }
        }
        if text.is_empty() { Err(Error::Parameter) } else { Ok(Piece::Text(text)) }
    }

    fn default(&mut self, name: String, depth: usize) -> Result<Piece, Error> {
        let mut arguments = Vec::new();
        while self.peek() != Some('}') {
            arguments.push(self.argument(|c| c != '}', false, depth)?);
        }
        self.close(name, Operator::Default, arguments)
    }

    fn slice(&mut self, name: String, depth: usize) -> Result<Piece, Error> {
        self.eat(":");
        let mut arguments = vec![self.argument(|c| c != ':' && c != '}', false, depth)?];
        if self.peek() == Some(':') {
            self.take(|c| c == ':');
            arguments.push(self.argument(|c| c != '}', false, depth)?);
        }
        self.close(name, Operator::Slice, arguments)
    }

    fn case(&mut self, name: String, sign: &str, first: Operator, all: Operator) -> Result<Piece, Error> {
        self.eat(sign);
        let operator = if self.eat(sign) { all } else { first };
        self.close(name, operator, Vec::new())
    }

    fn trim(&mut self, name: String, sign: &str, shortest: Operator, longest: Operator, depth: usize) -> Result<Piece, Error> {
        self.eat(sign);
        let operator = if self.eat(sign) { longest } else { shortest };
        let pattern = self.argument(|c| c != '}', false, depth)?;
        self.close(name, operator, vec![pattern])
    }

    /// A pattern runs to the next slash, even over a closing brace.
    fn replace(&mut self, name: String, depth: usize) -> Result<Piece, Error> {
        self.eat("/");
        let operator = match self.peek() {
            Some('/') => Operator::ReplaceAll,
            Some('#') => Operator::ReplacePrefix,
            Some('%') => Operator::ReplaceSuffix,
            _ => Operator::ReplaceFirst,
        };
        if operator != Operator::ReplaceFirst {
            self.rest = &self.rest[1..];
        }
        let mut arguments = vec![self.argument(|c| c != '/', true, depth)?];
        if self.take(|c| c == '/').is_empty() {
            return Err(Error::BadSubstitution);
        }
        if self.peek() != Some('}') {
            arguments.push(self.argument(|c| c != '}', true, depth)?);
        }
        self.close(name, operator, arguments)
    }
}
