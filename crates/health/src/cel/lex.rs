//! The words of an expression.

use super::Wrong;

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    Name(String),
    Int(i64),
    Double(f64),
    Text(String),
    /// An operator or bracket.
    Sign(&'static str),
}

/// Signs, the longer before those that they begin with.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "?", ":", ",", ".", "(", ")", "[", "]", "{",
    "}", "+", "-", "*", "/", "%",
];

/// The tokens of a text, each with the characters before it.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Wrong> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let rest = characters.get(at..).unwrap_or_default();
        if character.is_whitespace() {
            at += 1;
        } else if rest.starts_with(&['/', '/']) {
            at += rest.iter().take_while(|it| **it != '\n').count();
        } else if let Some((length, token)) =
            quoted(rest).map_err(|message| Wrong::new(at, message))?
        {
            tokens.push((at, token));
            at += length;
        } else if character.is_ascii_digit()
            || (character == '.' && rest.get(1).is_some_and(char::is_ascii_digit))
        {
            let (length, token) = number(rest).map_err(|message| Wrong::new(at, message))?;
            tokens.push((at, token));
            at += length;
        } else if is_of_name(character) {
            let name: String = rest.iter().take_while(|it| is_of_name(**it)).collect();
            let length = name.len();
            tokens.push((at, Token::Name(name)));
            at += length;
        } else {
            let sign = SIGNS
                .into_iter()
                .find(|sign| sign.chars().eq(rest.iter().copied().take(sign.len())))
                .ok_or_else(|| {
                    Wrong::new(
                        at,
                        format!("'{}' has no meaning here", character.escape_default()),
                    )
                })?;
            tokens.push((at, Token::Sign(sign)));
            at += sign.len();
        }
    }
    Ok(tokens)
}

const fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// A number and its length; `u` after it is allowed and says nothing.
fn number(rest: &[char]) -> Result<(usize, Token), String> {
    let mut length = 0;
    let mut before = ' ';
    for (index, &character) in rest.iter().enumerate() {
        let sign = matches!(character, '+' | '-') && matches!(before, 'e' | 'E');
        // A point without a digit after it begins a method.
        let point = character == '.' && rest.get(index + 1).is_some_and(char::is_ascii_digit);
        if !(character.is_ascii_alphanumeric() || point || sign) {
            break;
        }
        before = character;
        length += 1;
    }
    let text: String = rest.iter().take(length).collect();
    let plain = text.strip_suffix(['u', 'U']).unwrap_or(&text);
    let whole = match plain.strip_prefix("0x") {
        Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16).ok(),
        None => plain.parse().ok(),
    };
    let token = whole.map(Token::Int).or_else(|| {
        let double = plain.contains(['.', 'e', 'E'])
            && plain.starts_with(|it: char| it.is_ascii_digit() || it == '.');
        double
            .then(|| plain.parse().ok().map(Token::Double))
            .flatten()
    });
    token
        .map(|token| (length, token))
        .ok_or_else(|| format!("'{}' is no number", text.escape_default()))
}

/// A text in quotes and its length with them.
fn quoted(rest: &[char]) -> Result<Option<(usize, Token)>, String> {
    let raw = matches!(rest, ['r' | 'R', '"' | '\'', ..]);
    if matches!(rest, ['b' | 'B', '"' | '\'', ..]) {
        return Err("bytes are not supported".to_owned());
    }
    let start = usize::from(raw);
    let Some(&quote @ ('"' | '\'')) = rest.get(start) else {
        return Ok(None);
    };
    let of_three = rest.get(start..start + 3) == Some(&[quote; 3]);
    let width = if of_three { 3 } else { 1 };
    let end = vec![quote; width];
    let mut text = String::new();
    let mut at = start + width;
    loop {
        let left = rest.get(at..).unwrap_or_default();
        let Some(&character) = left.first() else {
            return Err("the text does not end".to_owned());
        };
        if left.starts_with(&end) {
            return Ok(Some((at + width, Token::Text(text))));
        }
        if character == '\n' && !of_three {
            return Err("the text does not end on its line".to_owned());
        }
        if character == '\\' && !raw {
            let (length, escaped) = escape(left)?;
            text.push(escaped);
            at += length;
        } else {
            text.push(character);
            at += 1;
        }
    }
}

/// The character that an escape stands for, and the length of the escape.
fn escape(rest: &[char]) -> Result<(usize, char), String> {
    let digits = |from: usize, count: usize, radix| {
        let digits: String = rest.iter().skip(from).take(count).collect();
        (digits.chars().count() == count)
            .then(|| u32::from_str_radix(&digits, radix).ok())
            .flatten()
            .and_then(char::from_u32)
            .map(|character| (from + count, character))
    };
    let simple = |character| Some((2, character));
    let escaped = match rest.get(1) {
        Some('n') => simple('\n'),
        Some('r') => simple('\r'),
        Some('t') => simple('\t'),
        Some('a') => simple('\u{7}'),
        Some('b') => simple('\u{8}'),
        Some('f') => simple('\u{c}'),
        Some('v') => simple('\u{b}'),
        Some(&it @ ('\\' | '"' | '\'' | '`' | '?')) => simple(it),
        Some('x' | 'X') => digits(2, 2, 16),
        Some('u') => digits(2, 4, 16),
        Some('U') => digits(2, 8, 16),
        Some('0'..='3') => digits(1, 3, 8),
        _ => None,
    };
    escaped.ok_or_else(|| "the escape in the text is not known".to_owned())
}
