//! Colour, only where somebody sees it.

/// Whether text may carry colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// The thing itself, among its details.
    Strong,
    /// A detail.
    Faint,
    /// It ended well.
    Good,
    /// It failed.
    Bad,
    /// Worth a look.
    Warning,
    /// It is under way.
    Active,
}

impl Style {
    /// Colour on a terminal, unless the environment says no.
    #[must_use]
    pub const fn new(terminal: bool, no_color: bool) -> Self {
        Self {
            colour: terminal && !no_color,
        }
    }

    /// No colour.
    #[must_use]
    pub const fn none() -> Self {
        Self { colour: false }
    }

    /// `text` in its tone.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => "",
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warning => "33",
            Tone::Active => "36",
        };
        if !self.colour || code.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// `text` without what would move a terminal's cursor or colour: text from a server, a log or a cluster is not ours.
#[must_use]
pub fn harmless(text: &str) -> String {
    if !text.chars().any(is_harmful) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if is_harmful(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn is_harmful(c: char) -> bool {
    // Controls, and marks that reorder or hide text.
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_and_no_objection() {
        for (terminal, no_color, coloured) in [
            (true, false, true),
            (true, true, false),
            (false, false, false),
        ] {
            let painted = Style::new(terminal, no_color).paint(Tone::Bad, "x");
            assert_eq!(painted.contains('\u{1b}'), coloured);
        }
    }

    #[test]
    fn foreign_text_cannot_play_with_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\tc\r"), "a\u{fffd}[2Jb c\u{fffd}");
        assert_eq!(harmless("\u{202e}evil"), "\u{fffd}evil");
        assert_eq!(harmless("grün ✓"), "grün ✓");
    }
}
