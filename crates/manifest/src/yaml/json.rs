use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{ParseError, Place};
use crate::limits::Limits;
use crate::yaml::{Document, scalar, shorten};

/// Reads a stream of JSON values, or gives `None` when the text is not JSON: it may still be YAML
/// in flow style, whose reader gives the better message.
pub(super) fn documents(
    file: &Arc<str>,
    text: &str,
    limits: &Limits,
) -> Option<Vec<Result<Document, ParseError>>> {
    let mut documents = Vec::new();
    let mut rest = text;
    let (mut line, mut column, mut counted) = (1, 1, 0);
    let nodes = Cell::new(0);
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            return Some(documents);
        }
        let start = text.len() - rest.len();
        let passed = &text[counted..start];
        match passed.rsplit_once('\n') {
            None => column += passed.chars().count(),
            Some((lines, rest)) => {
                line += 1 + lines.bytes().filter(|byte| *byte == b'\n').count();
                column = 1 + rest.chars().count();
            }
        }
        counted = start;
        let number = documents.len() + 1;
        let place = Place {
            file: Arc::clone(file),
            document: number,
            line,
            column,
        };
        if number > limits.documents {
            documents.push(Err(ParseError::TooManyDocuments {
                place,
                limit: limits.documents,
            }));
            return Some(documents);
        }
        let refusal = Cell::new(None);
        let seed = Seed {
            nodes: &nodes,
            level: 0,
            limits,
            refusal: &refusal,
        };
        let mut reader = serde_json::Deserializer::from_str(rest);
        match seed.deserialize(&mut reader) {
            Ok(value) => documents.push(Ok(Document {
                value,
                number,
                line,
                column,
                items: Vec::new(),
                keys: Vec::new(),
            })),
            Err(error) => {
                // What the reader counts begins with this value.
                let column = match error.line() {
                    0 | 1 => column + error.column().saturating_sub(1),
                    _ => error.column(),
                };
                let place = Place {
                    line: line + error.line().saturating_sub(1),
                    column,
                    ..place
                };
                let error = refusal.take()?.at(place, limits);
                let ends = error.is_of_the_whole();
                documents.push(Err(error));
                reader = serde_json::Deserializer::from_str(rest);
                if ends || IgnoredAny::deserialize(&mut reader).is_err() {
                    return Some(documents);
                }
            }
        }
        rest = &rest[reader.into_iter::<IgnoredAny>().byte_offset()..];
    }
}

/// Why a well-formed JSON text is refused.
enum Refusal {
    Duplicate(String),
    TooDeep,
    TooManyNodes,
    Number,
}

impl Refusal {
    fn at(self, place: Place, limits: &Limits) -> ParseError {
        match self {
            Self::Duplicate(key) => ParseError::DuplicateKey { place, key },
            Self::TooDeep => ParseError::TooDeep {
                place,
                limit: limits.levels(),
            },
            Self::TooManyNodes => ParseError::TooManyNodes {
                place,
                limit: limits.nodes,
            },
            Self::Number => ParseError::Syntax {
                place,
                message: "a number is out of range".to_owned(),
            },
        }
    }
}

/// Builds a value, counting its nodes and levels. Aliases do not exist in JSON, so the length of
/// the text already bounds the bytes.
#[derive(Clone, Copy)]
struct Seed<'a> {
    nodes: &'a Cell<usize>,
    level: usize,
    limits: &'a Limits,
    refusal: &'a Cell<Option<Refusal>>,
}

impl Seed<'_> {
    fn refuse<E: serde::de::Error>(&self, refusal: Refusal) -> E {
        self.refusal.set(Some(refusal));
        E::custom("refused")
    }

    fn count<E: serde::de::Error>(&self) -> Result<(), E> {
        self.nodes.set(self.nodes.get() + 1);
        if self.nodes.get() > self.limits.nodes {
            return Err(self.refuse(Refusal::TooManyNodes));
        }
        Ok(())
    }

    fn deeper<E: serde::de::Error>(mut self) -> Result<Self, E> {
        self.level += 1;
        if self.level > self.limits.levels() {
            return Err(self.refuse(Refusal::TooDeep));
        }
        Ok(self)
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(Number::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(Number::from(value)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        scalar::from_float(value)
            .map(Value::Number)
            .ok_or_else(|| self.refuse(Refusal::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(self.refuse(Refusal::Duplicate(shorten(&key))));
            }
            let value = entries.next_value_seed(inner)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
