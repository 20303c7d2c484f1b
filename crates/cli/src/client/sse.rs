//! Server-sent events, read as the HTML standard says, with a limit.

/// Largest event: a state with thousands of resources, and then some.
const LARGEST: usize = 16 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` when the server names none.
    pub event: String,
    /// Its data, lines joined by `\n`.
    pub data: String,
    /// The last id that the stream named.
    pub id: Option<String>,
}

/// An event is larger than any that a control plane sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {} MiB", LARGEST >> 20)]
pub struct TooLong;

/// Makes events of bytes, however they are cut into chunks.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte was a `\r`: a `\n` now belongs to it.
    after_return: bool,
    begun: bool,
    event: String,
    data: String,
    has_data: bool,
    id: Option<String>,
}

impl Parser {
    /// The events that are complete with these bytes.
    ///
    /// # Errors
    /// An event is too large; the stream is of no more use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ if self.line.len() + self.data.len() >= LARGEST => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let mut text = String::from_utf8_lossy(&line);
        if !self.begun {
            self.begun = true;
            if let Some(rest) = text.strip_prefix('\u{feff}') {
                text = rest.to_owned().into();
            }
        }
        if text.is_empty() {
            return self.dispatch();
        }
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // Comments (an empty field name), `retry`, and what is not known.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        let complete = std::mem::take(&mut self.has_data);
        complete.then(|| Event {
            event: if event.is_empty() {
                "message".to_owned()
            } else {
                event
            },
            data,
            id: self.id.clone().filter(|id| !id.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: &str, data: &str, id: Option<&str>) -> Event {
        Event {
            event: event.to_owned(),
            data: data.to_owned(),
            id: id.map(str::to_owned),
        }
    }

    /// Reads `text` whole and byte by byte; both must give the same.
    fn parse(text: &str) -> Vec<Event> {
        let whole = Parser::default().feed(text.as_bytes()).unwrap();
        let mut parser = Parser::default();
        let mut single = Vec::new();
        for byte in text.as_bytes() {
            single.extend(parser.feed(&[*byte]).unwrap());
        }
        assert_eq!(whole, single, "{text:?}");
        whole
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let table = [
            ("data: a\n\n", vec![event("message", "a", None)]),
            ("data:a\r\n\r\n", vec![event("message", "a", None)]),
            ("data:a\r\r", vec![event("message", "a", None)]),
            ("data:  a\n\n", vec![event("message", " a", None)]),
            (
                "event: log\nid: 7\ndata: x\ndata: y\n\n",
                vec![event("log", "x\ny", Some("7"))],
            ),
            ("\u{feff}data: a\n\n", vec![event("message", "a", None)]),
            (
                ": alive\n\n:\n\ndata: a\n\n",
                vec![event("message", "a", None)],
            ),
            ("event: x\n\ndata: a\n\n", vec![event("message", "a", None)]),
            ("data\n\n", vec![event("message", "", None)]),
            (
                "retry: 5\nunknown: 1\ndata: ä\n\n",
                vec![event("message", "ä", None)],
            ),
            ("data: a\n", vec![]),
            (
                "id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
                vec![
                    event("message", "a", Some("1")),
                    event("message", "b", Some("1")),
                    event("message", "c", None),
                ],
            ),
            ("id: 1\0\ndata: a\n\n", vec![event("message", "a", None)]),
        ];
        for (text, events) in table {
            assert_eq!(parse(text), events, "{text:?}");
        }
    }

    #[test]
    fn a_character_cut_in_two_stays_whole_and_bytes_that_are_none_do_no_harm() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(b"data: \xc3").unwrap(), vec![]);
        assert_eq!(
            parser.feed(b"\xa4\xff\n\n").unwrap(),
            vec![event("message", "ä\u{fffd}", None)]
        );
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::default();
        let chunk = vec![b'a'; 1 << 20];
        let refused = (0..20).any(|_| parser.feed(&chunk).is_err());
        assert!(refused);
        let mut parser = Parser::default();
        let line = [&b"data: "[..], &vec![b'a'; 1 << 20], b"\n"].concat();
        assert!((0..20).any(|_| parser.feed(&line).is_err()));
    }
}
