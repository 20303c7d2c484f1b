//! A terminal on which a tree is drawn again and again in the same place.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Line;
use crate::style::Style;

/// Lines that are assumed when the terminal does not say.
const ROWS: usize = 24;
const COLUMNS: usize = 80;

/// The part of the terminal below what was printed. What it shows is gone when it ends.
#[derive(Debug)]
pub struct Screen {
    bar: ProgressBar,
    style: Style,
}

impl Screen {
    /// The terminal behind stderr; `None` when it is none.
    #[must_use]
    pub fn open(no_color: bool) -> Option<Self> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(plain) = ProgressStyle::with_template("{msg}") {
            bar.set_style(plain);
        }
        Some(Self {
            bar,
            style: Style::new(true, no_color),
        })
    }

    /// How text is coloured here.
    #[must_use]
    pub fn style(&self) -> Style {
        self.style
    }

    /// Shows these lines in place of those before, as many as there is room for.
    pub fn draw(&self, lines: &[Line]) {
        let (columns, rows) = size();
        let width = columns.saturating_sub(1);
        let room = rows.saturating_sub(2).max(1);
        let mut shown: Vec<String> = lines
            .iter()
            .take(room)
            .map(|line| line.fit(width, self.style))
            .collect();
        if lines.len() > room {
            shown.pop();
            shown.push(format!("… {} more lines", lines.len() + 1 - room));
        }
        self.bar.set_message(shown.join("\n"));
    }

    /// Prints above the tree.
    pub fn print(&self, text: &str) {
        self.bar.suspend(|| crate::print::note(text));
    }

    /// Takes the tree away.
    pub fn close(self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // After a failure the message stands below what was printed, not below half a tree.
        self.bar.finish_and_clear();
    }
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => (COLUMNS, ROWS),
    }
}
