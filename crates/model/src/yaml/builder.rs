//! From YAML events to trees, within limits.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::{Content, Key, Node, Scalar, position};
use crate::parse::Limits;
use crate::path;
use crate::position::Position;
use crate::problem::Code;

/// One document of a file that is not empty.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Node,
    /// Its bytes: a document of its own when cut out.
    pub(crate) range: Range<usize>,
}

/// Something that is wrong with the YAML itself.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) path: String,
    pub(crate) position: Position,
    pub(crate) message: String,
}

/// Reads all documents. The first fault that ends the reading is the last of the faults; documents
/// before it are complete.
pub(crate) fn documents(text: &str, limits: &Limits) -> (Vec<Document>, Vec<Fault>) {
    let mut options = granit_parser::options! {
        disallow_directives: true,
        flow_nesting_limit: limits.depth,
        block_nesting_limit: limits.depth,
    };
    options.set_emit_comments(false);
    let mut builder = Builder::new(text, limits);
    for next in Parser::new_from_str_with_options(text, options) {
        let step = match next {
            Ok((event, span)) => builder.accept(event, span),
            Err(error) => Err(builder.unreadable(&error)),
        };
        if let Err(fault) = step {
            builder.faults.push(fault);
            break;
        }
    }
    (builder.documents, builder.faults)
}

struct Builder<'t> {
    text: &'t str,
    limits: &'t Limits,
    documents: Vec<Document>,
    faults: Vec<Fault>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    /// Start of the present document.
    start: usize,
    seen_documents: usize,
    /// Values and bytes of text made so far, aliases expanded.
    nodes: usize,
    bytes: usize,
}

struct Frame {
    position: Position,
    anchor: usize,
    collection: Collection,
}

enum Collection {
    List(Vec<Node>),
    Map {
        pairs: Vec<(Key, Node)>,
        key: Option<Key>,
        seen: HashSet<String>,
    },
}

impl<'t> Builder<'t> {
    fn new(text: &'t str, limits: &'t Limits) -> Self {
        Self {
            text,
            limits,
            documents: Vec::new(),
            faults: Vec::new(),
            stack: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            start: 0,
            seen_documents: 0,
            nodes: 0,
            bytes: 0,
        }
    }

    fn accept(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(explicit, _) => self.start_document(explicit, span)?,
            Event::DocumentEnd => self.end_document(),
            Event::StreamEnd => self.close_range(self.text.len()),
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(1, text.len(), span)?;
                let string_tag = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let scalar = Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain && !string_tag,
                    block: matches!(style, ScalarStyle::Literal | ScalarStyle::Folded),
                };
                let node = Node {
                    content: Content::Scalar(scalar),
                    position: position(span.start),
                    end: span.end.byte_offset().unwrap_or_default(),
                    shared: anchor != 0,
                };
                self.place(node, anchor)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(Collection::List(Vec::new()), anchor, span)?;
            }
            Event::MappingStart(_, anchor, _) => {
                let map = Collection::Map {
                    pairs: Vec::new(),
                    key: None,
                    seen: HashSet::new(),
                };
                self.open(map, anchor, span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::Alias(id) => self.alias(id, span)?,
            _ => {}
        }
        Ok(())
    }

    fn start_document(&mut self, explicit: bool, span: Span) -> Result<(), Fault> {
        self.seen_documents += 1;
        if self.seen_documents > self.limits.documents {
            let message = format!("more than {} documents in one file", self.limits.documents);
            return Err(self.fault(Code::TooManyValues, span, message));
        }
        self.anchors.clear();
        let at = span.start.byte_offset().unwrap_or_default();
        self.close_range(at);
        if self.seen_documents == 1 {
            self.start = self.text.len() - self.text.trim_start_matches('\u{feff}').len();
        } else {
            self.start = if explicit { self.after_marker(at) } else { at };
        }
        Ok(())
    }

    /// The byte after `---` and the rest of its line, when that is blank.
    fn after_marker(&self, marker: usize) -> usize {
        let after = (marker + 3).min(self.text.len());
        let rest = self.text.get(after..).unwrap_or_default();
        match rest.split_once('\n') {
            Some((line, _)) if line.trim().is_empty() => after + line.len() + 1,
            _ => after,
        }
    }

    fn end_document(&mut self) {
        if let Some(root) = self.root.take() {
            let range = self.start..self.text.len();
            self.documents.push(Document { root, range });
        }
    }

    fn close_range(&mut self, end: usize) {
        if let Some(last) = self.documents.last_mut()
            && last.range.start == self.start
        {
            last.range.end = end.max(self.start);
        }
    }

    fn open(&mut self, collection: Collection, anchor: usize, span: Span) -> Result<(), Fault> {
        self.spend(1, 0, span)?;
        if self.stack.len() >= self.limits.depth {
            let message = self.nested_message();
            return Err(self.fault(Code::TooDeep, span, message));
        }
        self.stack.push(Frame {
            position: position(span.start),
            anchor,
            collection,
        });
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), Fault> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let content = match frame.collection {
            Collection::List(items) => Content::List(items),
            Collection::Map { pairs, seen, .. } => Content::Map(self.merge(pairs, seen, span)?),
        };
        let node = Node {
            content,
            position: frame.position,
            end: span.end.byte_offset().unwrap_or_default(),
            shared: frame.anchor != 0,
        };
        self.place(node, frame.anchor)
    }

    /// Applies `<<: *base` and `<<: [*a, *b]`: keys that are not written out are taken over.
    fn merge(
        &mut self,
        pairs: Vec<(Key, Node)>,
        mut seen: HashSet<String>,
        span: Span,
    ) -> Result<Vec<(Key, Node)>, Fault> {
        if !seen.contains("<<") {
            return Ok(pairs);
        }
        let (merges, mut kept): (Vec<_>, Vec<_>) =
            pairs.into_iter().partition(|(key, _)| key.text == "<<");
        for (key, node) in merges {
            let bases = match node.content {
                Content::List(items) => items,
                content => vec![Node { content, ..node }],
            };
            for base in bases {
                let Content::Map(pairs) = base.content else {
                    let message = "`<<` takes over the keys of a mapping; give it an alias of one";
                    return Err(self
                        .fault(Code::Syntax, span, message.to_owned())
                        .at(key.position));
                };
                for (key, mut value) in pairs {
                    if seen.insert(key.text.clone()) {
                        value.shared = true;
                        kept.push((key, value));
                    }
                }
            }
        }
        Ok(kept)
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Fault> {
        let Some(target) = self.anchors.get(&id) else {
            let message = "this alias refers to the value that it is part of".to_owned();
            return Err(self.fault(Code::Syntax, span, message));
        };
        let (nodes, bytes, depth) = weight(target);
        let mut copy = target.clone();
        if self.stack.len() + depth > self.limits.depth {
            let message = self.nested_message();
            return Err(self.fault(Code::TooDeep, span, message));
        }
        self.spend(nodes, bytes, span)?;
        copy.shared = true;
        self.place(copy, 0)
    }

    /// Counts values and text, so that aliases cannot grow a small file into a large one.
    fn spend(&mut self, nodes: usize, bytes: usize, span: Span) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > self.limits.nodes || self.bytes > self.limits.bytes.saturating_mul(2) {
            let message = format!(
                "more than {} values in one file, or aliases that make its text much longer; split it",
                self.limits.nodes
            );
            return Err(self.fault(Code::TooManyValues, span, message));
        }
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        if anchor != 0 {
            let (nodes, bytes, _) = weight(&node);
            self.nodes = self.nodes.saturating_add(nodes);
            self.bytes = self.bytes.saturating_add(bytes);
            self.anchors.insert(anchor, node.clone());
        }
        let duplicate = match self.stack.last_mut().map(|frame| &mut frame.collection) {
            None => {
                self.root = (!node.is_null()).then_some(node);
                None
            }
            Some(Collection::List(items)) => {
                items.push(node);
                None
            }
            Some(Collection::Map { pairs, key, seen }) => match key.take() {
                Some(name) if seen.insert(name.text.clone()) => {
                    pairs.push((name, node));
                    None
                }
                Some(name) => Some(name),
                None => {
                    let (position, end) = (node.position, node.end);
                    let Content::Scalar(scalar) = node.content else {
                        return Err(Fault {
                            code: Code::Syntax,
                            path: self.path(),
                            position,
                            message: "a key must be a single word, not a list or mapping. Text that starts with `{{` \
                                      or `[` must be quoted"
                                .to_owned(),
                        });
                    };
                    *key = Some(Key {
                        text: scalar.text,
                        position,
                        end,
                    });
                    None
                }
            },
        };
        if let Some(key) = duplicate {
            let fault = Fault {
                code: Code::DuplicateKey,
                path: path::join(&self.path(), &key.text),
                position: key.position,
                message: format!(
                    "the key `{}` is already there in this mapping; remove one of the two",
                    path::clip(&key.text)
                ),
            };
            if self.faults.len() < self.limits.problems {
                self.faults.push(fault);
            }
        }
        Ok(())
    }

    fn unreadable(&self, error: &ScanError) -> Fault {
        let cause = error.info();
        let too_deep = ["nesting", "recursion", "nested"]
            .iter()
            .any(|word| cause.contains(word));
        let (code, message) = match too_deep {
            true => (Code::TooDeep, self.nested_message()),
            false => (
                Code::Syntax,
                format!("this is not YAML that can be read: {cause}"),
            ),
        };
        Fault {
            code,
            path: self.path(),
            position: position(*error.marker()),
            message,
        }
    }

    fn nested_message(&self) -> String {
        format!(
            "values are nested more than {} deep; no entity needs that",
            self.limits.depth
        )
    }

    fn fault(&self, code: Code, span: Span, message: String) -> Fault {
        Fault {
            code,
            path: self.path(),
            position: position(span.start),
            message,
        }
    }

    /// Path of the place that is being read.
    fn path(&self) -> String {
        self.stack
            .iter()
            .fold(String::new(), |base, frame| match &frame.collection {
                Collection::List(items) => path::item(&base, items.len()),
                Collection::Map { key: Some(key), .. } => path::join(&base, &key.text),
                Collection::Map { key: None, .. } => base,
            })
    }
}

impl Fault {
    fn at(mut self, position: Position) -> Self {
        self.position = position;
        self
    }
}

/// Values, bytes of text and depth of a tree.
fn weight(node: &Node) -> (usize, usize, usize) {
    let fold = |acc: (usize, usize, usize), child: &Node| {
        let (nodes, bytes, depth) = weight(child);
        (acc.0 + nodes, acc.1 + bytes, acc.2.max(depth))
    };
    match &node.content {
        Content::Scalar(scalar) => (1, scalar.text.len(), 0),
        Content::List(items) => {
            let (nodes, bytes, depth) = items.iter().fold((1, 0, 0), fold);
            (nodes, bytes, depth + 1)
        }
        Content::Map(pairs) => {
            let start = (1, pairs.iter().map(|(key, _)| key.text.len()).sum(), 0);
            let (nodes, bytes, depth) = pairs.iter().map(|(_, value)| value).fold(start, fold);
            (nodes, bytes, depth + 1)
        }
    }
}
