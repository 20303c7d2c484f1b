use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{
    ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag,
};

use crate::error::{ParseError, Place};
use crate::limits::Limits;
use crate::yaml::{Document, KeyNote, scalar, shorten};

/// Reads a YAML stream. After an error, reading goes on with the next document that `---` begins.
pub(super) fn documents(
    file: &Arc<str>,
    text: &str,
    limits: &Limits,
) -> Vec<Result<Document, ParseError>> {
    let mut reader = Reader {
        parser: Parser::new_from_str_with_options(text, options(limits)),
        file,
        limits,
        text,
        skipped: 0,
        document: 1,
        begins: 0,
        nodes: 0,
        bytes: 0,
        anchors: HashMap::new(),
        at_items: false,
        items: Vec::new(),
        keys: Vec::new(),
        noted: 0,
    };
    let mut documents = Vec::new();
    loop {
        reader.document = documents.len() + 1;
        match reader.document() {
            Ok(None) => return documents,
            Ok(Some(document)) => documents.push(Ok(document)),
            Err(error) => {
                let ends = error.is_of_the_whole();
                let told = matches!(documents.last(), Some(Err(last)) if is_same(last, &error));
                if !told {
                    documents.push(Err(error));
                }
                if ends || !reader.resume() {
                    return documents;
                }
            }
        }
    }
}

/// Whether both are about one place: what the parser refuses before a document begins, it meets again.
fn is_same(one: &ParseError, other: &ParseError) -> bool {
    let position = |error: &ParseError| (error.place().line, error.place().column);
    position(one) == position(other)
}

/// The parser's own limits; depth is bounded there too, so that it never builds what is refused.
fn options(limits: &Limits) -> Options {
    let levels = limits.levels();
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = levels;
    options.block_nesting_limit = levels;
    options
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    file: &'t Arc<str>,
    limits: &'t Limits,
    /// What the parser was given: the text, or what is left of it after an error.
    text: &'t str,
    /// Lines before that.
    skipped: usize,
    document: usize,
    /// Line of what the parser was given, from 1, that the present document begins on.
    begins: usize,
    nodes: usize,
    bytes: usize,
    anchors: HashMap<usize, Node>,
    /// Whether the next sequence is the top-level `items`.
    at_items: bool,
    /// Where its items are.
    items: Vec<(usize, usize)>,
    /// Keys of the present document that kubectl reads otherwise.
    keys: Vec<KeyNote>,
    /// How many there are in the text.
    noted: usize,
}

/// A value with what another copy of it would cost.
#[derive(Clone)]
struct Node {
    value: Value,
    nodes: usize,
    bytes: usize,
    height: usize,
}

impl<'t> Reader<'t> {
    /// The next document.
    fn document(&mut self) -> Result<Option<Document>, ParseError> {
        let start = loop {
            match self.next()? {
                None => return Ok(None),
                Some((Event::DocumentStart(..), span)) => break span,
                // What stands between documents belongs to the next one.
                Some((_, span)) => self.begins = span.end.line().max(self.begins),
            }
        };
        self.begins = start.start.line().max(1);
        if self.document > self.limits.documents {
            let place = self.place(&start);
            return Err(ParseError::TooManyDocuments {
                place,
                limit: self.limits.documents,
            });
        }
        self.anchors.clear();
        self.items.clear();
        self.keys.clear();
        let (first, span) = self.expect(&start)?;
        let (line, column) = (self.line(span.start.line()), span.start.col() + 1);
        let value = self.node(first, &span, 0)?.value;
        Ok(Some(Document {
            value,
            number: self.document,
            line,
            column,
            items: std::mem::take(&mut self.items),
            keys: std::mem::take(&mut self.keys),
        }))
    }

    /// Goes on after an error: at the next line with a document marker, which no scalar can hold.
    fn resume(&mut self) -> bool {
        let mut at = 0;
        for (index, line) in self.text.split_inclusive('\n').enumerate() {
            let begins = line
                .strip_prefix("---")
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
            if begins && index >= self.begins.max(1) {
                self.text = &self.text[at..];
                self.skipped += index;
                self.begins = 1;
                self.parser = Parser::new_from_str_with_options(self.text, options(self.limits));
                return true;
            }
            at += line.len();
        }
        false
    }

    /// A line that the parser counted, in the whole text.
    fn line(&self, counted: usize) -> usize {
        counted.max(1) + self.skipped
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, ParseError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => Err(self.refused(&error)),
        }
    }

    /// The next event where the grammar promises one.
    fn expect(&mut self, after: &Span) -> Result<(Event<'t>, Span), ParseError> {
        match self.next()? {
            Some(event) => Ok(event),
            None => Err(self.syntax(after, "the text ends too early")),
        }
    }

    fn node(&mut self, event: Event<'t>, span: &Span, level: usize) -> Result<Node, ParseError> {
        let (node, anchor) = match event {
            Event::Alias(id) => return self.alias(id, span, level),
            Event::Scalar(text, style, anchor, tag) => {
                let value = tagged(&text, style, tag.as_deref())
                    .map_err(|message| self.syntax(span, message))?;
                self.charge(1, text.len(), span)?;
                (
                    Node {
                        value,
                        nodes: 1,
                        bytes: text.len(),
                        height: 0,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(span, level + 1)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(span, level + 1)?, anchor),
            _ => return Err(self.syntax(span, "a value is missing here")),
        };
        if anchor > 0 {
            self.charge(0, node.bytes, span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: &Span, level: usize) -> Result<Node, ParseError> {
        let Some(node) = self.anchors.get(&id) else {
            return Err(self.syntax(span, "the alias stands inside the value that it names"));
        };
        let (nodes, bytes, height) = (node.nodes, node.bytes, node.height);
        self.charge(nodes, bytes, span)?;
        self.check_level(level + height, span)?;
        // The charge above comes first: a copy that is refused is never made.
        self.anchors
            .get(&id)
            .cloned()
            .ok_or_else(|| self.syntax(span, "the alias names nothing"))
    }

    fn sequence(&mut self, start: &Span, level: usize) -> Result<Node, ParseError> {
        let are_items = std::mem::take(&mut self.at_items);
        self.check_level(level, start)?;
        self.charge(1, 0, start)?;
        let mut node = Node {
            value: Value::Null,
            nodes: 1,
            bytes: 0,
            height: 1,
        };
        let mut list = Vec::new();
        loop {
            let (event, span) = self.expect(start)?;
            if matches!(event, Event::SequenceEnd) {
                node.value = Value::Array(list);
                return Ok(node);
            }
            if are_items {
                let place = (self.line(span.start.line()), span.start.col() + 1);
                self.items.push(place);
            }
            let item = self.node(event, &span, level)?;
            node.add(&item);
            list.push(item.value);
        }
    }

    fn mapping(&mut self, start: &Span, level: usize) -> Result<Node, ParseError> {
        self.check_level(level, start)?;
        self.charge(1, 0, start)?;
        let mut node = Node {
            value: Value::Null,
            nodes: 1,
            bytes: 0,
            height: 1,
        };
        let mut map = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, key_span) = self.expect(start)?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let merges = is_merge(&event);
            let written = event.scalar().map(|(text, _)| text.to_owned());
            let key = self.node(event, &key_span, level)?;
            let (event, span) = self.expect(&key_span)?;
            self.at_items = level == 1
                && written.as_deref() == Some("items")
                && matches!(event, Event::SequenceStart(..));
            let value = self.node(event, &span, level)?;
            node.add(&key);
            node.add(&value);
            if merges {
                merge_sources(value.value, &mut merged)
                    .map_err(|message| self.syntax(&span, message))?;
                continue;
            }
            if let Some(written) = &written {
                self.note_key(written, &key.value, &key_span);
            }
            let key =
                key_text(written, key.value).map_err(|message| self.syntax(&key_span, message))?;
            if map.contains_key(&key) {
                let place = self.place(&key_span);
                return Err(ParseError::DuplicateKey {
                    place,
                    key: shorten(&key),
                });
            }
            map.insert(key, value.value);
        }
        for (key, value) in merged.into_iter().flatten() {
            map.entry(key).or_insert(value);
        }
        node.value = Value::Object(map);
        Ok(node)
    }

    /// Notes a key of which kubectl makes something else.
    fn note_key(&mut self, written: &str, value: &Value, span: &Span) {
        if !matches!(value, Value::Bool(_) | Value::Number(_)) || self.noted == KeyNote::KEPT {
            return;
        }
        let by_kubectl = scalar::key_by_kubectl(written, value);
        if by_kubectl.as_deref() != Some(written) {
            self.noted += 1;
            self.keys.push(KeyNote {
                place: self.place(span),
                key: shorten(written),
                by_kubectl,
            });
        }
    }

    fn charge(&mut self, nodes: usize, bytes: usize, span: &Span) -> Result<(), ParseError> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > self.limits.nodes {
            let place = self.place(span);
            return Err(ParseError::TooManyNodes {
                place,
                limit: self.limits.nodes,
            });
        }
        // Anchored text is charged twice, as it is kept twice.
        if self.bytes > self.limits.bytes.saturating_mul(2) {
            return Err(ParseError::TooLarge {
                place: self.place(span),
                limit: self.limits.bytes,
            });
        }
        Ok(())
    }

    fn check_level(&self, level: usize, span: &Span) -> Result<(), ParseError> {
        if level > self.limits.levels() {
            let place = self.place(span);
            return Err(ParseError::TooDeep {
                place,
                limit: self.limits.levels(),
            });
        }
        Ok(())
    }

    fn refused(&self, error: &ScanError) -> ParseError {
        let mark = error.marker();
        let place = Place {
            file: Arc::clone(self.file),
            document: self.document,
            line: self.line(mark.line()),
            column: mark.col() + 1,
        };
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => ParseError::TooDeep {
                place,
                limit: self.limits.levels(),
            },
            _ => ParseError::Syntax {
                place,
                message: error.info(),
            },
        }
    }

    fn syntax(&self, span: &Span, message: &str) -> ParseError {
        ParseError::Syntax {
            place: self.place(span),
            message: message.to_owned(),
        }
    }

    fn place(&self, span: &Span) -> Place {
        Place {
            file: Arc::clone(self.file),
            document: self.document,
            line: self.line(span.start.line()),
            column: span.start.col() + 1,
        }
    }
}

impl Node {
    fn add(&mut self, child: &Self) {
        self.nodes += child.nodes;
        self.bytes += child.bytes;
        self.height = self.height.max(child.height + 1);
    }
}

/// A scalar by its style and tag.
fn tagged(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, &'static str> {
    let string = || Ok(Value::String(text.to_owned()));
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain {
            scalar::plain(text)
        } else {
            string()
        };
    };
    let Some(suffix) = tag.suffix_in_namespace("tag:yaml.org,2002:") else {
        return string();
    };
    let number = || scalar::number(text).map(Value::Number);
    match suffix.as_ref() {
        "null" if matches!(text, "" | "~" | "null" | "Null" | "NULL") => Ok(Value::Null),
        "null" => Err("the value is not null, although its tag says so"),
        "bool" => match scalar::plain(text)? {
            value @ Value::Bool(_) => Ok(value),
            _ => Err("the value is not a boolean, although its tag says so"),
        },
        "int" => number()
            .filter(|value| (value.is_i64() || value.is_u64()) && !text.contains(['.', 'e', 'E']))
            .or_else(|| number().filter(|_| text.starts_with("0x")))
            .ok_or("the value is not an integer, although its tag says so"),
        "float" => number().ok_or("the value is not a number, although its tag says so"),
        "binary" => {
            let compact: String = text.split_ascii_whitespace().collect();
            base64::engine::general_purpose::STANDARD
                .decode(compact)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .map(Value::String)
                .ok_or("the value is not the base64 form of UTF-8 text, although its tag says so")
        }
        _ => string(),
    }
}

fn is_merge(event: &Event<'_>) -> bool {
    match event {
        Event::Scalar(text, style, _, tag) => {
            text == "<<"
                && match tag {
                    None => *style == ScalarStyle::Plain,
                    Some(tag) => {
                        tag.suffix_in_namespace("tag:yaml.org,2002:").as_deref() == Some("merge")
                    }
                }
        }
        _ => false,
    }
}

fn merge_sources(value: Value, into: &mut Vec<Map<String, Value>>) -> Result<(), &'static str> {
    let wrong = "the merge key << needs a map, or a list of maps";
    match value {
        Value::Object(map) => into.push(map),
        Value::Array(list) => {
            for item in list {
                let Value::Object(map) = item else {
                    return Err(wrong);
                };
                into.push(map);
            }
        }
        _ => return Err(wrong),
    }
    Ok(())
}

/// Keys are the text that was written: a key `y`, `on` or `0644` means itself. (kubectl turns these into
/// `true`, `true` and `420`, which nobody who writes them expects; a note says so.)
fn key_text(written: Option<String>, key: Value) -> Result<String, &'static str> {
    match (written, key) {
        (_, Value::Null) => Err("a key is empty"),
        (_, Value::Array(_) | Value::Object(_)) => Err("a key may not be a map or a list"),
        (Some(written), _) => Ok(written),
        (None, Value::String(text)) => Ok(text),
        (None, Value::Bool(value)) => Ok(value.to_string()),
        (None, Value::Number(number)) => Ok(number.to_string()),
    }
}
