use serde_saphyr::granit_parser::{Event, Parser, Span, StrInput};

use crate::path::Step;

/// Line and column, from 1, of the field at `steps` in the document whose content starts on `line`; of
/// the deepest part of the path that exists when it does not. `None` when the text cannot be read.
///
/// Values carry no positions, since a set has many of them and an error needs one: the text is read
/// again up to the field.
pub(crate) fn locate(text: &str, line: usize, steps: &[Step<'_>]) -> Option<(usize, usize)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start: usize = text
        .split_inclusive('\n')
        .take(line - 1)
        .map(str::len)
        .sum();
    let mut reader = Reader(Parser::new_from_str(text.get(start..)?));
    loop {
        if let (Event::DocumentStart(..), _) = reader.next()? {
            break;
        }
    }
    let (event, span) = reader.next()?;
    let (mut event, mut at) = (event, span);
    for step in steps {
        let found = match (&event, step) {
            (Event::MappingStart(..), Step::Key(key)) => reader.value_of(key)?,
            (Event::SequenceStart(..), Step::Index(index)) => reader.item(*index)?,
            _ => None,
        };
        match found {
            Some((inner, place)) => (event, at) = (inner, place),
            None => break,
        }
    }
    Some((at.start.line() + line - 1, at.start.col() + 1))
}

struct Reader<'t>(Parser<'t, StrInput<'t>>);

/// The event that begins a value, and where to point for it.
type Found<'t> = Option<(Event<'t>, Span)>;

impl<'t> Reader<'t> {
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        self.0.next_event()?.ok()
    }

    /// The value under a key of the mapping that was entered; the place is that of the key.
    fn value_of(&mut self, wanted: &str) -> Option<Found<'t>> {
        loop {
            let (event, place) = self.next()?;
            match &event {
                Event::MappingEnd => return Some(None),
                Event::Scalar(key, ..) if key.as_ref() == wanted => {
                    let (value, _) = self.next()?;
                    return Some(Some((value, place)));
                }
                _ => self.skip(event)?,
            }
            let (value, _) = self.next()?;
            self.skip(value)?;
        }
    }

    /// An item of the sequence that was entered.
    fn item(&mut self, index: usize) -> Option<Found<'t>> {
        for _ in 0..index {
            let (event, _) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Some(None);
            }
            self.skip(event)?;
        }
        let (event, place) = self.next()?;
        let is_there = !matches!(event, Event::SequenceEnd);
        Some(is_there.then_some((event, place)))
    }

    /// Reads to the end of the value that `event` begins.
    fn skip(&mut self, event: Event<'t>) -> Option<()> {
        let mut depth = 0_usize;
        let mut event = event;
        loop {
            match event {
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 {
                return Some(());
            }
            (event, _) = self.next()?;
        }
    }
}
