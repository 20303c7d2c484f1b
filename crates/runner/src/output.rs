//! What a script writes, as lines with bounds.

use std::io::Read;

use crate::frame::{MAX_LINE, MAX_LINES, MAX_OUTPUT};

/// Read to the end and hand over each line. What passes the bounds is read and forgotten, so that no script waits for
/// its reader.
pub(crate) fn relay(mut from: impl Read, mut hear: impl FnMut(String)) {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => lines.take(buffer.get(..read).unwrap_or_default(), &mut hear),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // Nothing more will come.
            Err(_) => break,
        }
    }
    lines.end(&mut hear);
}

#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    lines: usize,
    bytes: usize,
    forgotten: usize,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], hear: &mut impl FnMut(String)) {
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = MAX_LINE.saturating_sub(self.line.len()).min(part.len());
            self.line
                .extend_from_slice(part.get(..room).unwrap_or_default());
            if parts.peek().is_some() {
                self.line_ends(hear);
            }
        }
    }

    fn line_ends(&mut self, hear: &mut impl FnMut(String)) {
        let line = std::mem::take(&mut self.line);
        if self.lines >= MAX_LINES || self.bytes + line.len() > MAX_OUTPUT {
            self.forgotten += 1;
            return;
        }
        self.lines += 1;
        self.bytes += line.len();
        let mut text = String::from_utf8_lossy(&line).into_owned();
        if text.ends_with('\r') {
            text.pop();
        }
        hear(text);
    }

    fn end(mut self, hear: &mut impl FnMut(String)) {
        if !self.line.is_empty() {
            self.line_ends(hear);
        }
        if self.forgotten > 0 {
            hear(format!("… ({} more lines are not shown)", self.forgotten));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        relay(bytes, |line| lines.push(line));
        lines
    }

    #[test]
    fn lines_are_lines() {
        assert_eq!(heard(b""), Vec::<String>::new());
        assert_eq!(heard(b"one\r\n\ntwo \xff"), ["one", "", "two \u{fffd}"]);
    }

    #[test]
    fn long_lines_and_many_lines_are_cut() {
        let mut text = vec![b'x'; MAX_LINE + 10];
        text.push(b'\n');
        text.extend_from_slice(b"next");
        let lines = heard(&text);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), MAX_LINE);
        assert_eq!(lines[1], "next");
        let lines = heard(&b"a\n".repeat(MAX_LINES + 5));
        assert_eq!(lines.len(), MAX_LINES + 1);
        assert_eq!(lines[MAX_LINES], "… (5 more lines are not shown)");
        let wide = [vec![b'y'; MAX_LINE], b"\n".to_vec()].concat().repeat(100);
        let shown: usize = heard(&wide).iter().map(String::len).sum();
        assert!(shown <= MAX_OUTPUT + 100, "{shown}");
    }
}
