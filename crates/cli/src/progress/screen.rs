//! A terminal on which a picture is drawn again and again in the same place.
//!
//! Between two drawings the cursor stands below the picture, visible, at the beginning of a line: whenever and however the
//! program ends, the terminal is as it should be. Ctrl-C makes a terminal forget what it was sent and has not shown yet, perhaps
//! the end of a drawing: who closes the screen says once more that the cursor is to be seen.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, Once, PoisonError};

use super::Line;
use crate::style::Style;

/// Lines that are assumed when the terminal does not say.
const ROWS: usize = 24;
const COLUMNS: usize = 80;

/// The cursor can be seen, and what is sent is shown at once.
const AT_REST: &str = "\x1b[?25h\x1b[?2026l";

/// Rows of the picture that is on the terminal; the hook for panics takes it away before it speaks.
static SHOWN: Mutex<usize> = Mutex::new(0);

/// The part of the terminal below what was printed. What it shows is gone when it ends.
#[derive(Debug)]
pub struct Screen {
    style: Style,
    /// The lines that are shown.
    lines: Vec<String>,
}

impl Screen {
    /// The terminal behind stderr; `None` when it is none.
    #[must_use]
    pub fn open(no_color: bool) -> Option<Self> {
        static HOOK: Once = Once::new();
        if !std::io::stderr().is_terminal() {
            return None;
        }
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                write(&farewell());
                before(panic);
            }));
        });
        Some(Self {
            style: Style::new(true, no_color),
            lines: Vec::new(),
        })
    }

    /// How text is coloured here.
    #[must_use]
    pub fn style(&self) -> Style {
        self.style
    }

    /// Shows these lines in place of those before, as many as there is room for.
    pub fn draw(&mut self, lines: &[Line]) {
        let (columns, rows) = size();
        self.lines = fitted(lines, columns, rows, self.style);
        self.paint("");
    }

    /// Prints above the picture.
    pub fn print(&mut self, text: &str) {
        self.paint(&format!("{text}\n"));
    }

    /// Takes the picture away.
    pub fn close(self) {
        drop(self);
    }

    fn paint(&self, above: &str) {
        write(&painted(&taken_away(), above, &self.lines));
        *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = self.lines.len();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // After a failure the message stands below what was printed, not below half a picture.
        write(&farewell());
    }
}

/// The lines that there is room for, each cut where the terminal ends.
fn fitted(lines: &[Line], columns: usize, rows: usize, style: Style) -> Vec<String> {
    let width = columns.saturating_sub(1);
    let room = rows.saturating_sub(2).max(1);
    let mut shown: Vec<String> = lines
        .iter()
        .take(room)
        .map(|line| line.fit(width, style))
        .collect();
    if lines.len() > room {
        shown.pop();
        let more = Line::of(&format!("… {} more lines", lines.len() + 1 - room));
        shown.push(more.fit(width, style));
    }
    shown
}

/// What takes the picture away, with the cursor where it began. Asked again, nothing is left to take away.
fn taken_away() -> String {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match std::mem::take(&mut *shown) {
        0 => String::new(),
        rows => format!("\r\x1b[{rows}A\x1b[J"),
    }
}

/// One drawing: terminals that know how show it at once, the others without a jumping cursor.
fn painted(taken_away: &str, above: &str, lines: &[String]) -> String {
    let mut text = String::from("\x1b[?2026h\x1b[?25l");
    text.push_str(taken_away);
    text.push_str(above);
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(AT_REST);
    text
}

/// What leaves the terminal as it should be, whatever of the last drawing it has shown.
fn farewell() -> String {
    taken_away() + AT_REST
}

fn write(text: &str) {
    if text.is_empty() {
        return;
    }
    let mut terminal = std::io::stderr().lock();
    // A terminal that went away shows nothing.
    let _gone = terminal
        .write_all(text.as_bytes())
        .and_then(|()| terminal.flush());
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => (COLUMNS, ROWS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_never_larger_than_the_terminal() {
        let lines: Vec<Line> = (0..10)
            .map(|number| Line::of(&number.to_string()))
            .collect();
        let shown = fitted(&lines, 80, 6, Style::none());
        assert_eq!(shown, ["0", "1", "2", "… 7 more lines"]);
        let narrow = fitted(&[Line::of("a long line")], 6, 6, Style::none());
        assert_eq!(narrow, ["a lo…"]);
        assert_eq!(fitted(&lines, 5, 1, Style::none()).len(), 1);
    }

    #[test]
    fn the_cursor_is_shown_again_with_every_drawing() {
        let drawn = painted("AWAY", "warning\n", &["a".to_owned()]);
        assert!(
            drawn.ends_with("AWAYwarning\na\n\x1b[?25h\x1b[?2026l"),
            "{drawn:?}"
        );
        // Also when the terminal has forgotten that drawing's end.
        assert_eq!(farewell(), "\x1b[?25h\x1b[?2026l");
    }
}
